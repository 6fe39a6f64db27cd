#include "sampler.h"

#include "noise.h"
#include "port.h"

/* Weights below exp(-40) of the largest are 0: all of a vocabulary of them together are under 1e-11. */
static double weight(double scaled, double largest) {
  double distance = scaled - largest;
  return distance < -40.0 ? 0.0 : eb_exp(distance);
}

static float finite(float logit) { /* infinities would make differences NaN */
  if (logit > 3.4028235e38f) return 3.4028235e38f;
  return logit < -3.4028235e38f ? -3.4028235e38f : logit;
}

double eb_scaled(float logit, float temperature) { return (double)finite(logit) / (double)temperature; }

double eb_min_p_floor(const eb_sampling *s, float highest) {
  if (s->min_p == 0.0f) return -__builtin_inf();
  return eb_scaled(highest, s->temperature) + eb_log((double)s->min_p);
}

typedef struct {
  uint64_t key;
  float temperature;
  double floor; /* of min-p */
  double best;
  int32_t token;
} choice;

static void offer(choice *c, float logit, int32_t token) {
  double scaled = eb_scaled(logit, c->temperature);
  if (scaled < c->floor) return;
  uint64_t bits = eb_noise_bits(c->key, (uint32_t)token);
  if (c->token >= 0 && scaled + eb_gumbel_bound(bits) < c->best) return;
  double noisy = scaled + eb_gumbel(bits);
  if (c->token < 0 || noisy > c->best || (noisy == c->best && token < c->token)) {
    c->best = noisy;
    c->token = token;
  }
}

static int32_t token_at(const eb_candidates *from, int32_t i) { return from->tokens ? from->tokens[i] : i; }

/* Index of the greedy choice; -1 when there is no number at all. */
static int32_t largest(const eb_candidates *from) {
  int32_t best = -1;
  for (int32_t i = 0; i < from->count; i++)
    if (from->logits[i] == from->logits[i] && (best < 0 || from->logits[i] > from->logits[best])) best = i;
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

static float packed_logit(uint64_t packed) {
  uint32_t bits = (uint32_t)(packed >> 32);
  bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
  float logit;
  memcpy(&logit, &bits, sizeof logit);
  return logit;
}

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
  uint64_t *heap; /* [0, heaped): a max-heap; [heaped, total): taken, in ascending order */
  int32_t heaped, total;
} ranking;

static ranking heapify(const eb_candidates *from, uint64_t *scratch) {
  ranking r = {scratch, 0, 0};
  for (int32_t i = 0; i < from->count; i++)
    if (from->logits[i] == from->logits[i]) scratch[r.total++] = pack(from->logits[i], token_at(from, i));
  r.heaped = r.total;
  for (int32_t i = r.total / 2 - 1; i >= 0; i--) sift(scratch, r.total, i);
  return r;
}

static void take(ranking *r) {
  uint64_t top = r->heap[0];
  r->heap[0] = r->heap[--r->heaped];
  sift(r->heap, r->heaped, 0);
  r->heap[r->heaped] = top;
}

static float logit_at(const ranking *r, int32_t index) { return packed_logit(r->heap[index]); }

/* Takes the k largest and all that tie with the last of them. */
static void take_top_k(ranking *r, int32_t k) {
  while (r->heaped > 0 && (r->total - r->heaped < k || logit_at(r, 0) == logit_at(r, r->heaped))) take(r);
}

/* Sum of the weights of everything that takes part: by falling logit after top-k, otherwise by token. */
static double total_weight(const ranking *r, const eb_candidates *from, const eb_sampling *s, double highest) {
  double sum = 0.0;
  if (s->top_k) {
    for (int32_t i = r->total - 1; i >= r->heaped; i--)
      sum = sum + weight(eb_scaled(logit_at(r, i), s->temperature), highest);
  } else {
    for (int32_t i = 0; i < from->count; i++)
      if (from->logits[i] == from->logits[i])
        sum = sum + weight(eb_scaled(from->logits[i], s->temperature), highest);
  }
  return sum;
}

/* How many of the largest stay under top-p: while the probability of those above is below top_p. */
static int32_t nucleus(ranking *r, const eb_candidates *from, const eb_sampling *s) {
  int32_t limit = s->top_k ? r->total - r->heaped : r->total, kept = 0;
  float top = s->top_k ? logit_at(r, r->total - 1) : logit_at(r, 0);
  double highest = eb_scaled(top, s->temperature), above = 0.0;
  double threshold = (double)s->top_p * total_weight(r, from, s, highest);
  while (kept < limit && (kept == 0 || above < threshold)) {
    if (r->total - r->heaped <= kept) take(r);
    above = above + weight(eb_scaled(logit_at(r, r->total - 1 - kept), s->temperature), highest);
    kept++;
  }
  return kept;
}

static int32_t sample_ranked(const eb_candidates *from, const eb_sampling *s, choice *chosen, uint64_t *scratch) {
  ranking r = heapify(from, scratch);
  if (s->top_k) take_top_k(&r, s->top_k);
  int32_t kept = eb_has_top_p(s) ? nucleus(&r, from, s) : r.total - r.heaped;
  for (int32_t i = r.total - 1; i >= r.total - kept; i--) offer(chosen, logit_at(&r, i), packed_token(r.heap[i]));
  return chosen->token;
}

int eb_sampling_is_valid(const eb_sampling *s) {
  return s->temperature >= 0.0f && s->top_k >= 0 && s->top_p == s->top_p && s->min_p >= 0.0f && s->min_p <= 1.0f;
}

int32_t eb_sample_candidates(eb_candidates from, const eb_sampling *s, int32_t position, uint64_t *scratch) {
  if (!eb_sampling_is_valid(s)) return EB_ERROR_ARGUMENT;
  int32_t first = largest(&from);
  if (first < 0) return EB_ERROR_ARGUMENT;
  if (s->temperature == 0.0f) return token_at(&from, first);
  double floor = eb_min_p_floor(s, from.logits[first]);
  choice chosen = {eb_noise_key(s->seed, position), s->temperature, floor, 0.0, -1};
  if (s->top_k || eb_has_top_p(s)) return sample_ranked(&from, s, &chosen, scratch);
  offer(&chosen, from.logits[first], token_at(&from, first));
  for (int32_t i = 0; i < from.count; i++)
    if (from.logits[i] == from.logits[i]) offer(&chosen, from.logits[i], token_at(&from, i));
  return chosen.token;
}
