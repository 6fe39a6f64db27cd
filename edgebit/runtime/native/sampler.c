#include "sampler.h"

#include "port.h"

/* Only + - * / on double and integer operations below, compiled with -ffp-contract=off: equal bits everywhere.
 * log and exp are written out because every libm rounds them its own way. */

static const double LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;

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

/* log(x) of a positive normal number, error below 2 ulp: x = 2^e m, m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh(s). */
static double canonical_log(double x) {
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

/* exp(x) for -45 <= x <= 0, relative error below 2^-51: x = k ln 2 + r, |r| <= ln(2) / 2, Taylor to degree 13. */
static double canonical_exp(double x) {
  int32_t k = (int32_t)(x * 0x1.71547652b82fep+0 - 0.5);
  double r = (x - k * LN2_HIGH) - k * LN2_LOW, sum = 1.0;
  for (int n = 13; n >= 1; n--) sum = 1.0 + sum * r / n;
  return sum * double_of_bits((uint64_t)(k + 1023) << 52);
}

/* Weights below exp(-40) of the largest are 0: all of a vocabulary of them together are under 1e-11. */
static double weight(double scaled, double largest) {
  double distance = scaled - largest;
  return distance < -40.0 ? 0.0 : canonical_exp(distance);
}

static uint64_t mix(uint64_t x) { /* the finaliser of splitmix64, a bijection */
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

static uint64_t noise_key(uint64_t seed, int32_t position) {
  return mix(mix(seed + 0x9e3779b97f4a7c15ULL) + ((uint64_t)(uint32_t)position + 1) * 0xd1342543de82ef95ULL);
}

static uint64_t noise_bits(uint64_t key, uint32_t token) {
  return mix(key + ((uint64_t)token + 1) * 0x9e3779b97f4a7c15ULL);
}

static double gumbel(uint64_t bits) {
  double uniform = ((double)(bits >> 12) + 0.5) * 0x1p-52; /* exact, inside (0, 1) */
  return -canonical_log(-canonical_log(uniform));
}

/* Never below gumbel(bits), without a logarithm: with n leading ones, 1 - uniform >= 2^-(n+1), so the noise is at most
 * (n + 1) ln 2. It spares the logarithms of nearly all of a large vocabulary. */
static double gumbel_bound(uint64_t bits) {
  uint64_t zeros = ~(bits | 0xfff);
  int ones = zeros ? __builtin_clzll(zeros) : 53;
  return (ones + 1) * 0.694;
}

static float finite(float logit) { /* infinities would make differences NaN */
  if (logit > 3.4028235e38f) return 3.4028235e38f;
  return logit < -3.4028235e38f ? -3.4028235e38f : logit;
}

typedef struct {
  uint64_t key;
  double temperature, best;
  int32_t token;
} choice;

static void offer(choice *c, float logit, int32_t token) {
  double scaled = (double)finite(logit) / c->temperature;
  uint64_t bits = noise_bits(c->key, (uint32_t)token);
  if (c->token >= 0 && scaled + gumbel_bound(bits) < c->best) return;
  double noisy = scaled + gumbel(bits);
  if (c->token < 0 || noisy > c->best || (noisy == c->best && token < c->token)) {
    c->best = noisy;
    c->token = token;
  }
}

/* Greedy; -1 when there is no number at all. */
static int32_t largest(const float *logits, int32_t vocab) {
  int32_t best = -1;
  for (int32_t i = 0; i < vocab; i++)
    if (logits[i] == logits[i] && (best < 0 || logits[i] > logits[best])) best = i;
  return best;
}

/* A candidate as one integer that sorts by logit, then by lower id. */
static uint64_t pack(float logit, int32_t token) {
  uint32_t bits;
  logit += 0.0f; /* -0 becomes +0: they are equal logits */
  memcpy(&bits, &logit, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return (uint64_t)bits << 32 | (uint32_t)~(uint32_t)token;
}

static int32_t packed_token(uint64_t packed) { return (int32_t)~(uint32_t)packed; }

static void sift(uint64_t *heap, int32_t count, int32_t at) {
  uint64_t moving = heap[at];
  for (;;) {
    int32_t child = 2 * at + 1;
    if (child >= count) break;
    if (child + 1 < count && heap[child + 1] > heap[child]) child++;
    if (heap[child] <= moving) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = moving;
}

typedef struct {
  const float *logits;
  uint64_t *heap; /* [0, heaped): a max-heap; [heaped, total): taken, in ascending order */
  int32_t heaped, total;
} candidates;

static candidates heapify(const float *logits, int32_t vocab, uint64_t *scratch) {
  candidates c = {logits, scratch, 0, 0};
  for (int32_t i = 0; i < vocab; i++)
    if (logits[i] == logits[i]) scratch[c.total++] = pack(logits[i], i);
  c.heaped = c.total;
  for (int32_t i = c.total / 2 - 1; i >= 0; i--) sift(scratch, c.total, i);
  return c;
}

static void take(candidates *c) {
  uint64_t top = c->heap[0];
  c->heap[0] = c->heap[--c->heaped];
  sift(c->heap, c->heaped, 0);
  c->heap[c->heaped] = top;
}

static float logit_at(const candidates *c, int32_t index) { return c->logits[packed_token(c->heap[index])]; }

/* Takes the k largest and all that tie with the last of them. */
static void take_top_k(candidates *c, int32_t k) {
  while (c->heaped > 0 && (c->total - c->heaped < k || logit_at(c, 0) == logit_at(c, c->heaped))) take(c);
}

/* Sum of the weights of everything that takes part: by falling logit after top-k, otherwise by token. */
static double total_weight(const candidates *c, int32_t vocab, int32_t top_k, double temperature, double highest) {
  double sum = 0.0;
  if (top_k) {
    for (int32_t i = c->total - 1; i >= c->heaped; i--)
      sum = sum + weight((double)finite(logit_at(c, i)) / temperature, highest);
  } else {
    for (int32_t i = 0; i < vocab; i++)
      if (c->logits[i] == c->logits[i]) sum = sum + weight((double)finite(c->logits[i]) / temperature, highest);
  }
  return sum;
}

/* How many of the largest stay under top-p: while the probability of those above is below top_p. */
static int32_t nucleus(candidates *c, int32_t vocab, const eb_sampling *s) {
  int32_t limit = s->top_k ? c->total - c->heaped : c->total, kept = 0;
  float top = s->top_k ? logit_at(c, c->total - 1) : logit_at(c, 0);
  double temperature = s->temperature, highest = (double)finite(top) / temperature, above = 0.0;
  double threshold = (double)s->top_p * total_weight(c, vocab, s->top_k, temperature, highest);
  while (kept < limit && (kept == 0 || above < threshold)) {
    if (c->total - c->heaped <= kept) take(c);
    above = above + weight((double)finite(logit_at(c, c->total - 1 - kept)) / temperature, highest);
    kept++;
  }
  return kept;
}

static int32_t sample_filtered(const float *logits, int32_t vocab, const eb_sampling *s, choice *chosen,
                               uint64_t *scratch) {
  candidates c = heapify(logits, vocab, scratch);
  if (s->top_k) take_top_k(&c, s->top_k);
  int32_t kept = s->top_p > 0.0f && s->top_p < 1.0f ? nucleus(&c, vocab, s) : c.total - c.heaped;
  for (int32_t i = 0; i < kept; i++)
    offer(chosen, logit_at(&c, c.total - 1 - i), packed_token(c.heap[c.total - 1 - i]));
  return chosen->token;
}

int32_t eb_sample_logits(const float *logits, int32_t vocab, const eb_sampling *s, int32_t position,
                         uint64_t *scratch) {
  if (vocab < 1 || !(s->temperature >= 0.0f) || s->top_k < 0 || s->top_p != s->top_p) return EB_ERROR_ARGUMENT;
  int32_t first = largest(logits, vocab);
  if (first < 0) return EB_ERROR_ARGUMENT;
  if (s->temperature == 0.0f) return first;
  choice chosen = {noise_key(s->seed, position), s->temperature, 0.0, -1};
  if (s->top_k || (s->top_p > 0.0f && s->top_p < 1.0f))
    return sample_filtered(logits, vocab, s, &chosen, scratch);
  offer(&chosen, logits[first], first);
  for (int32_t i = 0; i < vocab; i++)
    if (logits[i] == logits[i]) offer(&chosen, logits[i], i);
  return chosen.token;
}
