/* answer.h: an open model that answers, keeping in its KV cache what prompts have in common. */
#ifndef RUN_ANSWER_H
#define RUN_ANSWER_H

#include <edgebit.h>

#include "bytes.h"

enum { MESSAGE_BYTES = 512 };

typedef struct {
  eb_model *model;
  eb_session *session;
  eb_model_info info;
  int32_t *held; /* the tokens in the KV cache; eb_position says how many of them count */
  int32_t held_count;
} engine;

typedef struct {
  eb_sampling sampling;
  int32_t max_tokens; /* 0: until the answer is done */
  int speculate;
  const char *const *stops;
  int stop_count;
  int begins; /* the answer is a text of its own, whatever the prompt ends with */
} answer_settings;

/* What an answer cost; seconds. */
typedef struct {
  int32_t prompt_tokens, cached_tokens, generated_tokens;
  double prefill_seconds, decode_seconds, first_token_seconds;
} answer_figures;

enum answer_end {
  ANSWER_DONE,
  ANSWER_INTERRUPTED, /* `interrupted` was set */
  ANSWER_FAILED       /* a sentence is in the caller's buffer */
};

/* Where text goes that is certain: whole characters. */
typedef struct {
  void (*show)(void *user, const char *text, size_t size);
  void *user;
} answer_sink;

/* Opens a bundle folder; ends the program with a sentence where that fails. */
engine engine_open(const char *bundle, int32_t threads);
void engine_close(engine *open);

/* Tokens of a text as the task of the model has it: a prompt, or a text to embed. NULL where the model has no tokenizer or
 * the text is too long. */
int32_t *engine_tokens(const engine *open, const char *text, int32_t *count);

/* Continues `count` tokens until a stop token or text, max_tokens, the end of the context or an interrupt. */
enum answer_end answer(engine *open, const int32_t *ids, int32_t count, const answer_settings *settings,
                       answer_sink sink, answer_figures *figures, char error[MESSAGE_BYTES]);

/* Set by a signal handler: the answer ends at its next token or piece of the prompt. */
extern volatile int interrupted;

/* Seconds of a clock that only goes forward. */
double now(void);

#endif
