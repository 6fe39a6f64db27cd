#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "stream.h"

enum { AT_ONCE = 8 }; /* tokens that one call of eb_generate gives at most */

volatile int interrupted;

double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

engine engine_open(const char *bundle, int32_t threads) {
  char error[MESSAGE_BYTES];
  engine open = {0};
  open.model = eb_open(bundle, error, sizeof error);
  if (!open.model) fail("%s", error);
  open.session = eb_session_open(open.model, threads, error, sizeof error);
  if (!open.session) fail("%s", error);
  eb_info(open.model, &open.info);
  open.held = grown(NULL, (size_t)open.info.context + 1, sizeof *open.held);
  return open;
}

void engine_close(engine *open) {
  eb_session_close(open->session);
  eb_close(open->model);
  free(open->held);
}

int32_t *engine_tokens(const engine *open, const char *text, int32_t *count) {
  size_t size = strlen(text);
  int32_t flags = open->info.task == EB_TASK_EMBED ? EB_ADD_BOS | EB_ADD_EOS : EB_ADD_BOS;
  int32_t *ids = NULL;
  for (int32_t room = 256; size <= INT32_MAX; room = *count) {
    ids = grown(ids, (size_t)room, sizeof *ids);
    *count = eb_tokenize(open->model, text, (int32_t)size, flags, ids, room);
    if (*count >= 0 && *count <= room) return ids;
    if (*count < 0) break;
  }
  free(ids);
  return NULL;
}

/* ---- the KV cache ----------------------------------------------------------------------------------------- */

/* Keeps the longest beginning that `ids` share with the cache, but one token: logits come from an evaluation. */
static int32_t reuse(engine *open, const int32_t *ids, int32_t count) {
  int32_t held = eb_position(open->session), common = 0;
  if (held > open->held_count) held = open->held_count;
  while (common < held && common < count - 1 && open->held[common] == ids[common]) common++;
  eb_rewind(open->session, common);
  open->held_count = common;
  return common;
}

static void hold(engine *open, const int32_t *ids, int32_t count) {
  memcpy(open->held + open->held_count, ids, (size_t)count * sizeof *ids);
  open->held_count += count;
}

/* A long prompt goes in pieces of about the same size, so that an interrupt is seen between them. */
static enum answer_end feed(engine *open, const int32_t *ids, int32_t count, char *error) {
  int32_t pieces = (count - 1) / open->info.chunk + 1, begin = 0;
  for (int32_t i = 1; i <= pieces; i++) {
    int32_t end = (int32_t)((int64_t)count * i / pieces);
    if (interrupted) return ANSWER_INTERRUPTED;
    int32_t failed = end < count ? eb_append(open->session, ids + begin, end - begin)
                                 : eb_evaluate(open->session, ids + begin, end - begin);
    if (failed) {
      snprintf(error, MESSAGE_BYTES, "%s", eb_session_error(open->session));
      return ANSWER_FAILED;
    }
    hold(open, ids + begin, end - begin);
    begin = end;
  }
  return ANSWER_DONE;
}

/* ---- the answer ------------------------------------------------------------------------------------------- */

typedef struct {
  engine *open;
  const answer_settings *settings;
  stream text;
  answer_sink sink;
  answer_figures *figures;
  double start; /* of the prompt, then of the first token */
  int begins;   /* a text begins with the next token that is shown */
} run;

static void show(run *r) {
  if (r->text.certain) r->sink.show(r->sink.user, r->text.held.data, r->text.certain);
}

static void finish(run *r) {
  stream_finish(&r->text);
  show(r);
}

/* Takes a sampled token; 1 when the answer ends with it. */
static int judge(run *r, int32_t token) {
  const eb_model *model = r->open->model;
  r->figures->generated_tokens++;
  if (eb_is_stop(model, token)) {
    finish(r);
    return 1;
  }
  if (!eb_is_special(model, token)) {
    char piece[256];
    int32_t (*bytes_of)(const eb_model *, int32_t, char *, int32_t) = r->begins ? eb_first_token_bytes : eb_token_bytes;
    int32_t size = bytes_of(model, token, piece, sizeof piece);
    char *all = size > (int32_t)sizeof piece ? grown(NULL, (size_t)size, 1) : NULL;
    if (all) bytes_of(model, token, all, size);
    r->begins = 0;
    int reached = size > 0 && stream_feed(&r->text, all ? all : piece, (size_t)size);
    free(all);
    if (size > 0) show(r);
    if (reached) return 1;
  }
  if (r->figures->generated_tokens != r->settings->max_tokens) return 0;
  finish(r);
  return 1;
}

static enum answer_end failed(run *r, int32_t code, char *error) {
  finish(r);
  if (code == EB_ERROR_CONTEXT)
    snprintf(error, MESSAGE_BYTES, "the context of %d tokens is full and the answer cut: begin anew",
             (int)r->open->info.context);
  else
    snprintf(error, MESSAGE_BYTES, "%s", eb_session_error(r->open->session));
  return ANSWER_FAILED;
}

static enum answer_end generate(run *r, char *error) {
  engine *open = r->open;
  int32_t tokens[AT_ONCE], count = 1;
  tokens[0] = eb_sample(open->session, &r->settings->sampling);
  if (tokens[0] < 0) return failed(r, tokens[0], error);
  double first = now();
  r->figures->first_token_seconds = first - r->start;
  r->start = first;
  for (;;) {
    for (int32_t i = 0; i < count; i++) {
      int ends = judge(r, tokens[i]);
      r->figures->decode_seconds = now() - first;
      if (ends) return ANSWER_DONE;
    }
    if (interrupted) return ANSWER_INTERRUPTED;
    int32_t left = r->settings->max_tokens ? r->settings->max_tokens - r->figures->generated_tokens : AT_ONCE;
    int32_t last = tokens[count - 1];
    count = eb_generate(open->session, last, &r->settings->sampling, r->settings->speculate, tokens,
                        left < AT_ONCE ? left : AT_ONCE);
    if (count < 0) return failed(r, count, error);
    hold(open, &last, 1);
    hold(open, tokens, count - 1);
  }
}

enum answer_end answer(engine *open, const int32_t *ids, int32_t count, const answer_settings *settings,
                       answer_sink sink, answer_figures *figures, char error[MESSAGE_BYTES]) {
  *figures = (answer_figures){.prompt_tokens = count};
  if (count < 1) {
    snprintf(error, MESSAGE_BYTES, "the prompt is empty: there is nothing to continue");
    return ANSWER_FAILED;
  }
  if (count > open->info.context) {
    snprintf(error, MESSAGE_BYTES,
             "the prompt has %d tokens, the context holds %d: shorten it, or compile the model with a longer context",
             (int)count, (int)open->info.context);
    return ANSWER_FAILED;
  }
  run r = {.open = open, .settings = settings, .sink = sink, .figures = figures, .start = now()};
  r.begins = settings->begins || eb_is_special(open->model, ids[count - 1]);
  r.text.stops = settings->stops;
  r.text.stop_count = settings->stop_count;
  figures->cached_tokens = reuse(open, ids, count);
  enum answer_end end = feed(open, ids + figures->cached_tokens, count - figures->cached_tokens, error);
  figures->prefill_seconds = now() - r.start;
  if (end == ANSWER_DONE) end = generate(&r, error);
  stream_free(&r.text);
  return end;
}
