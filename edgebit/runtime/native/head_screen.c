#include "head_screen.h"

#include "noise.h"
#include "port.h"

enum { BLOCKS_AT_ONCE = 64 }; /* their estimates and bounds stay in the first cache */

/* Beyond it the rounding of a sum is no longer small beside the noise in it. */
static const double LARGEST_NOISY = 0x1p40;

/* ---- memory ----------------------------------------------------------------------------------------------- */

static uint64_t lay_out(eb_screening *s, uint64_t start, const eb_plan *plan, int32_t threads) {
  uint64_t next = start, blocks = eb_row_blocks(plan), row_bytes = blocks * EB_BLOCK * sizeof(float);
  eb_take(&next, sizeof *s);
  s->most_survivors = plan->vocab_size / 3;
  s->query.state = eb_take(&next, 2 * (uint64_t)plan->logits.plane_width);
  s->estimates = eb_take(&next, row_bytes);
  s->upper_bounds = eb_take(&next, row_bytes);
  s->peaks = eb_take(&next, blocks * 2 * sizeof(float));
  s->parts = eb_take(&next, (uint64_t)threads * sizeof(eb_screened));
  s->leaders = eb_take(&next, EB_MOST_LEADERS * sizeof(int32_t));
  s->leader_logits = eb_take(&next, EB_MOST_LEADERS * sizeof(float));
  s->survivors = eb_take(&next, blocks * EB_BLOCK * sizeof(int32_t));
  s->logits = eb_take(&next, (uint64_t)s->most_survivors * sizeof(float));
  uint64_t heap_bytes = EB_MOST_LEADERS * sizeof(eb_leader), heaps = next;
  if (start)
    for (int32_t i = 0; i < threads; i++)
      s->parts[i].leaders = (eb_leader *)(void *)(uintptr_t)(heaps + (uint64_t)i * heap_bytes);
  return heaps + (uint64_t)threads * heap_bytes - start;
}

uint64_t eb_screening_bytes(const eb_plan *plan, int32_t threads) {
  eb_screening measured;
  return lay_out(&measured, 0, plan, threads);
}

void eb_screening_place(eb_screening *screening, const eb_plan *plan, int32_t threads) {
  lay_out(screening, (uint64_t)(uintptr_t)screening, plan, threads);
}

/* ---- what rows compete with ------------------------------------------------------------------------------- */

