/* head.h: logits from the hidden states that the head steps of a plan leave in the arena. */
#ifndef EB_HEAD_H
#define EB_HEAD_H

#include "execute.h"

/* Logits of the hidden states of rows first..first+rows-1 of the last pass, to logits[rows][vocab_size], as one thread
 * of the team; every other thread must do the same. Ends with a barrier, behind which nothing is read. Traced as a step
 * behind the head steps. */
void eb_head_full(const eb_execution *execution, const eb_plan *plan, int32_t first, int32_t rows, float *logits,
                  eb_team *team, int32_t thread);

#endif
