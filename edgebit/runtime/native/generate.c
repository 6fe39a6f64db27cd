/* generate.c: one token and then as many sampled ones as their guesses were right. */
#include "session.h"

#include "port.h"

/* Samples behind the rows of the pass until a guess was wrong. Gives how many were sampled, or an error. */
static int32_t sample_rows(eb_session *session, const eb_draft *draft, const eb_sampling *sampling, int32_t *out) {
  int32_t base = session->position;
  for (int32_t row = 0;; row++) {
    session->last_row = row;
    session->position = base + row + 1;
    session->has_logits = 0;
    int32_t token = eb_sample(session, sampling);
    if (token < 0) return token;
    out[row] = token;
    if (row == draft->count || token != draft->tokens[row]) return row + 1;
  }
}

int32_t eb_generate(eb_session *session, int32_t token, const eb_sampling *sampling, int32_t speculate, int32_t *out,
                    int32_t capacity) {
  if (!session || !out || capacity < 1) return EB_ERROR_ARGUMENT;
  int32_t failed = eb_check_tokens(session, EB_TASK_GENERATE, &token, 1);
  if (!failed) failed = eb_check_sampling(session, sampling);
  if (failed) return failed;
  const eb_plan *plan = session->model->plan;
  int32_t most = (int32_t)plan->context - session->position - 1;
  if (most > capacity - 1) most = capacity - 1;
  if (most > (int32_t)plan->chunk - 1) most = (int32_t)plan->chunk - 1;
  eb_draft draft;
  eb_guess(&session->speculation, token, session->position, speculate ? most : 0, &draft);
  int32_t tokens[EB_MOST_DRAFTS + 1] = {token};
  memcpy(tokens + 1, draft.tokens, (size_t)draft.count * sizeof *tokens);
  uint64_t start = eb_nanoseconds();
  eb_run_chunk(session, tokens, draft.count + 1, draft.count + 1);
  uint64_t ran = eb_nanoseconds();
  int32_t count = sample_rows(session, &draft, sampling, out);
  if (count < 0) return count;
  eb_speculation_learn(&session->speculation, &draft, out, count, (double)(ran - start) * 1e-9,
                       (double)(eb_nanoseconds() - ran) * 1e-9);
  return count;
}

void eb_session_speculation_stats(const eb_session *session, eb_speculation_stats *stats) {
  *stats = session->speculation.stats;
}
