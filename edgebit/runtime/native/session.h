/* session.h: the inside of an eb_session. */
#ifndef EB_SESSION_H
#define EB_SESSION_H

#include "edgebit.h"
#include "execute.h"
#include "head.h"
#include "model.h"
#include "profile.h"
#include "sampler.h"
#include "speculate.h"

/* What the team does together: the tokens of a chunk, and the hidden states of some of its rows. */
typedef struct {
  int32_t token_count;
  int32_t first_row, row_count;
} eb_pass;

struct eb_session {
  const eb_model *model;
  eb_team *team;
  eb_mapping work;  /* activations, scratch, tokens, logits, sampler */
  eb_mapping cache; /* on its own: it grows as it is touched */
  eb_execution execution;
  eb_profiler profiler;
  eb_lm_head lm_head;
  int32_t *tokens; /* [chunk] */
  float *logits;   /* [vocab_size] */
  uint64_t *sampler_scratch; /* [vocab_size] */
  int32_t position;
  int32_t last_row;   /* of the pass that was run last: its hidden state is that of the last token; -1: there is none */
  int32_t has_logits; /* they are those of last_row */
  eb_pass pass;       /* under way */
  eb_speculation speculation;
  char error[256];
};

/* Give 0, or an error code with its sentence: the session is of this process; the model is for `task`; it is, and n
 * tokens can be appended; these are settings to sample with. */
int32_t eb_session_check(eb_session *session);
int32_t eb_check_task(eb_session *session, enum eb_task task);
int32_t eb_check_tokens(eb_session *session, enum eb_task task, const int32_t *tokens, int32_t n);
int32_t eb_check_sampling(eb_session *session, const eb_sampling *sampling);

/* Tokens of the next chunk of `left`. */
int32_t eb_chunk_of(const eb_session *session, int32_t left);

/* Runs one chunk at the position, which stays, and leaves the hidden states of its last `rows` tokens. */
void eb_run_chunk(eb_session *session, const int32_t *tokens, int32_t count, int32_t rows);

#endif
