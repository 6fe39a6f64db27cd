#include "head.h"

#include "head_screen.h"
#include "port.h"

/* Of bfloat16 or int8: they stay in the first cache while all hidden states meet them. */
enum { TABLE_ROWS_AT_ONCE = 64 };

/* Mapped rows that are not given back: prompts of some tokens. */
enum { MOST_ROWS_TOUCHED = 32, LARGEST_PAGE = 1 << 16 };

/* ---- memory ----------------------------------------------------------------------------------------------- */

/* Lays the buffers out from address `start` on; gives their size. */
static uint64_t lay_out(eb_lm_head *lm, uint64_t start, int32_t threads) {
  const eb_plan *plan = lm->plan;
  const eb_head *head = &plan->logits;
  uint64_t next = start, row_bytes = (uint64_t)head->width * sizeof(float), count = (uint64_t)threads;
  if (eb_has_planes(head)) {
    lm->row_tokens = eb_take(&next, count * EB_ROWS_AT_ONCE * sizeof(int32_t));
    lm->second = eb_take(&next, count * EB_ROWS_AT_ONCE * eb_plane2_row(head));
    lm->rows = eb_take(&next, count * EB_ROWS_AT_ONCE * row_bytes);
    lm->screening = eb_take(&next, eb_screening_bytes(plan, threads));
  }
  if (head->kind == EB_HEAD_INT8) {
    lm->codes = eb_take(&next, (uint64_t)plan->chunk * head->width);
    lm->sums = eb_take(&next, (uint64_t)plan->chunk * sizeof(int32_t));
    lm->scales = eb_take(&next, (uint64_t)plan->chunk * sizeof(float));
  }
  return next - start;
}

static void advise(const eb_lm_head *lm, uint64_t offset, uint64_t bytes, long advice) {
  uintptr_t begin = (uintptr_t)eb_section(lm, offset), end = (begin + bytes) / LARGEST_PAGE * LARGEST_PAGE;
  begin = (begin + LARGEST_PAGE - 1) / LARGEST_PAGE * LARGEST_PAGE;
  if (begin < end) syscall(EB_SYS_madvise, (void *)begin, (size_t)(end - begin), advice);
}

/* Says how the pages of the sections are used of which single rows are read. */
static void advise_rows(const eb_lm_head *lm, long advice) {
  const eb_head *head = &lm->plan->logits;
  uint64_t vocab_size = lm->plan->vocab_size;
  const uint32_t *escapes = eb_section(lm, head->escape_index);
  advise(lm, head->plane2, eb_plane2_row(head) * vocab_size, advice);
  advise(lm, head->escapes, escapes[vocab_size] * (uint64_t)EB_ESCAPE_BYTES, advice);
  advise(lm, head->outliers, (vocab_size + 1) * EB_OUTLIER_BYTES, advice);
}

int eb_lm_head_open(eb_lm_head *lm, const eb_plan *plan, const eb_execution *execution, long weights_file,
                    eb_team *team) {
  const int32_t threads = eb_team_count(team);
  lm->plan = plan;
  lm->execution = execution;
  lm->weights_file = weights_file;
  lm->team = team;
  if (!eb_map_zeroed(lay_out(lm, 0, threads), &lm->memory)) return 0;
  lay_out(lm, (uint64_t)(uintptr_t)lm->memory.data, threads);
  if (lm->screening) eb_screening_place(lm->screening, plan, threads);
  if (eb_has_planes(&plan->logits)) advise_rows(lm, EB_MADV_NOHUGEPAGE); /* a row would map 2 MB */
  return 1;
}

void eb_lm_head_close(eb_lm_head *lm) { eb_unmap(&lm->memory); }

void eb_lm_head_note_rows(eb_lm_head *lm, uint64_t rows) {
  lm->rows_touched += rows;
  if (!eb_has_planes(&lm->plan->logits) || lm->reads_all || lm->rows_touched <= MOST_ROWS_TOUCHED) return;
  advise_rows(lm, EB_MADV_DONTNEED);
  lm->rows_touched = 0;
}

/* ---- all logits ------------------------------------------------------------------------------------------- */

static uint32_t at_most(uint32_t count, uint32_t most) { return count < most ? count : most; }

static void full_rows(const eb_lm_head *lm, uint32_t begin, uint32_t count, int32_t row, float *logits) {
  const eb_head *head = &lm->plan->logits;
  uint8_t *table = eb_section(lm, head->table + (uint64_t)begin * head->width * sizeof(uint16_t));
  lm->execution->kernels[head->lm_head](table, eb_hidden_state(lm, row), logits, NULL, NULL, NULL, NULL, NULL,
                                        (int32_t)count, (int32_t)(head->width / 64), 0, 0, 0, 0, 0, 0);
}

static void int8_rows(const eb_lm_head *lm, uint32_t begin, uint32_t count, int32_t row, float *logits) {
  const eb_head *head = &lm->plan->logits;
  uint8_t *table = eb_section(lm, head->table + (uint64_t)begin * head->width);
  uint8_t *scales = eb_section(lm, head->scales + (uint64_t)begin * sizeof(float));
  lm->execution->kernels[head->lm_head](table, scales, lm->codes + (uint64_t)row * head->width, lm->sums + row,
                                        lm->scales + row, logits, NULL, NULL, (int32_t)count,
                                        (int32_t)(head->width / 64), 0, 0, 0, 0, 0, 0);
}

