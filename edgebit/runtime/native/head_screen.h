/* head_screen.h: which rows of the vocabulary can be chosen, found without reading all of their bits.
 *
 * 1. Every row gets an estimate of its logit and an upper bound (kernel head_screen).
 * 2. The rows that lead by their estimates are computed exactly; they set a threshold.
 * 3. Rows whose upper bound reaches the threshold survive. No other row can be chosen.
 * 4. EB_HEAD_S4: where many survive its codes of 4 bits, 1 to 3 are done again with the first plane of these rows.
 * 5. The survivors are computed exactly.
 *
 * What a row competes with is its logit (greedy, top-k, min-p), or its logit / temperature + noise.
 */
#ifndef EB_HEAD_SCREEN_H
#define EB_HEAD_SCREEN_H

#include "head.h"
#include "head_contest.h"
#include "head_query.h"

struct eb_screening {
  eb_query plain, rotated; /* what planes are screened with, and codes */
  double *scratch;         /* [2][plane_width], to prepare them */
  eb_contest contest;
  int32_t row;         /* its hidden state */
  float *estimates;    /* [blocks * 16] */
  float *upper_bounds; /* [blocks * 16] */
  float *peaks;        /* [blocks][2]: the largest estimate, the largest upper bound */
  eb_screened *parts;  /* [threads] */
  int32_t *leaders;    /* tokens [EB_MOST_LEADERS] */
  float *leader_logits; /* exact ones */
  int32_t *survivors;  /* tokens [blocks * 16]: first each thread's where its rows are, then side by side */
  float *logits;       /* of the survivors, exact [most_survivors] */
  uint32_t most_survivors, survivor_count;
  double threshold;
  /* EB_HEAD_S4: rows of the first plane side by side, 16 of each thread, as kernel head_screen takes them */
  uint8_t *rows;       /* [threads][16][bytes] */
  float *row_bounds;   /* [threads][5][16] */
  float *row_results;  /* [threads][3][16]: estimates, upper bounds, peaks */
  int32_t is_refining;
  uint32_t refined_count;
  int32_t failed; /* all logits are needed */
};

uint64_t eb_screening_bytes(const eb_plan *plan, int32_t threads);

/* Lays the buffers of `screening` out in the zeroed memory behind it. */
void eb_screening_place(eb_screening *screening, const eb_plan *plan, int32_t threads);

#endif
