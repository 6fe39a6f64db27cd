/* A model small enough to be computed in Python: plan tables as the compiler writes them, kernels in C.
 *
 *   decode/prefill  embed:  value[t] = weight[token[t]], next[t] = follower[token[t]]          unit = token
 *                   append: cache[position + t] = value[t]                                     unit = token
 *                   attend: hidden[t] = sum of (i + 1) * cache[i] for i <= position + t        unit = token
 *   head            state[row] = hidden[row], position, next[row]                               unit = 1
 *   logits          logits[v] = (hidden * 31 + v * 7 + position) % 1009, and 5000 more for v = next
 *
 * All in uint32 arithmetic. Every step reads what other threads wrote in the step before. weights.bin holds
 * weight[VOCAB] and follower[VOCAB], then the lm_head's table, of which row v begins with v; a follower outside the
 * vocabulary is none.
 */
#include "plan.h"

#include <stddef.h>

enum { VOCAB = 320, CONTEXT = 48, CHUNK = 6, ROW = 64 /* bytes between tokens of the arena */, WIDTH = 64 };

#define PARAMETERS                                                                                          \
  void *b0, void *b1, void *b2, void *b3, void *b4, void *b5, void *b6, void *b7, int32_t s0, int32_t s1,   \
      int32_t s2, int32_t s3, int32_t s4, int32_t s5, int32_t s6, int32_t s7
#define UNUSED_TAIL (void)b4, (void)b5, (void)b6, (void)b7, (void)s3, (void)s4, (void)s5, (void)s6, (void)s7

static uint32_t *row(void *base, int32_t token) { return (uint32_t *)(void *)((char *)base + (size_t)token * ROW); }

/* 0 tokens (u), 1 weights, 2 value (u) | count */
static void embed(PARAMETERS) {
  (void)b3, (void)s1, (void)s2, UNUSED_TAIL;
  for (int32_t i = 0; i < s0; i++) {
    const uint32_t *weight = (const uint32_t *)b1 + ((const int32_t *)b0)[i];
    row(b2, i)[0] = weight[0];
    row(b2, i)[1] = weight[VOCAB];
  }
}

/* 0 value, 1 cache | count, begin, position */
static void append(PARAMETERS) {
  (void)b2, (void)b3, UNUSED_TAIL;
  for (int32_t t = s1; t < s1 + s0; t++) ((uint32_t *)b1)[s2 + t] = *row(b0, t);
}

/* 0 cache, 1 hidden, 2 scratch, 3 value | count, begin, position */
static void attend(PARAMETERS) {
  UNUSED_TAIL;
  uint32_t *sum = b2; /* of this thread alone */
  for (int32_t t = s1; t < s1 + s0; t++) {
    *sum = 0;
    for (int32_t i = 0; i <= s2 + t; i++) *sum += (uint32_t)(i + 1) * ((const uint32_t *)b0)[i];
    row(b1, t)[0] = *sum;
    row(b1, t)[1] = row(b3, t)[1];
  }
}

/* 0 hidden (row), 1 state (row) | count, position */
static void head(PARAMETERS) {
  (void)b2, (void)b3, (void)s0, (void)s2, UNUSED_TAIL;
  const uint32_t *hidden = b0;
  uint32_t *state = b1;
  state[0] = hidden[0];
  state[1] = (uint32_t)s1;
  state[2] = hidden[1];
}

/* 0 table (u), 1 state, 2 logits (u) | count, blocks of 64 columns */
static void lm_head(PARAMETERS) {
  (void)b3, (void)s2, UNUSED_TAIL;
  const uint32_t *state = b1;
  for (int32_t i = 0; i < s0; i++) {
    uint32_t v = ((const uint16_t *)b0)[i * s1 * 64];
    uint32_t logit = (state[0] * 31u + v * 7u + state[1]) % 1009u;
    ((float *)b2)[i] = (float)(logit + (v == state[2] ? 5000u : 0u));
  }
}

static const eb_kernel KERNELS[] = {embed, append, attend, head, lm_head};

static const eb_tier TIERS[] = {
#if defined(__x86_64__)
    {"avx512vnni", EB_AVX512VNNI | EB_AVX512BW | EB_AVX512VL, KERNELS},
    {"avx2", EB_AVX2 | EB_FMA | EB_F16C, KERNELS},
#elif defined(__aarch64__)
    {"dotprod", EB_DOTPROD, KERNELS},
#endif
    {"baseline", 0, KERNELS},
};

#define NO_BUFFER {0, EB_NONE, 0, 0}
#define VALUE(unit_stride) {0, EB_ARENA, unit_stride, 0}
#define HIDDEN(row_stride) {CHUNK * ROW, EB_ARENA, 0, row_stride}
#define CACHE {0, EB_CACHE, 0, 0}
#define WEIGHTS {sizeof(eb_weights_header), EB_WEIGHTS, 0, 0}
#define TOKENS {0, EB_TOKENS, 4, 0}
#define SCRATCH {0, EB_SCRATCH, 0, 0}
#define STATE {2 * CHUNK * ROW, EB_ARENA, 0, WIDTH * 4}
#define PER_TOKEN {EB_TOKEN_COUNT, 0}
#define COUNT {EB_COUNT, 0}
#define BEGIN {EB_BEGIN, 0}
#define POSITION {EB_POSITION, 0}
#define FOUR NO_BUFFER, NO_BUFFER, NO_BUFFER, NO_BUFFER
#define FIVE NO_BUFFER, FOUR

static const eb_step TOKEN_STEPS[] = {
    {0, PER_TOKEN, 1, 0, {TOKENS, WEIGHTS, VALUE(ROW), FIVE}, {COUNT}},
    {1, PER_TOKEN, 1, 0, {VALUE(0), CACHE, NO_BUFFER, FIVE}, {COUNT, BEGIN, POSITION}},
    {2, PER_TOKEN, 1, 0, {CACHE, HIDDEN(0), SCRATCH, VALUE(0), FOUR}, {COUNT, BEGIN, POSITION}},
};

static const eb_step HEAD_STEPS[] = {
    {3, {EB_CONSTANT, 1}, 1, 0, {HIDDEN(ROW), STATE, NO_BUFFER, FIVE}, {COUNT, POSITION}},
};

const eb_plan eb_model_plan = {
    .format = EB_PLAN_FORMAT,
    .vocab_size = VOCAB,
    .hidden_size = 1,
    .num_layers = 1,
    .context = CONTEXT,
    .chunk = CHUNK,
    .weights_bytes = sizeof(eb_weights_header) + VOCAB * 8 + VOCAB * WIDTH * 2,
    .arena_bytes = 2 * CHUNK * ROW + CHUNK * WIDTH * 4,
    .cache_bytes = CONTEXT * 4,
    .scratch_bytes = 20, /* not a multiple of a cache line: the runtime pads it */
    .weights_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
                   29, 30, 31, 32},
    .decode = TOKEN_STEPS,
    .decode_steps = 3,
    .prefill = TOKEN_STEPS,
    .prefill_steps = 3,
    .head = HEAD_STEPS,
    .head_steps = 1,
    .logits = {.kind = EB_HEAD_FULL,
               .width = WIDTH,
               .lm_head = 4,
               .hidden = 2 * CHUNK * ROW,
               .table = sizeof(eb_weights_header) + VOCAB * 8},
    .tiers = TIERS,
    .tier_count = sizeof TIERS / sizeof TIERS[0],
    .kernel_count = 5,
};
