/* An lm_head over weights and hidden states of the caller, exported for the tests. */
#include "head.h"
#include "head_kernels.h"
#include "head_screen.h"
#include "port.h"

typedef struct {
  eb_plan plan;
  eb_execution execution;
  eb_team *team;
  eb_lm_head lm;
} probe;

static const eb_tier TIER = {"baseline", 0, HEAD_KERNEL_TABLE};

static eb_plan plan_of(const eb_head *head, uint32_t vocab_size, uint32_t chunk, uint64_t weights_bytes) {
  eb_plan plan = eb_model_plan;
  plan.logits = *head;
  plan.tiers = &TIER;
  plan.tier_count = 1;
  plan.kernel_count = HEAD_KERNELS;
  plan.vocab_size = vocab_size;
  plan.chunk = chunk;
  plan.weights_bytes = weights_bytes;
  return plan;
}

/* `hidden`: float [chunk][width]; `weights_file`: the one that `weights` maps, or -1. All memory stays the caller's. */
EB_API void *eb_probe_head_open(const eb_head *head, uint32_t vocab_size, uint32_t chunk, uint8_t *weights,
                                long weights_file, float *hidden, int32_t threads) {
  probe *p = malloc(sizeof *p);
  memset(p, 0, sizeof *p);
  p->plan = plan_of(head, vocab_size, chunk, 0);
  p->execution.kernels = HEAD_KERNEL_TABLE;
  p->execution.base[EB_WEIGHTS] = weights;
  p->execution.base[EB_ARENA] = (uint8_t *)hidden;
  p->team = eb_team_open(threads, NULL, 0);
  eb_lm_head_open(&p->lm, &p->plan, &p->execution, weights_file, p->team);
  return p;
}

EB_API void eb_probe_head_close(probe *p) {
  eb_team_close(p->team);
  eb_lm_head_close(&p->lm);
  free(p);
}

EB_API void eb_probe_head_logits(probe *p, int32_t first, int32_t rows, float *logits) {
  eb_lm_head_logits(&p->lm, first, rows, logits);
}

/* The token that screening finds; -100 when all logits are needed. */
EB_API int32_t eb_probe_head_choose(probe *p, int32_t row, const eb_sampling *sampling, int32_t position,
                                    uint64_t *scratch) {
  eb_candidates found;
  if (!eb_lm_head_candidates(&p->lm, row, sampling, position, &found)) return -100;
  return eb_sample_candidates(found, sampling, position, scratch);
}

EB_API int32_t eb_probe_sample(const float *logits, int32_t count, const eb_sampling *sampling, int32_t position,
                               uint64_t *scratch) {
  return eb_sample_candidates((eb_candidates){logits, NULL, count}, sampling, position, scratch);
}

EB_API void eb_probe_head_stats(const probe *p, eb_head_stats *stats) { *stats = p->lm.stats; }

/* What the last screening knew of every row. */
EB_API void eb_probe_head_bounds(const probe *p, float *estimates, float *upper_bounds) {
  memcpy(estimates, p->lm.screening->estimates, p->plan.vocab_size * sizeof *estimates);
  memcpy(upper_bounds, p->lm.screening->upper_bounds, p->plan.vocab_size * sizeof *upper_bounds);
}

EB_API void eb_probe_rotate(double *x, double *scratch, int32_t width) { eb_rotate(x, scratch, width); }

/* ---- plans ------------------------------------------------------------------------------------------------ */

EB_API int32_t eb_probe_head_check(const eb_head *head, uint32_t vocab_size, uint64_t weights_bytes, char *error,
                                   int32_t error_size) {
  eb_plan plan = plan_of(head, vocab_size, 1, weights_bytes);
  return eb_check_plan(&plan, error, error_size);
}

EB_API int32_t eb_probe_head_check_weights(const eb_head *head, uint32_t vocab_size, const uint8_t *weights,
                                           uint64_t bytes) {
  eb_plan plan = plan_of(head, vocab_size, 1, bytes);
  return eb_check_head_weights(&plan, weights, bytes);
}
