#include "session.h"

#include "bandwidth.h"
#include "cpu.h"
#include "message.h"
#include "port.h"

/* ---- opening and closing ---------------------------------------------------------------------------------- */

/* Lays the buffers out from address `start` on; gives their size. */
static uint64_t lay_out(eb_session *session, uint64_t start, int32_t threads) {
  const eb_plan *plan = session->model->plan;
  uint8_t **base = session->execution.base;
  uint64_t next = start, scratch = eb_align(plan->scratch_bytes);
  base[EB_ARENA] = eb_take(&next, plan->arena_bytes);
  base[EB_SCRATCH] = eb_take(&next, scratch * (uint64_t)threads);
  base[EB_TOKENS] = eb_take(&next, eb_space_bytes(plan, EB_TOKENS));
  const uint64_t logits = plan->logits.kind == EB_HEAD_NONE ? 0 : plan->vocab_size;
  session->logits = eb_take(&next, logits * sizeof(float));
  session->sampler_scratch = eb_take(&next, logits * sizeof(uint64_t));
  session->speculation.history = eb_take(&next, (uint64_t)plan->context * sizeof(int32_t));
  session->execution.scratch_stride = scratch;
  session->tokens = (int32_t *)(void *)base[EB_TOKENS];
  return next - start;
}

static int map_memory(eb_session *session, int32_t threads) {
  const eb_plan *plan = session->model->plan;
  if (!eb_map_zeroed(lay_out(session, 0, threads), &session->work)) return 0;
  if (!eb_map_zeroed(plan->cache_bytes, &session->cache) || !eb_profiler_open(&session->profiler, plan)) return 0;
  lay_out(session, (uint64_t)(uintptr_t)session->work.data, threads);
  session->execution.base[EB_WEIGHTS] = session->model->weights.data;
  session->execution.base[EB_CACHE] = session->cache.data;
  return 1;
}

static int open_parts(eb_session *session, int32_t threads, char *error, int32_t error_size) {
  const eb_plan *plan = session->model->plan;
  session->team = eb_team_open(threads, error, error_size);
  if (!session->team) return 0;
  if (map_memory(session, threads) &&
      eb_lm_head_open(&session->lm_head, plan, &session->execution, session->model->weights_file, session->team))
    return 1;
  eb_message(error, error_size, "no address space for a session: %llu bytes of activations, %llu of KV cache",
             (unsigned long long)(plan->arena_bytes + plan->scratch_bytes * (uint64_t)threads),
             (unsigned long long)plan->cache_bytes);
  return 0;
}

eb_session *eb_session_open(eb_model *model, int32_t threads, char *error, int32_t error_size) {
  if (!model || threads < 0 || threads > EB_MOST_THREADS) {
    eb_message(error, error_size, model ? "%d threads: expected 1 to %d, or 0 for one per CPU" : "no model is open",
               (int)threads, EB_MOST_THREADS);
    return NULL;
  }
  if (threads == 0) threads = eb_default_threads();
  eb_session *session = malloc(sizeof *session);
  if (!session) {
    eb_message(error, error_size, "no memory for a session");
    return NULL;
  }
  memset(session, 0, sizeof *session);
  session->model = model;
  session->last_row = -1;
  eb_speculation_open(&session->speculation);
  session->execution.kernels = model->tier->kernels;
  if (open_parts(session, threads, error, error_size)) return session;
  eb_session_close(session);
  return NULL;
}

void eb_session_close(eb_session *session) {
  if (!session) return;
  eb_team_close(session->team);
  eb_lm_head_close(&session->lm_head);
  eb_unmap(&session->work);
  eb_unmap(&session->cache);
  eb_profiler_close(&session->profiler);
  free(session);
}

/* ---- one pass --------------------------------------------------------------------------------------------- */

static eb_walk walk_tokens(const eb_session *session, int32_t count) {
  const eb_plan *plan = session->model->plan;
  if (count == 1) return (eb_walk){EB_DECODE, plan->decode, plan->decode_steps, 1, session->position, 0};
  return (eb_walk){EB_PREFILL, plan->prefill, plan->prefill_steps, count, session->position, 0};
}

static eb_walk walk_head(const eb_session *session, int32_t row) {
  const eb_plan *plan = session->model->plan;
  return (eb_walk){EB_HEAD, plan->head, plan->head_steps, 1, session->position + row, row};
}

/* Behind the last barrier the session belongs to the caller again: nothing of it is read there. */
static void run_pass(void *user, int32_t thread) {
  eb_session *session = user;
  const eb_pass pass = session->pass;
  eb_team *team = session->team;
  const eb_walk tokens = walk_tokens(session, pass.token_count);
  const eb_walk head = walk_head(session, pass.first_row);
  eb_execute(&session->execution, tokens, team, thread);
  for (int32_t i = 0; i < pass.row_count; i++) {
    eb_walk row = head;
    row.row += i;
    row.position += i;
    eb_execute(&session->execution, row, team, thread);
  }
}

