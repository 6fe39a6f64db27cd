/* head_contest.h: what rows of the vocabulary compete with, and the rows that lead. */
#ifndef EB_HEAD_CONTEST_H
#define EB_HEAD_CONTEST_H

#include "memory.h"
#include "plan.h"
#include "sampler.h"

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
  uint32_t first, survivors; /* where its survivors stand in the list, and how many */
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

eb_contest eb_contest_of(const eb_sampling *s, const eb_plan *plan, int32_t position);

/* Of any row; 0 without noise. */
double eb_most_noise(const eb_contest *c);

/* Least bits of noise with which something of `scaled` may reach `threshold`. */
uint64_t eb_noise_needed(const eb_contest *c, double scaled, double threshold);

/* What a row must reach to be chosen, from the exact logits of the leaders. */
double eb_threshold(const eb_contest *c, const int32_t *leaders, const float *logits);

/* Whether a row with this upper bound and at least these bits of noise may be chosen. */
int eb_reaches(const eb_contest *c, double threshold, float upper_bound, int32_t token, uint64_t least_bits);

/* Takes a row among the `needed` with the largest estimates. */
void eb_lead(eb_screened *part, int32_t needed, eb_leader row);

/* Takes a row as the leader if its estimate with noise is the largest. */
void eb_lead_with_noise(eb_screened *part, const eb_contest *c, eb_leader row, uint64_t least_bits);

#endif
