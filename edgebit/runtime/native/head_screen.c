#include "head_screen.h"

#include "port.h"

enum { BLOCKS_AT_ONCE = 64 }; /* their estimates and bounds stay in the first cache */

enum { FEW_SURVIVORS = 32 }; /* more than there are leaders: computing them costs less than screening them again */

enum { ROWS_AHEAD = 4, CACHE_LINE = 64 }; /* rows here and there are too short for the hardware to foresee */

enum { RESULTS = 3 * EB_BLOCK }; /* of a block that is screened again */

/* ---- memory ----------------------------------------------------------------------------------------------- */

static uint64_t lay_out(eb_screening *s, uint64_t start, const eb_plan *plan, int32_t threads) {
  uint64_t next = start, blocks = eb_row_blocks(plan), row_bytes = blocks * EB_BLOCK * sizeof(float);
  eb_take(&next, sizeof *s);
  s->most_survivors = plan->vocab_size / 3;
  s->plain.state = eb_take(&next, 2 * (uint64_t)plan->logits.plane_width);
  s->scratch = eb_take(&next, 2 * (uint64_t)plan->logits.plane_width * sizeof(double));
  if (plan->logits.kind == EB_HEAD_S4) {
    s->rotated.state = eb_take(&next, 2 * (uint64_t)plan->logits.plane_width);
    s->rows = eb_take(&next, (uint64_t)threads * EB_BLOCK * eb_plane1_row(&plan->logits));
    s->row_bounds = eb_take(&next, (uint64_t)threads * EB_BLOCK_BOUNDS);
    s->row_results = eb_take(&next, (uint64_t)threads * RESULTS * sizeof(float));
  }
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

/* ---- leaders ---------------------------------------------------------------------------------------------- */

static uint32_t rows_end(const eb_lm_head *lm, uint32_t block) {
  uint32_t end = (block + 1) * EB_BLOCK;
  return end < lm->plan->vocab_size ? end : lm->plan->vocab_size;
}

static void consider(const eb_screening *s, eb_screened *part, int32_t token, uint64_t least_bits) {
  const eb_contest *c = &s->contest;
  eb_leader row = {s->estimates[token], token};
  if (c->kind == EB_BY_NOISE)
    eb_lead_with_noise(part, c, row, least_bits);
  else
    eb_lead(part, c->leader_count, row);
}

static void forget_leaders(eb_screened *part) {
  part->leader_count = 0;
  part->best = -__builtin_inf();
}

static void find_leaders(const eb_lm_head *lm, eb_screened *part, uint32_t block) {
  const eb_screening *s = lm->screening;
  const eb_contest *c = &s->contest;
  float peak = s->peaks[2 * block];
  if (c->kind != EB_BY_NOISE && part->leader_count == c->leader_count && peak <= part->leaders[0].estimate) return;
  uint64_t least_bits = eb_noise_needed(c, eb_scaled(peak, c->scale), part->best);
  for (uint32_t token = block * EB_BLOCK, end = rows_end(lm, block); token < end; token++)
    consider(s, part, (int32_t)token, least_bits);
}

/* ---- stages ----------------------------------------------------------------------------------------------- */

static eb_range blocks_of(const eb_lm_head *lm, int32_t thread) {
  return eb_partition(eb_row_blocks(lm->plan), 1, thread, eb_team_count(lm->team));
}

static void prepare(eb_lm_head *lm, int32_t thread) {
  const eb_head *head = &lm->plan->logits;
  eb_screening *s = lm->screening;
  (void)thread;
  s->failed = !eb_query_prepare(&s->plain, head->kind == EB_HEAD_S4 ? &s->rotated : NULL, s->scratch,
                                eb_section(lm, head->components), eb_section(lm, head->sigma),
                                eb_hidden_state(lm, s->row), (int32_t)head->width, (int32_t)head->plane_width);
}

/* Kernel head_screen gives infinity where a logit might overflow: nothing is certain then. */
static int are_finite(const float *bounds, uint32_t count) {
  int32_t others = 0;
  for (uint32_t i = 0; i < count; i++) others |= !(bounds[i] - bounds[i] == 0.0f);
  return !others;
}

static void screen_rows(const eb_lm_head *lm, uint32_t kernel, const void *rows, const void *bounds,
                        const eb_query *query, float *results[3], uint32_t blocks) {
  lm->execution->kernels[kernel]((void *)rows, (void *)bounds, query->state, (void *)query->coefficients,
                                 (void *)query->numbers, results[0], results[1], results[2], (int32_t)blocks,
                                 (int32_t)(lm->plan->logits.plane_width / 256), 0, 0, 0, 0, 0, 0);
}

static void screen_blocks(const eb_lm_head *lm, uint32_t block, uint32_t count) {
  const eb_head *head = &lm->plan->logits;
  const eb_screening *s = lm->screening;
  const int has_codes = head->kind == EB_HEAD_S4;
  uint64_t row = block * EB_BLOCK, first = row * (has_codes ? eb_codes_row(head) : eb_plane1_row(head));
  uint64_t bounds = (has_codes ? head->code_bounds : head->bounds) + (uint64_t)block * EB_BLOCK_BOUNDS;
  float *results[] = {s->estimates + row, s->upper_bounds + row, s->peaks + block * 2};
  screen_rows(lm, has_codes ? head->screen_codes : head->screen,
              eb_section(lm, (has_codes ? head->codes : head->plane1) + first), eb_section(lm, bounds),
              has_codes ? &s->rotated : &s->plain, results, count);
}

static void screen(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  eb_screened *part = &s->parts[thread];
  const eb_range range = blocks_of(lm, thread);
  forget_leaders(part);
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
      eb_lead(first, c->leader_count, part->leaders[j]);
  }
  for (int32_t i = 0; i < c->leader_count; i++) s->leaders[i] = first->leaders[i].token;
}

