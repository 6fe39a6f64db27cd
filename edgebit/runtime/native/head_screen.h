/* head_screen.h: which rows of the vocabulary can be chosen, found without reading all of their bits.
 *
 * 1. Every row gets an estimate of its logit and an upper bound (kernel head_screen).
 * 2. The rows that lead by their estimates are computed exactly; they set a threshold.
 * 3. Rows whose upper bound reaches the threshold survive and are computed exactly. No other row can be chosen.
 *
 * What a row competes with is its logit (greedy, top-k, min-p), or its logit / temperature + noise.
 */
#ifndef EB_HEAD_SCREEN_H
#define EB_HEAD_SCREEN_H

#include "head.h"
#include "head_query.h"

enum { EB_MOST_LEADERS = 1024 }; /* of top-k; more of them take all logits */

typedef struct eb_leader {
  float estimate;
  int32_t token;
} eb_leader;

/* What one thread finds among its rows. */
typedef struct eb_screened {
  _Alignas(EB_ALIGNMENT) eb_leader *leaders; /* [EB_MOST_LEADERS], a heap with the least estimate on top */
  int32_t leader_count;
  double best; /* of estimates with noise: that of leaders[0] */
  uint32_t survivors;
  int32_t failed; /* a bound is no number */
} eb_screened;

enum eb_contest_kind {
  EB_BY_LOGIT, /* greedy, top-k: with the k-th largest logit */
  EB_BY_MIN_P, /* with the least scaled logit that passes min-p */
  EB_BY_NOISE  /* with the largest sum of scaled logit and noise */
};

/* How rows compete. */
typedef struct eb_contest {
  enum eb_contest_kind kind;
  int32_t leader_count; /* rows that set the threshold; 0: no few rows decide */
  float scale;          /* logits are divided by it */
  uint64_t noise_key;
  eb_sampling sampling;
} eb_contest;

struct eb_screening {
  eb_query query;
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
  int32_t failed; /* all logits are needed */
};

uint64_t eb_screening_bytes(const eb_plan *plan, int32_t threads);

/* Lays the buffers of `screening` out in the zeroed memory behind it. */
void eb_screening_place(eb_screening *screening, const eb_plan *plan, int32_t threads);

#endif
