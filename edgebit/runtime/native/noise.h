/* noise.h: logarithm, exponential and Gumbel noise with equal bits on every device.
 *
 * Only + - * / on double and integer operations, compiled with -ffp-contract=off; log and exp are written out because
 * every libm rounds them its own way.
 */
#ifndef EB_NOISE_H
#define EB_NOISE_H

#include <stdint.h>

/* log(x) of a positive normal number, error below 2 ulp. */
double eb_log(double x);

/* exp(x) for -45 <= x <= 0, relative error below 2^-51. */
double eb_exp(double x);

/* The finaliser of splitmix64, a bijection. */
static inline uint64_t eb_mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/* The noise of a token is a pure function of (seed, position, token): key, then 64 random bits, then the number. */
uint64_t eb_noise_key(uint64_t seed, int32_t position);

static inline uint64_t eb_noise_bits(uint64_t key, uint32_t token) {
  return eb_mix(key + ((uint64_t)token + 1) * 0x9e3779b97f4a7c15ULL);
}

double eb_gumbel(uint64_t bits);

/* Never below eb_gumbel(bits), without a logarithm. It spares the logarithms of nearly all of a large vocabulary. */
double eb_gumbel_bound(uint64_t bits);

/* Every `bits` with eb_gumbel_bound(bits) >= needed is at least this large. */
uint64_t eb_noise_floor(double needed);

#endif