void eb_run_chunk(eb_session *session, const int32_t *tokens, int32_t count, int32_t rows) {
  memcpy(session->tokens, tokens, (size_t)count * sizeof *tokens);
  memcpy(session->speculation.history + session->position, tokens, (size_t)count * sizeof *tokens);
  session->pass = (eb_pass){count, count - rows, rows};
  eb_team_run(session->team, run_pass, session);
  eb_lm_head_note_rows(&session->lm_head, (uint64_t)count); /* the embedding */
}

/* ---- evaluation ------------------------------------------------------------------------------------------- */

int32_t eb_session_check(eb_session *session) {
  if (eb_team_is_here(session->team)) return 0;
  eb_message(session->error, sizeof session->error,
             "the session was opened before this process was forked: open one in this process");
  return EB_ERROR_PROCESS;
}

int32_t eb_check_task(eb_session *session, enum eb_task task) {
  static const char *const does[] = {"continues text", "makes embeddings", "computes tensors"};
  static const char *const does_not[] = {"does not continue text", "makes no embeddings", "computes no tensors"};
  const enum eb_task own = eb_task_of(session->model->plan);
  if (own == task) return 0;
  eb_message(session->error, sizeof session->error, "this model %s: it %s", does[own], does_not[task]);
  return EB_ERROR_TASK;
}

int32_t eb_check_tokens(eb_session *session, enum eb_task task, const int32_t *tokens, int32_t n) {
  const eb_plan *plan = session->model->plan;
  if (eb_check_task(session, task)) return EB_ERROR_TASK;
  if (!tokens || n < 1) {
    eb_message(session->error, sizeof session->error, "%d tokens to evaluate: expected at least one", (int)n);
    return EB_ERROR_ARGUMENT;
  }
  if (eb_session_check(session)) return EB_ERROR_PROCESS;
  if (n > (int32_t)plan->context - session->position) {
    eb_message(session->error, sizeof session->error,
               "the context is full: %d of its %d tokens are used, %d more do not fit", (int)session->position,
               (int)plan->context, (int)n);
    return EB_ERROR_CONTEXT;
  }
  for (int32_t i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= (int32_t)plan->vocab_size) {
      eb_message(session->error, sizeof session->error, "token %d of the call is %d: the vocabulary has ids 0 to %d",
                 (int)i, (int)tokens[i], (int)plan->vocab_size - 1);
      return EB_ERROR_TOKEN;
    }
  return 0;
}

/* Chunks of about the same size: no prompt ends in one of a few tokens, which cost more each. */
int32_t eb_chunk_of(const eb_session *session, int32_t left) {
  int32_t most = (int32_t)session->model->plan->chunk;
  int32_t chunks = (left - 1) / most + 1;
  return (left - 1) / chunks + 1;
}

static int32_t append(eb_session *session, const int32_t *tokens, int32_t n, int with_logits) {
  if (!session) return EB_ERROR_ARGUMENT;
  int32_t failed = eb_check_tokens(session, EB_TASK_GENERATE, tokens, n);
  if (failed) return failed;
  for (int32_t done = 0, count; done < n; done += count) {
    count = eb_chunk_of(session, n - done);
    eb_run_chunk(session, tokens + done, count, with_logits && done + count == n);
    session->position += count;
    session->last_row = with_logits ? count - 1 : -1;
  }
  session->has_logits = 0;
  return 0;
}

int32_t eb_evaluate(eb_session *session, const int32_t *tokens, int32_t n) { return append(session, tokens, n, 1); }

int32_t eb_append(eb_session *session, const int32_t *tokens, int32_t n) { return append(session, tokens, n, 0); }

int32_t eb_evaluate_all(eb_session *session, const int32_t *tokens, int32_t n, float *logits) {
  if (!session || !logits) return EB_ERROR_ARGUMENT;
  int32_t failed = eb_check_tokens(session, EB_TASK_GENERATE, tokens, n);
  if (failed) return failed;
  size_t vocab_size = session->model->plan->vocab_size;
  for (int32_t done = 0, count; done < n; done += count) {
    count = eb_chunk_of(session, n - done);
    eb_run_chunk(session, tokens + done, count, count);
    eb_lm_head_logits(&session->lm_head, 0, count, logits + (size_t)done * vocab_size);
    session->position += count;
    session->last_row = count - 1;
  }
  session->has_logits = 0;
  return 0;
}

const float *eb_logits(eb_session *session) {
  if (session->last_row < 0) return NULL;
  if (!session->has_logits) {
    if (eb_session_check(session)) return NULL;
    eb_lm_head_logits(&session->lm_head, session->last_row, 1, session->logits);
  }
  session->has_logits = 1;
  return session->logits;
}

int32_t eb_position(const eb_session *session) { return session->position; }

