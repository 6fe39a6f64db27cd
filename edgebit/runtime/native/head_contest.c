#include "head_contest.h"

#include "noise.h"

/* Beyond it the rounding of a sum is no longer small beside the noise in it. */
static const double LARGEST_NOISY = 0x1p40;

/* ---- what rows compete with ------------------------------------------------------------------------------- */

eb_contest eb_contest_of(const eb_sampling *s, const eb_plan *plan, int32_t position) {
  const int32_t most = (int32_t)(plan->vocab_size / 3);
  eb_contest c = {EB_BY_LOGIT, 1, 1.0f, eb_noise_key(s->seed, position), *s};
  if (s->temperature > 0.0f && s->top_k) {
    c.leader_count = s->top_k <= EB_MOST_LEADERS ? s->top_k : 0;
  } else if (s->temperature > 0.0f) {
    c.kind = s->min_p > 0.0f ? EB_BY_MIN_P : EB_BY_NOISE;
    c.leader_count = !eb_has_top_p(s); /* a part of the whole probability */
    c.scale = s->temperature;
  }
  if (c.leader_count > most) c.leader_count = 0;
  return c;
}

double eb_most_noise(const eb_contest *c) { return c->kind == EB_BY_NOISE ? eb_gumbel_bound(~0ULL) : 0.0; }

uint64_t eb_noise_needed(const eb_contest *c, double scaled, double threshold) {
  int is_small = threshold < LARGEST_NOISY && threshold > -LARGEST_NOISY;
  return c->kind == EB_BY_NOISE && is_small ? eb_noise_floor(threshold - scaled) : 0;
}

double eb_threshold(const eb_contest *c, const int32_t *leaders, const float *logits) {
  float least = logits[0];
  for (int32_t i = 1; i < c->leader_count; i++)
    if (logits[i] < least) least = logits[i];
  switch (c->kind) {
    case EB_BY_MIN_P: return eb_min_p_floor(&c->sampling, least);
    case EB_BY_NOISE:
      return eb_scaled(least, c->scale) + eb_gumbel(eb_noise_bits(c->noise_key, (uint32_t)leaders[0]));
    default: return (double)least;
  }
}

int eb_reaches(const eb_contest *c, double threshold, float upper_bound, int32_t token, uint64_t least_bits) {
  uint64_t bits = c->kind == EB_BY_NOISE ? eb_noise_bits(c->noise_key, (uint32_t)token) : 0;
  if (bits < least_bits) return 0;
  double scaled = eb_scaled(upper_bound, c->scale); /* not below that of the logit */
  return !(scaled + (c->kind == EB_BY_NOISE ? eb_gumbel(bits) : 0.0) < threshold);
}

/* ---- leaders ---------------------------------------------------------------------------------------------- */

static void sink(eb_leader *heap, int32_t count) {
  for (int32_t at = 0, child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child + 1].estimate < heap[child].estimate) child++;
    if (heap[at].estimate <= heap[child].estimate) return;
    eb_leader moved = heap[at];
    heap[at] = heap[child];
    heap[child] = moved;
  }
}

void eb_lead(eb_screened *part, int32_t needed, eb_leader row) {
  eb_leader *heap = part->leaders;
  if (part->leader_count == needed) {
    if (row.estimate <= heap[0].estimate) return;
    heap[0] = row;
    sink(heap, needed);
    return;
  }
  int32_t at = part->leader_count++;
  for (; at && heap[(at - 1) / 2].estimate > row.estimate; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = row;
}

void eb_lead_with_noise(eb_screened *part, const eb_contest *c, eb_leader row, uint64_t least_bits) {
  uint64_t bits = eb_noise_bits(c->noise_key, (uint32_t)row.token);
  if (part->leader_count && bits < least_bits) return;
  double noisy = eb_scaled(row.estimate, c->scale) + eb_gumbel(bits);
  if (part->leader_count && noisy <= part->best) return;
  part->leaders[0] = row;
  part->leader_count = 1;
  part->best = noisy;
}