static void table_logits(const eb_lm_head *lm, eb_range range) {
  const int is_int8 = lm->plan->logits.kind == EB_HEAD_INT8;
  for (uint32_t begin = range.begin, count; begin < range.end; begin += count) {
    count = at_most(range.end - begin, TABLE_ROWS_AT_ONCE);
    for (int32_t i = 0; i < lm->row_count; i++) {
      float *logits = lm->logits + (uint64_t)i * lm->plan->vocab_size + begin;
      (is_int8 ? int8_rows : full_rows)(lm, begin, count, lm->first_row + i, logits);
    }
  }
}

/* Hidden states as int8 codes, once for the whole table. */
static void quantize_states(const eb_lm_head *lm, int32_t thread) {
  const eb_head *head = &lm->plan->logits;
  eb_range range = eb_partition((uint32_t)lm->row_count, 1, thread, eb_team_count(lm->team));
  int32_t row = lm->first_row + (int32_t)range.begin, count = (int32_t)(range.end - range.begin);
  if (count)
    lm->execution->kernels[head->quantize](eb_hidden_state(lm, row), lm->codes + (uint64_t)row * head->width,
                                           lm->sums + row, lm->scales + row, NULL, NULL, NULL, NULL, count,
                                           (int32_t)(head->width / 64), 0, 0, 0, 0, 0, 0);
  eb_team_barrier(lm->team, thread);
}

/* The second plane of rows side by side. What cannot be read is copied from the mapping: a bad disk then ends the
 * program as it does everywhere else. */
static uint8_t *read_second(const eb_lm_head *lm, int32_t thread, const int32_t *tokens, uint32_t count) {
  const uint64_t bytes = eb_plane2_row(&lm->plan->logits);
  uint8_t *rows = lm->second + (uint64_t)thread * EB_ROWS_AT_ONCE * bytes;
  for (uint32_t i = 0; i < count; i++) {
    const uint64_t offset = lm->plan->logits.plane2 + (uint64_t)tokens[i] * bytes;
    if (!eb_read_at(lm->weights_file, offset, rows + i * bytes, bytes))
      memcpy(rows + i * bytes, eb_section(lm, offset), bytes);
  }
  return rows;
}

void eb_exact_logits(const eb_lm_head *lm, int32_t thread, const int32_t *tokens, uint32_t count, int32_t first_row,
                     int32_t row_count, enum eb_rows how, float *logits, uint64_t stride) {
  const eb_head *head = &lm->plan->logits;
  const int is_read = how == EB_ROWS_READ;
  uint8_t *second = is_read ? read_second(lm, thread, tokens, count) : eb_section(lm, head->plane2);
  float *rows = lm->rows + (uint64_t)thread * EB_ROWS_AT_ONCE * head->width;
  lm->execution->kernels[head->rows]((void *)tokens, eb_section(lm, head->plane1), second,
                                     eb_section(lm, head->bounds), eb_section(lm, head->escape_index),
                                     eb_section(lm, head->escapes), eb_section(lm, head->outliers), rows,
                                     (int32_t)count, (int32_t)(head->plane_width / 256), (int32_t)head->width,
                                     is_read, 0, 0, 0, 0);
  for (int32_t i = 0; i < row_count; i++)
    lm->execution->kernels[head->lm_head](rows, eb_hidden_state(lm, first_row + i), logits + (uint64_t)i * stride, NULL,
                                          NULL, NULL, NULL, NULL, (int32_t)count, (int32_t)(head->width / 64), 0, 0, 0,
                                          0, 0, 0);
}

static void plane_logits(const eb_lm_head *lm, eb_range range, int32_t thread) {
  int32_t *tokens = lm->row_tokens + (uint64_t)thread * EB_ROWS_AT_ONCE;
  for (uint32_t begin = range.begin, count; begin < range.end; begin += count) {
    count = at_most(range.end - begin, EB_ROWS_AT_ONCE);
    for (uint32_t i = 0; i < count; i++) tokens[i] = (int32_t)(begin + i);
    eb_exact_logits(lm, thread, tokens, count, lm->first_row, lm->row_count, EB_ROWS_MAPPED,
                    lm->logits + begin, lm->plan->vocab_size);
  }
}

static void logits_job(void *user, int32_t thread) {
  const eb_lm_head *lm = user;
  const eb_plan *plan = lm->plan;
  eb_range range = eb_partition(plan->vocab_size, TABLE_ROWS_AT_ONCE, thread, eb_team_count(lm->team));
  if (plan->logits.kind == EB_HEAD_INT8) quantize_states(lm, thread);
  if (eb_has_planes(&plan->logits))
    plane_logits(lm, range, thread);
  else
    table_logits(lm, range);
  eb_trace_step(lm->execution, EB_HEAD, (int32_t)plan->head_steps, lm->team, thread);
}

void eb_lm_head_logits(eb_lm_head *lm, int32_t first, int32_t rows, float *logits) {
  lm->first_row = first;
  lm->row_count = rows;
  lm->logits = logits;
  eb_team_run(lm->team, logits_job, lm);
  lm->stats.full_passes += (uint64_t)rows;
  lm->reads_all = 1;
  lm->rows_touched += lm->plan->vocab_size;
}
