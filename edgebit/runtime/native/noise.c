#include "noise.h"

#include "port.h"

static const double LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;

/* Just above ln 2: with n leading ones, 1 - uniform >= 2^-(n+1), so the noise is at most (n + 1) ln 2. */
static const double BOUND_PER_BIT = 0.694;

enum { RANDOM_BITS = 52 }; /* the upper ones of a word */

static double double_of_bits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t bits_of_double(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

double eb_log(double x) { /* x = 2^e m, m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh(s) */
  uint64_t bits = bits_of_double(x);
  int32_t exponent = (int32_t)(bits >> 52) - 1023;
  double m = double_of_bits((bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 0x1.6a09e667f3bcdp+0) {
    m = m * 0.5;
    exponent++;
  }
  double f = m - 1.0, s = f / (2.0 + f), square = s * s, sum = 0.0;
  for (int k = 21; k >= 3; k -= 2) sum = (sum + 1.0 / k) * square;
  double log_m = 2.0 * s + 2.0 * s * sum;
  return exponent * LN2_HIGH + (exponent * LN2_LOW + log_m);
}

double eb_exp(double x) { /* x = k ln 2 + r, |r| <= ln(2) / 2, Taylor to degree 13 */
  int32_t k = (int32_t)(x * 0x1.71547652b82fep+0 - 0.5);
  double r = (x - k * LN2_HIGH) - k * LN2_LOW, sum = 1.0;
  for (int n = 13; n >= 1; n--) sum = 1.0 + sum * r / n;
  return sum * double_of_bits((uint64_t)(k + 1023) << 52);
}

uint64_t eb_noise_key(uint64_t seed, int32_t position) {
  return eb_mix(eb_mix(seed + 0x9e3779b97f4a7c15ULL) + ((uint64_t)(uint32_t)position + 1) * 0xd1342543de82ef95ULL);
}

double eb_gumbel(uint64_t bits) {
  double uniform = ((double)(bits >> (64 - RANDOM_BITS)) + 0.5) * 0x1p-52; /* exact, inside (0, 1) */
  return -eb_log(-eb_log(uniform));
}

double eb_gumbel_bound(uint64_t bits) {
  uint64_t zeros = ~(bits | 0xfff);
  int ones = zeros ? __builtin_clzll(zeros) : RANDOM_BITS + 1;
  return (ones + 1) * BOUND_PER_BIT;
}

uint64_t eb_noise_floor(double needed) {
  double ones = needed / BOUND_PER_BIT - 2.0; /* one less than needed: the quotient is rounded */
  if (!(ones >= 1.0)) return 0;
  int count = ones < RANDOM_BITS ? (int)ones : RANDOM_BITS;
  return ~(~0ULL >> count);
}
