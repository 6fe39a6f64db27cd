/* head.h: the lm_head of a session: from the hidden states that the head steps of a plan leave in the arena to logits,
 * or to the few tokens that can be chosen.
 */
#ifndef EB_HEAD_H
#define EB_HEAD_H

#include "execute.h"
#include "memory.h"
#include "sampler.h"

typedef struct eb_screening eb_screening; /* head_screen.h */

/* One lm_head, for the threads of one session. */
typedef struct eb_lm_head {
  const eb_plan *plan;
  const eb_execution *execution;
  long weights_file; /* its single rows are read, not mapped: a page fault maps up to 512 KB around each */
  eb_team *team;
  eb_mapping memory;
  /* heads with planes: rows of the table as they are decoded, each thread's own */
  int32_t *row_tokens; /* [threads][EB_ROWS_AT_ONCE] */
  uint8_t *second;     /* their second plane [threads][EB_ROWS_AT_ONCE][bytes], where it was read */
  float *rows;         /* [threads][EB_ROWS_AT_ONCE][width] */
  eb_screening *screening;
  uint64_t rows_touched; /* since their memory was given back */
  int32_t reads_all;     /* the last token took all logits: the next one may too */
  /* EB_HEAD_INT8: hidden states as codes */
  int8_t *codes;  /* [chunk][width] */
  int32_t *sums;  /* [chunk] */
  float *scales;  /* [chunk] */
  /* logits under way */
  int32_t first_row, row_count;
  float *logits; /* [row_count][vocab_size] */
  eb_head_stats stats;
} eb_lm_head;

enum { EB_ROWS_AT_ONCE = 16 }; /* decoded rows stay in the second cache while all hidden states meet them */

/* Memory of its own; gives 0 when there is none. `plan`, `execution`, `weights_file` and `team` stay the caller's. */
int eb_lm_head_open(eb_lm_head *lm, const eb_plan *plan, const eb_execution *execution, long weights_file,
                    eb_team *team);
void eb_lm_head_close(eb_lm_head *lm);

/* Logits of the hidden states of rows first..first+rows-1 of the last pass, to logits[rows][vocab_size]. Traced as a
 * step behind the head steps. */
void eb_lm_head_logits(eb_lm_head *lm, int32_t first, int32_t rows, float *logits);

/* Tokens and logits of one row among which `sampling` chooses as among the whole vocabulary. Gives 0 when there is no
 * cheap way to find them: then all logits are needed. Traced as steps behind that of the logits. */
int eb_lm_head_candidates(eb_lm_head *lm, int32_t row, const eb_sampling *sampling, int32_t position,
                          eb_candidates *candidates);

/* Counts rows of the table that were mapped here and there. The pages around each of them are mapped with it: now and
 * then, between passes, they are given back (the system keeps what it read), but not while every token takes all. */
void eb_lm_head_note_rows(eb_lm_head *lm, uint64_t rows);

/* Sizes of the sections of planes and codes in bytes (edgebit/compiler/head_planes.py, head_s4.py). */
enum { EB_BLOCK = 16 /* rows */, EB_ESCAPE_BYTES = 4, EB_OUTLIER_BYTES = 2 * 16, EB_BLOCK_BOUNDS = 5 * EB_BLOCK * 4 };

static inline uint32_t eb_row_blocks(const eb_plan *plan) { return (plan->vocab_size + EB_BLOCK - 1) / EB_BLOCK; }

static inline int eb_has_planes(const eb_head *head) { return head->kind == EB_HEAD_EXACT || head->kind == EB_HEAD_S4; }

static inline uint64_t eb_plane1_row(const eb_head *head) { return 128 + (uint64_t)head->plane_width / 4 * 3; }

static inline uint64_t eb_plane2_row(const eb_head *head) { return (uint64_t)head->plane_width / 4 * 5; }

static inline uint64_t eb_codes_row(const eb_head *head) { return 128 + (uint64_t)head->plane_width / 2; }

/* ---- between head.c and head_screen.c --------------------------------------------------------------------- */

static inline float *eb_hidden_state(const eb_lm_head *lm, int32_t row) {
  const eb_head *head = &lm->plan->logits;
  uint64_t bytes = (uint64_t)row * head->width * sizeof(float);
  return (float *)(void *)(lm->execution->base[EB_ARENA] + head->hidden + bytes);
}

static inline void *eb_section(const eb_lm_head *lm, uint64_t offset) {
  return lm->execution->base[EB_WEIGHTS] + offset;
}

/* How eb_exact_logits gets at the second plane of its rows. */
enum eb_rows { EB_ROWS_MAPPED, EB_ROWS_READ };

/* Decodes at most EB_ROWS_AT_ONCE rows of the table and multiplies them with the hidden states of
 * first_row..first_row+row_count-1: logits[r * stride + i] of tokens[i]. */
void eb_exact_logits(const eb_lm_head *lm, int32_t thread, const int32_t *tokens, uint32_t count, int32_t first_row,
                     int32_t row_count, enum eb_rows how, float *logits, uint64_t stride);

#endif
