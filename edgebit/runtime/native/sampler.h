/* sampler.h: the next token from logits; the same token on every device for the same logits, settings and seed.
 *
 * Filters in the order of Hugging Face transformers: temperature, then top-k (all that tie with the k-th stay), then
 * top-p (the smallest set of most likely tokens whose probability reaches top_p). The choice among what is left is
 * Gumbel-max: argmax(logit / temperature + noise), noise a pure function of (seed, position, token), so that it needs
 * no running state: rewinding a conversation and sampling again gives the same token.
 */
#ifndef EB_SAMPLER_H
#define EB_SAMPLER_H

#include "edgebit.h"

/* `scratch`: uint64_t[vocab], used only with top_k or top_p. Returns the token id; EB_ERROR_ARGUMENT for a setting out
 * of range (negative or NaN temperature, negative top_k, NaN top_p) and for logits without any number in them (all NaN).
 * NaN logits are never chosen; among equal logits greedy takes the lowest id. */
int32_t eb_sample_logits(const float *logits, int32_t vocab, const eb_sampling *sampling, int32_t position,
                         uint64_t *scratch);

#endif