static eb_contest contest_of(const eb_sampling *s, const eb_plan *plan, int32_t position) {
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

static double most_noise(const eb_contest *c) { return c->kind == EB_BY_NOISE ? eb_gumbel_bound(~0ULL) : 0.0; }

/* Least bits of noise with which something of `scaled` may reach `threshold`. */
static uint64_t noise_needed(const eb_contest *c, double scaled, double threshold) {
  int is_small = threshold < LARGEST_NOISY && threshold > -LARGEST_NOISY;
  return c->kind == EB_BY_NOISE && is_small ? eb_noise_floor(threshold - scaled) : 0;
}

/* What a row must reach to be chosen, from the exact logits of the leaders. */
static double threshold_of(const eb_screening *s) {
  const eb_contest *c = &s->contest;
  float least = s->leader_logits[0];
  for (int32_t i = 1; i < c->leader_count; i++)
    if (s->leader_logits[i] < least) least = s->leader_logits[i];
  switch (c->kind) {
    case EB_BY_MIN_P: return eb_min_p_floor(&c->sampling, least);
    case EB_BY_NOISE:
      return eb_scaled(least, c->scale) + eb_gumbel(eb_noise_bits(c->noise_key, (uint32_t)s->leaders[0]));
    default: return (double)least;
  }
}

static int reaches(const eb_contest *c, double threshold, float upper_bound, int32_t token, uint64_t least_bits) {
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

static void lead(eb_screened *part, int32_t needed, eb_leader row) {
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

static void lead_with_noise(const eb_contest *c, eb_screened *part, eb_leader row, uint64_t least_bits) {
  uint64_t bits = eb_noise_bits(c->noise_key, (uint32_t)row.token);
  if (part->leader_count && bits < least_bits) return;
  double noisy = eb_scaled(row.estimate, c->scale) + eb_gumbel(bits);
  if (part->leader_count && noisy <= part->best) return;
  part->leaders[0] = row;
  part->leader_count = 1;
  part->best = noisy;
}

static uint32_t rows_end(const eb_lm_head *lm, uint32_t block) {
  uint32_t end = (block + 1) * EB_BLOCK;
  return end < lm->plan->vocab_size ? end : lm->plan->vocab_size;
}

static void find_leaders(const eb_lm_head *lm, eb_screened *part, uint32_t block) {
  const eb_screening *s = lm->screening;
  const eb_contest *c = &s->contest;
  float peak = s->peaks[2 * block];
  if (c->kind != EB_BY_NOISE && part->leader_count == c->leader_count && peak <= part->leaders[0].estimate) return;
  uint64_t least_bits = noise_needed(c, eb_scaled(peak, c->scale), part->best);
  for (uint32_t token = block * EB_BLOCK, end = rows_end(lm, block); token < end; token++) {
    eb_leader row = {s->estimates[token], (int32_t)token};
    if (c->kind == EB_BY_NOISE)
      lead_with_noise(c, part, row, least_bits);
    else
      lead(part, c->leader_count, row);
  }
}

/* ---- stages ----------------------------------------------------------------------------------------------- */

static eb_range blocks_of(const eb_lm_head *lm, int32_t thread) {
  return eb_partition(eb_row_blocks(lm->plan), 1, thread, eb_team_count(lm->team));
}

static void prepare(eb_lm_head *lm, int32_t thread) {
  const eb_head *head = &lm->plan->logits;
  eb_screening *s = lm->screening;
  (void)thread;
  s->failed = !eb_query_prepare(&s->query, eb_section(lm, head->components), eb_section(lm, head->sigma),
                                eb_hidden_state(lm, s->row), (int32_t)head->width, (int32_t)head->plane_width);
}

/* Kernel head_screen gives infinity where a logit might overflow: nothing is certain then. */
static int are_finite(const float *bounds, uint32_t count) {
  int32_t others = 0;
  for (uint32_t i = 0; i < count; i++) others |= !(bounds[i] - bounds[i] == 0.0f);
  return !others;
}

static void screen_blocks(const eb_lm_head *lm, uint32_t block, uint32_t count) {
  const eb_head *head = &lm->plan->logits;
  eb_screening *s = lm->screening;
  lm->execution->kernels[head->screen](eb_section(lm, head->plane1 + block * EB_BLOCK * eb_plane1_row(head)),
                                       eb_section(lm, head->bounds + (uint64_t)block * EB_BLOCK_BOUNDS),
                                       s->query.state, s->query.coefficients, s->query.numbers,
                                       s->estimates + block * EB_BLOCK, s->upper_bounds + block * EB_BLOCK,
                                       s->peaks + block * 2, (int32_t)count, (int32_t)(head->plane_width / 256), 0, 0,
                                       0, 0, 0, 0);
}

static void screen(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  eb_screened *part = &s->parts[thread];
  const eb_range range = blocks_of(lm, thread);
  part->leader_count = 0;
  part->best = -__builtin_inf();
  part->failed = 0;
  for (uint32_t begin = range.begin, count; begin < range.end; begin += count) {
    count = range.end - begin < BLOCKS_AT_ONCE ? range.end - begin : BLOCKS_AT_ONCE;
    screen_blocks(lm, begin, count);
    part->failed |= !are_finite(s->upper_bounds + begin * EB_BLOCK, count * EB_BLOCK);
    for (uint32_t block = begin; block < begin + count; block++) find_leaders(lm, part, block);
  }
}

/* The leaders of all threads, in the part of the first. */
static void rank(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  const eb_contest *c = &s->contest;
  eb_screened *first = &s->parts[thread];
  for (int32_t i = 0; i < eb_team_count(lm->team); i++) {
    const eb_screened *part = &s->parts[i];
    s->failed |= part->failed;
    if (part == first) continue;
    if (c->kind == EB_BY_NOISE && part->leader_count && (!first->leader_count || part->best > first->best)) {
      first->leaders[0] = part->leaders[0];
      first->leader_count = 1;
      first->best = part->best;
    }
    for (int32_t j = 0; c->kind != EB_BY_NOISE && j < part->leader_count; j++)
      lead(first, c->leader_count, part->leaders[j]);
  }
  for (int32_t i = 0; i < c->leader_count; i++) s->leaders[i] = first->leaders[i].token;
}

static void compute(const eb_lm_head *lm, int32_t thread, const int32_t *tokens, uint32_t count, float *logits) {
  eb_range range = eb_partition(count, 1, thread, eb_team_count(lm->team));
  for (uint32_t begin = range.begin, rows; begin < range.end; begin += rows) {
    rows = range.end - begin < EB_ROWS_AT_ONCE ? range.end - begin : EB_ROWS_AT_ONCE;
    eb_exact_logits(lm, thread, tokens + begin, rows, lm->screening->row, 1, logits + begin, 0);
  }
}

static void compute_leaders(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  compute(lm, thread, s->leaders, (uint32_t)s->contest.leader_count, s->leader_logits);
}

static void select(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  const eb_contest *c = &s->contest;
  const eb_range range = blocks_of(lm, thread);
  const double threshold = threshold_of(s);
  int32_t *survivors = s->survivors + range.begin * EB_BLOCK;
  uint32_t count = 0;
  for (uint32_t block = range.begin; block < range.end; block++) {
    double peak = eb_scaled(s->peaks[2 * block + 1], c->scale);
    if (peak + most_noise(c) < threshold) continue;
    uint64_t least_bits = noise_needed(c, peak, threshold);
    for (uint32_t token = block * EB_BLOCK, end = rows_end(lm, block); token < end; token++)
      if (reaches(c, threshold, s->upper_bounds[token], (int32_t)token, least_bits))
        survivors[count++] = (int32_t)token;
  }
  s->parts[thread].survivors = count;
}

static void gather(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  uint32_t total = 0;
  (void)thread;
  for (int32_t i = 0; i < eb_team_count(lm->team); i++) {
    const int32_t *from = s->survivors + blocks_of(lm, i).begin * EB_BLOCK;
    for (uint32_t j = 0; j < s->parts[i].survivors; j++) s->survivors[total++] = from[j];
  }
  s->survivor_count = total;
  s->failed = total > s->most_survivors;
}

static void compute_survivors(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  compute(lm, thread, s->survivors, s->survivor_count, s->logits);
}

/* All threads do a stage, or the first alone, then they meet. Only stages of one thread can fail. */
static const struct {
  void (*function)(eb_lm_head *lm, int32_t thread);
  int32_t is_single;
} STAGES[] = {{prepare, 1}, {screen, 0}, {rank, 1},  {compute_leaders, 0},
              {select, 0},  {gather, 1}, {compute_survivors, 0}};

static void screen_job(void *user, int32_t thread) {
  eb_lm_head *lm = user;
  const int32_t behind_logits = (int32_t)lm->plan->head_steps + 1;
  for (int32_t i = 0; i < (int32_t)(sizeof STAGES / sizeof STAGES[0]); i++) {
    if ((thread == 0 || !STAGES[i].is_single) && !lm->screening->failed) STAGES[i].function(lm, thread);
    eb_trace_step(lm->execution, EB_HEAD, behind_logits + i, lm->team, thread);
  }
}

int eb_lm_head_candidates(eb_lm_head *lm, int32_t row, const eb_sampling *sampling, int32_t position,
                          eb_candidates *candidates) {
  eb_screening *s = lm->screening;
  if (!s) return 0;
  s->contest = contest_of(sampling, lm->plan, position);
  if (!s->contest.leader_count) return 0;
  s->row = row;
  s->failed = 0;
  eb_team_run(lm->team, screen_job, lm);
  lm->stats.queries++;
  if (s->failed) {
    lm->stats.fallbacks++;
    return 0;
  }
  uint64_t computed = (uint64_t)s->contest.leader_count + s->survivor_count;
  lm->stats.last_survivors = s->survivor_count;
  lm->stats.survivors += s->survivor_count;
  lm->stats.computed_rows += computed;
  lm->reads_all = 0;
  eb_lm_head_note_rows(lm, computed);
  *candidates = (eb_candidates){s->logits, s->survivors, (int32_t)s->survivor_count};
  return 1;
}
