/* speculate.h: the next tokens guessed from what the context already holds (prompt lookup), and how many guesses are
 * worth verifying.
 *
 * A guess is what followed the most recent of the longest earlier occurrences of the last tokens. A pass of several
 * tokens costs little more than one where memory sets the pace, and nearly as much as so many single ones where
 * arithmetic does: the time of passes and the luck with guesses are measured while the session runs. Neither changes
 * a token: guesses are verified.
 */
#ifndef EB_SPECULATE_H
#define EB_SPECULATE_H

#include "edgebit.h"

enum { EB_MOST_DRAFTS = 7, EB_MATCH_CLASSES = 8 };

typedef struct eb_speculation {
  int32_t *history; /* [context]: the tokens in the KV cache */
  double hit_rate[EB_MATCH_CLASSES]; /* how often the first guess is right, by the length of the match - 1 */
  double pass_seconds[EB_MOST_DRAFTS + 2]; /* of a pass of so many tokens; 0: none was measured */
  double sample_seconds;
  eb_speculation_stats stats;
} eb_speculation;

/* What to verify behind a token. */
typedef struct eb_draft {
  int32_t tokens[EB_MOST_DRAFTS];
  int32_t count; /* worth verifying; the first guess may be there without being worth it */
  int32_t guessed;
  int32_t match; /* tokens that the guess rests on */
} eb_draft;

void eb_speculation_open(eb_speculation *speculation);

/* Guesses what follows `token`, which is to be appended at `position`; at most `most` tokens. */
void eb_guess(const eb_speculation *speculation, int32_t token, int32_t position, int32_t most, eb_draft *draft);

/* Learns from a step: the tokens `sampled` were sampled (count of them) in a pass of draft->count + 1 tokens. */
void eb_speculation_learn(eb_speculation *speculation, const eb_draft *draft, const int32_t *sampled, int32_t count,
                          double pass_seconds, double sample_seconds);

#endif
