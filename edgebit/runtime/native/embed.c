/* embed.c: the embedding of a text: its hidden states pooled by the head steps, then normalised. */
#include "session.h"

#include "port.h"

/* Pools the states of `tokens`, chunk by chunk from position 0. */
static void pool(eb_session *session, const int32_t *tokens, int32_t n) {
  const eb_pooling *pooling = &session->model->plan->pooling;
  memset(session->execution.base[EB_ARENA] + pooling->state, 0, pooling->width * sizeof(float));
  for (int32_t done = 0, count; done < n; done += count) {
    count = eb_chunk_of(session, n - done);
    int32_t rows = pooling->kind == EB_POOL_MEAN ? count : done + count == n;
    eb_run_chunk(session, tokens + done, count, rows);
    session->position += count;
  }
}

/* The embedding of what was pooled from `states` states, and where it is. */
static const float *normalize(const eb_session *session, int32_t states) {
  const eb_pooling *pooling = &session->model->plan->pooling;
  uint8_t *pooled = session->execution.base[EB_ARENA] + pooling->state;
  uint8_t *embedding = pooled + pooling->width * sizeof(float);
  eb_float_mode mode = eb_float_mode_read();
  eb_float_mode_write(EB_CANONICAL_FLOAT_MODE);
  session->execution.kernels[pooling->normalize](pooled, embedding, NULL, NULL, NULL, NULL, NULL, NULL,
                                                 (int32_t)(pooling->width / 64), states, 0, 0, 0, 0, 0, 0);
  eb_float_mode_write(mode);
  return (const float *)(const void *)embedding;
}

int32_t eb_embed(eb_session *session, const int32_t *tokens, int32_t n, float *embedding) {
  if (!session || !embedding) return EB_ERROR_ARGUMENT;
  int32_t failed = eb_check_tokens(session, EB_TASK_EMBED, tokens, n);
  if (failed) return failed;
  const eb_plan *plan = session->model->plan;
  pool(session, tokens, n);
  session->position = 0;
  memcpy(embedding, normalize(session, plan->pooling.kind == EB_POOL_MEAN ? n : 1),
         plan->hidden_size * sizeof *embedding);
  return 0;
}
