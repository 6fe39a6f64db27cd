/* sampler.h: the next token from logits; the same token on every device for the same logits, settings and seed.
 *
 * Filters in the order of Hugging Face transformers: temperature, then top-k (all that tie with the k-th stay), then
 * top-p (the smallest set of most likely tokens whose probability reaches top_p), then min-p (those at least min_p
 * times as likely as the likeliest). The choice among what is left is Gumbel-max: argmax(logit / temperature + noise),
 * noise a pure function of (seed, position, token), so that it needs no running state: rewinding a conversation and
 * sampling again gives the same token.
 */
#ifndef EB_SAMPLER_H
#define EB_SAMPLER_H

#include "edgebit.h"

/* Logits of a whole vocabulary, or of those tokens of it that can still be chosen. */
typedef struct eb_candidates {
  const float *logits;   /* [count] */
  const int32_t *tokens; /* [count], ascending; NULL: 0, 1, 2... */
  int32_t count;
} eb_candidates;

/* logit / temperature, infinities as the largest numbers; never falls when the logit rises. */
double eb_scaled(float logit, float temperature);

/* Least scaled logit that passes min-p when `highest` is the largest one; -infinity where min-p is off. */
double eb_min_p_floor(const eb_sampling *sampling, float highest);

/* Whether top_p removes anything. */
static inline int eb_has_top_p(const eb_sampling *sampling) {
  return sampling->top_p > 0.0f && sampling->top_p < 1.0f;
}

/* Whether every setting is in its range. */
int eb_sampling_is_valid(const eb_sampling *sampling);

/* `scratch`: uint64_t[count], used only with top_k or top_p. Returns the token id; EB_ERROR_ARGUMENT for a setting out
 * of range (negative or NaN temperature, negative top_k, NaN top_p, min_p not in 0..1) and for logits without any number
 * in them (all NaN). NaN logits are never chosen; among equal logits greedy takes the lowest id. */
int32_t eb_sample_candidates(eb_candidates from, const eb_sampling *sampling, int32_t position, uint64_t *scratch);

#endif