int32_t eb_threads(const eb_session *session) { return eb_team_count(session->team); }

const char *eb_session_error(const eb_session *session) { return session->error; }

int32_t eb_rewind(eb_session *session, int32_t position) {
  if (position < 0 || position > session->position) {
    eb_message(session->error, sizeof session->error, "rewind to %d: the context holds %d tokens", (int)position,
               (int)session->position);
    return EB_ERROR_ARGUMENT;
  }
  if (position < session->position) session->last_row = -1;
  session->position = position;
  return 0;
}

/* The tokens to choose from: a few that were found to decide, or all. */
static eb_candidates candidates(eb_session *session, const eb_sampling *sampling) {
  eb_candidates found = {NULL, NULL, 0};
  if (!session->has_logits &&
      eb_lm_head_candidates(&session->lm_head, session->last_row, sampling, session->position, &found))
    return found;
  found.logits = eb_logits(session);
  found.count = (int32_t)session->model->plan->vocab_size;
  return found;
}

int32_t eb_check_sampling(eb_session *session, const eb_sampling *sampling) {
  if (sampling && eb_sampling_is_valid(sampling)) return 0;
  eb_message(session->error, sizeof session->error,
             sampling ? "temperature, top_k, top_p or min_p is out of range" : "no sampling settings");
  return EB_ERROR_ARGUMENT;
}

static int32_t check_logits(eb_session *session) {
  if (eb_check_task(session, EB_TASK_GENERATE)) return EB_ERROR_TASK;
  if (session->last_row >= 0) return eb_session_check(session);
  eb_message(session->error, sizeof session->error, "there are no logits to sample from: evaluate a token first");
  return EB_ERROR_ARGUMENT;
}

int32_t eb_sample(eb_session *session, const eb_sampling *sampling) {
  int32_t failed = eb_check_sampling(session, sampling);
  if (!failed) failed = check_logits(session);
  if (failed) return failed;
  eb_candidates from = candidates(session, sampling);
  eb_float_mode mode = eb_float_mode_read();
  eb_float_mode_write(EB_CANONICAL_FLOAT_MODE);
  int32_t token = eb_sample_candidates(from, sampling, session->position, session->sampler_scratch);
  eb_float_mode_write(mode);
  if (token < 0) eb_message(session->error, sizeof session->error, "no token to sample: no logit is a number");
  return token;
}

void eb_session_head_stats(const eb_session *session, eb_head_stats *stats) { *stats = session->lm_head.stats; }

/* ---- looking inside --------------------------------------------------------------------------------------- */

void eb_trace(eb_session *session, eb_trace_function function, void *user) {
  session->execution.trace = function;
  session->execution.trace_user = user;
}

void eb_profile(eb_session *session, int32_t on) {
  if (on) eb_profiler_reset(&session->profiler);
  eb_team_stamp(session->team, on ? &session->profiler.last : NULL);
  eb_trace(session, on ? eb_profiler_note : NULL, &session->profiler);
}

int32_t eb_profile_times(const eb_session *session, int32_t phase, eb_step_time *times, int32_t capacity) {
  if (phase < 0 || phase >= EB_PHASES || (capacity > 0 && !times)) return EB_ERROR_ARGUMENT;
  return eb_profiler_read(&session->profiler, phase, times, capacity);
}

static int32_t check_reading(eb_session *session, uint64_t bytes, uint64_t most, int32_t times) {
  if (eb_session_check(session)) return EB_ERROR_PROCESS;
  if (bytes > 0 && bytes <= most && times > 0) return 0;
  eb_message(session->error, sizeof session->error, "%llu bytes to read %d times: expected 1 to %llu, at least once",
             (unsigned long long)bytes, (int)times, (unsigned long long)most);
  return EB_ERROR_ARGUMENT;
}

int64_t eb_read_weights(eb_session *session, uint64_t offset, uint64_t bytes, int32_t times) {
  const eb_mapping *weights = &session->model->weights;
  uint64_t begin = offset / EB_ALIGNMENT * EB_ALIGNMENT;
  int32_t failed = check_reading(session, bytes, offset < weights->bytes ? weights->bytes - offset : 0, times);
  return failed ? failed : eb_time_reading(session->team, weights->data + begin, bytes, times);
}

int64_t eb_read_memory(eb_session *session, uint64_t bytes, int32_t times) {
  int32_t failed = check_reading(session, bytes, SIZE_MAX / 2, times);
  if (failed) return failed;
  int64_t nanoseconds = eb_time_reading_own(session->team, bytes, times);
  if (nanoseconds >= 0) return nanoseconds;
  eb_message(session->error, sizeof session->error, "no memory to read %llu bytes from", (unsigned long long)bytes);
  return EB_ERROR_ARGUMENT;
}

void *eb_space_base(eb_session *session, int32_t space) {
  return space >= 0 && space < EB_SPACES ? session->execution.base[space] : NULL;
}