static void compute(const eb_lm_head *lm, int32_t thread, const int32_t *tokens, uint32_t count, float *logits) {
  eb_range range = eb_partition(count, 1, thread, eb_team_count(lm->team));
  for (uint32_t begin = range.begin, rows; begin < range.end; begin += rows) {
    rows = range.end - begin < EB_ROWS_AT_ONCE ? range.end - begin : EB_ROWS_AT_ONCE;
    eb_exact_logits(lm, thread, tokens + begin, rows, lm->screening->row, 1, EB_ROWS_READ, logits + begin, 0);
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
  const double threshold = eb_threshold(c, s->leaders, s->leader_logits);
  int32_t *survivors = s->survivors + range.begin * EB_BLOCK;
  uint32_t count = 0;
  for (uint32_t block = range.begin; block < range.end; block++) {
    double peak = eb_scaled(s->peaks[2 * block + 1], c->scale);
    if (peak + eb_most_noise(c) < threshold) continue;
    uint64_t least_bits = eb_noise_needed(c, peak, threshold);
    for (uint32_t token = block * EB_BLOCK, end = rows_end(lm, block); token < end; token++)
      if (eb_reaches(c, threshold, s->upper_bounds[token], (int32_t)token, least_bits))
        survivors[count++] = (int32_t)token;
  }
  s->parts[thread].first = range.begin * EB_BLOCK;
  s->parts[thread].survivors = count;
}

static void gather(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  uint32_t total = 0;
  (void)thread;
  for (int32_t i = 0; i < eb_team_count(lm->team); i++) {
    const int32_t *from = s->survivors + s->parts[i].first;
    for (uint32_t j = 0; j < s->parts[i].survivors; j++) s->survivors[total++] = from[j];
  }
  s->survivor_count = total;
  s->failed = total > s->most_survivors;
}

/* Whether survivors of the codes are to be screened again: where they are many, and however many they are. The first
 * plane may still leave few of them, and all of it is less than all logits.
 */
static void decide(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  gather(lm, thread);
  s->threshold = eb_threshold(&s->contest, s->leaders, s->leader_logits);
  s->is_refining = s->failed || s->survivor_count > (uint32_t)s->contest.leader_count + FEW_SURVIVORS;
  s->failed = 0;
  s->refined_count = s->is_refining ? s->survivor_count : 0;
}

static void prefetch_row(const eb_lm_head *lm, int32_t token) {
  const uint64_t bytes = eb_plane1_row(&lm->plan->logits);
  const uint8_t *row = eb_section(lm, lm->plan->logits.plane1 + (uint64_t)token * bytes);
  for (uint64_t line = 0; line < bytes; line += CACHE_LINE) __builtin_prefetch(row + line);
}

static void copy_row(const eb_lm_head *lm, int32_t token, uint8_t *row, float *bounds) {
  const uint64_t bytes = eb_plane1_row(&lm->plan->logits);
  const float *from = eb_section(lm, lm->plan->logits.bounds + (uint64_t)token / EB_BLOCK * EB_BLOCK_BOUNDS);
  memcpy(row, eb_section(lm, lm->plan->logits.plane1 + (uint64_t)token * bytes), bytes);
  for (int i = 0; i < EB_BLOCK_BOUNDS / (EB_BLOCK * 4); i++) bounds[i * EB_BLOCK] = from[i * EB_BLOCK + token % EB_BLOCK];
}

/* The first plane of at most 16 survivors: their estimates, and the tighter of both bounds. */
static void refine_rows(const eb_lm_head *lm, int32_t thread, const int32_t *tokens, uint32_t count) {
  const int32_t *last = lm->screening->survivors + lm->screening->survivor_count - 1;
  const eb_head *head = &lm->plan->logits;
  eb_screening *s = lm->screening;
  uint8_t *rows = s->rows + (uint64_t)thread * EB_BLOCK * eb_plane1_row(head);
  float *bounds = s->row_bounds + thread * (EB_BLOCK_BOUNDS / 4), *found = s->row_results + thread * RESULTS;
  float *results[] = {found, found + EB_BLOCK, found + 2 * EB_BLOCK};
  for (uint32_t i = 0; i < count; i++) {
    if (tokens + i + ROWS_AHEAD <= last) prefetch_row(lm, tokens[i + ROWS_AHEAD]);
    copy_row(lm, tokens[i], rows + i * eb_plane1_row(head), bounds + i);
  }
  screen_rows(lm, head->screen, rows, bounds, &s->plain, results, 1);
  for (uint32_t i = 0; i < count; i++) {
    s->estimates[tokens[i]] = results[0][i];
    if (results[1][i] < s->upper_bounds[tokens[i]]) s->upper_bounds[tokens[i]] = results[1][i];
  }
}

static void refine(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  eb_screened *part = &s->parts[thread];
  const eb_range range = eb_partition(s->survivor_count, EB_BLOCK, thread, eb_team_count(lm->team));
  forget_leaders(part);
  for (uint32_t begin = range.begin, count; begin < range.end; begin += count) {
    count = range.end - begin < EB_BLOCK ? range.end - begin : EB_BLOCK;
    refine_rows(lm, thread, s->survivors + begin, count);
    for (uint32_t i = begin; i < begin + count; i++) consider(s, part, s->survivors[i], 0);
  }
}

static void select_again(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  const eb_range range = eb_partition(s->survivor_count, EB_BLOCK, thread, eb_team_count(lm->team));
  const double tighter = eb_threshold(&s->contest, s->leaders, s->leader_logits);
  const double threshold = tighter > s->threshold ? tighter : s->threshold;
  uint32_t count = 0;
  for (uint32_t i = range.begin; i < range.end; i++) {
    int32_t token = s->survivors[i];
    if (eb_reaches(&s->contest, threshold, s->upper_bounds[token], token, 0))
      s->survivors[range.begin + count++] = token;
  }
  s->parts[thread].first = range.begin;
  s->parts[thread].survivors = count;
}

static void compute_survivors(eb_lm_head *lm, int32_t thread) {
  eb_screening *s = lm->screening;
  compute(lm, thread, s->survivors, s->survivor_count, s->logits);
}

/* All threads do a stage, or the first alone, then they meet. Only stages of one thread can fail. */
typedef struct {
  void (*function)(eb_lm_head *lm, int32_t thread);
  int32_t is_single;
  int32_t refines; /* done only where survivors are screened again */
} stage;

static const stage SCREEN_PLANE[] = {{prepare, 1, 0}, {screen, 0, 0}, {rank, 1, 0},             {compute_leaders, 0, 0},
                                     {select, 0, 0},  {gather, 1, 0}, {compute_survivors, 0, 0}};

static const stage SCREEN_CODES[] = {{prepare, 1, 0}, {screen, 0, 0},       {rank, 1, 0}, {compute_leaders, 0, 0},
                                     {select, 0, 0},  {decide, 1, 0},       {refine, 0, 1}, {rank, 1, 1},
                                     {compute_leaders, 0, 1}, {select_again, 0, 1}, {gather, 1, 1},
                                     {compute_survivors, 0, 0}};

static void screen_job(void *user, int32_t thread) {
  eb_lm_head *lm = user;
  const eb_screening *s = lm->screening;
  const int has_codes = lm->plan->logits.kind == EB_HEAD_S4;
  const stage *stages = has_codes ? SCREEN_CODES : SCREEN_PLANE;
  const int32_t count = (int32_t)((has_codes ? sizeof SCREEN_CODES : sizeof SCREEN_PLANE) / sizeof(stage));
  for (int32_t i = 0; i < count; i++) {
    if ((thread == 0 || !stages[i].is_single) && !s->failed && (!stages[i].refines || s->is_refining))
      stages[i].function(lm, thread);
    eb_trace_step(lm->execution, EB_HEAD, (int32_t)lm->plan->head_steps + 1 + i, lm->team, thread);
  }
}

int eb_lm_head_candidates(eb_lm_head *lm, int32_t row, const eb_sampling *sampling, int32_t position,
                          eb_candidates *candidates) {
  eb_screening *s = lm->screening;
  if (!s) return 0;
  s->contest = eb_contest_of(sampling, lm->plan, position);
  if (!s->contest.leader_count) return 0;
  s->row = row;
  s->failed = s->is_refining = 0;
  s->refined_count = 0;
  eb_team_run(lm->team, screen_job, lm);
  lm->stats.queries++;
  if (s->failed) {
    lm->stats.fallbacks++;
    return 0;
  }
  uint64_t leaders = (uint64_t)s->contest.leader_count, computed = s->survivor_count + leaders;
  if (s->is_refining) computed += leaders;
  lm->stats.last_survivors = s->survivor_count;
  lm->stats.survivors += s->survivor_count;
  lm->stats.computed_rows += computed;
  lm->stats.refined_rows += s->refined_count;
  lm->reads_all = 0;
  eb_lm_head_note_rows(lm, 0); /* those of all logits before */
  *candidates = (eb_candidates){s->logits, s->survivors, (int32_t)s->survivor_count};
  return 1;
}
