/* edgebit.h: the public C API of a compiled model (libmodel.so in a bundle).
 *
 *     char error[256];
 *     eb_model *model = eb_open("my-bundle", error, sizeof error);
 *     eb_session *session = eb_session_open(model, 0, error, sizeof error);
 *     int32_t count = eb_tokenize(model, text, bytes, EB_ADD_BOS, ids, capacity);
 *     eb_evaluate(session, ids, count);
 *     eb_sampling greedy = {0};
 *     int32_t next = eb_sample(session, &greedy);
 *
 * examples/c/hello.c is a whole program. Compile against this header and link libmodel.so of the bundle, or load it
 * with dlopen(): it needs the libc of the target and nothing else.
 *
 * Lifetimes. A model must outlive its sessions, and libmodel.so its models. The files of the bundle are mapped: they
 * must stay as they are while a model is open (replace a bundle by renaming folders, not by writing into its files).
 * A pointer that a call gives (eb_tier_name, eb_logits, eb_session_error) belongs to the library; how long it is valid
 * stands beside the call, otherwise as long as the model.
 *
 * Threads. A model is read-only: any number of threads may use it at once, text functions included. A session (one
 * conversation: KV cache, position, logits, worker threads) belongs to one thread at a time, not always the same. Two
 * sessions may run at once; they share the weights and compete for the processors. The worker threads of a session
 * wait between calls and take no processor time. After fork() a session works only in the process that opened it.
 *
 * Errors. Calls that can fail give a negative enum eb_error, or NULL; the sentence is in eb_session_error(), or in the
 * `error` buffer where a call takes one (256 bytes are enough; NULL with error_size 0: no sentence). A failed call
 * changes nothing, unless its comment says so. Nothing is ever printed, no signal handler installed, no exit called.
 *
 * Numbers. Sizes are bytes, times nanoseconds, positions and counts tokens. Token ids are 0 to vocab_size - 1. Text is
 * UTF-8; what is not becomes U+FFFD. Logits are the same bits on every tier, with every number of threads and however
 * the tokens are cut into calls.
 *
 * Tasks. A model made for embeddings (eb_model_info.task) answers eb_embed alone: calls that append tokens or sample give
 * EB_ERROR_TASK, as eb_embed does of every other model.
 *
 * Pointers are not NULL and handles are open, where nothing else is said.
 */
#ifndef EDGEBIT_H
#define EDGEBIT_H

#include <stdint.h>

#if defined(__GNUC__)
#define EB_API __attribute__((visibility("default")))
#else
#define EB_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eb_model eb_model;
typedef struct eb_session eb_session;

enum eb_error {
  EB_ERROR_ARGUMENT = -1, /* a null pointer, a negative count, a position that is not there */
  EB_ERROR_TOKEN = -2,    /* a token id outside the vocabulary */
  EB_ERROR_CONTEXT = -3,  /* the tokens do not fit into what is left of the context */
  EB_ERROR_TEXT = -4,     /* a conversation the chat template refuses, no memory for it, or no tokenizer.bin */
  EB_ERROR_PROCESS = -5,  /* the session was opened before a fork(), in another process */
  EB_ERROR_TASK = -6      /* the model is for something else: see eb_model_info.task */
};

/* ---- model ------------------------------------------------------------------------------------------------ */

/* What a model is for, and so which calls it answers. */
enum eb_task {
  EB_TASK_GENERATE, /* tokens behind tokens: eb_evaluate, eb_sample, ... */
  EB_TASK_EMBED,    /* a vector for a text: eb_embed */
  EB_TASK_RUN       /* tensors for tensors: eb_run */
};

typedef struct eb_model_info {
  int32_t vocab_size;
  int32_t hidden_size;
  int32_t num_layers;
  int32_t context;        /* tokens a session can hold */
  int32_t chunk;          /* tokens evaluated together in a prompt */
  int32_t task;           /* enum eb_task */
  uint64_t weights_bytes; /* mapped from weights.bin, shared by all processes */
  uint64_t arena_bytes;   /* activations of one session */
  uint64_t cache_bytes;   /* KV cache of one session when the context is full; grows as it is touched */
  uint64_t scratch_bytes; /* of each thread of a session */
} eb_model_info;

/* Opens the bundle folder: maps weights.bin and tokenizer.bin, checks headers and sizes of both (not every byte: that
 * is what doctor does), picks the kernels for this CPU; the environment variable EDGEBIT_TIER forces a tier, which is
 * an error when the CPU lacks it. Takes milliseconds: weights are read when they are first used. NULL and a sentence
 * in `error` when that fails. */
EB_API eb_model *eb_open(const char *directory, char *error, int32_t error_size);

/* Releases the model. Its sessions must be closed before. NULL is allowed. */
EB_API void eb_close(eb_model *model);

/* Fills in *info. */
EB_API void eb_info(const eb_model *model, eb_model_info *info);

/* Name of the kernel tier in use, as in manifest.json ("avx2", "dotprod", ...). */
EB_API const char *eb_tier_name(const eb_model *model);

/* Version of this API, "major.minor". */
EB_API const char *eb_version(void);

/* ---- session ---------------------------------------------------------------------------------------------- */

/* Opens a conversation at position 0. threads: 1 to 256, the caller's thread included; 0: one for each CPU this process
 * may use (on machines with big and little cores: the big ones). Reserves all memory that the session will ever need:
 * evaluating and sampling allocate nothing. NULL and a sentence in `error` when memory or threads cannot be had. */
EB_API eb_session *eb_session_open(eb_model *model, int32_t threads, char *error, int32_t error_size);

/* Ends the worker threads and releases the session. NULL is allowed. */
EB_API void eb_session_close(eb_session *session);

/* Number of threads the session computes with, the caller's included. */
EB_API int32_t eb_threads(const eb_session *session);

/* Appends n >= 1 tokens and computes what the logits of the last one follow from. Returns 0, or EB_ERROR_ARGUMENT,
 * EB_ERROR_TOKEN, EB_ERROR_CONTEXT or EB_ERROR_PROCESS: then nothing was appended. A long prompt is evaluated in pieces
 * of `chunk` tokens, but the call returns at its end: give it piece by piece (eb_append) to stay responsive. */
EB_API int32_t eb_evaluate(eb_session *session, const int32_t *tokens, int32_t n);

/* Appends n >= 1 tokens without computing logits: for long prompts fed piece by piece. Errors as eb_evaluate. */
EB_API int32_t eb_append(eb_session *session, const int32_t *tokens, int32_t n);

/* Appends n >= 1 tokens and writes the logits of each to logits[n][vocab_size]. Errors as eb_evaluate. */
EB_API int32_t eb_evaluate_all(eb_session *session, const int32_t *tokens, int32_t n, float *logits);

/* Logits of the last token, [vocab_size], valid until the next call; NULL when there are none at this position
 * (nothing evaluated yet, after eb_append, after a rewind). They are computed when they are asked for: eb_sample
 * often needs a few of them only. */
EB_API const float *eb_logits(eb_session *session);

/* Tokens in the context so far. */
EB_API int32_t eb_position(const eb_session *session);

/* Forgets the tokens from `position` (0 <= position <= eb_position) on: a conversation that goes on otherwise keeps
 * what both have in common. Returns 0 or EB_ERROR_ARGUMENT. Costs nothing. */
EB_API int32_t eb_rewind(eb_session *session, int32_t position);

typedef struct eb_sampling {
  float temperature; /* 0: the most likely token (the lowest id among equals) */
  int32_t top_k;     /* 0: all tokens */
  float top_p;       /* nucleus probability; values outside (0, 1) mean all tokens */
  float min_p;       /* 0 to 1: tokens at least so many times as likely as the likeliest; 0 means all tokens */
  uint64_t seed;     /* same seed, same context, same settings: same token on every device */
} eb_sampling;

/* Chooses a token from the logits; does not append it. Returns its id, or EB_ERROR_ARGUMENT where there are no logits
 * at this position, a setting is outside its range, or no logit is a number. */
EB_API int32_t eb_sample(eb_session *session, const eb_sampling *sampling);

/* How tokens were found, since the session was opened. */
typedef struct eb_head_stats {
  uint64_t queries;        /* tokens chosen by screening the vocabulary, fallbacks included */
  uint64_t fallbacks;      /* queries that took all logits after all */
  uint64_t survivors;      /* tokens that screening left, of all other queries */
  uint64_t last_survivors; /* of the last one */
  uint64_t computed_rows;  /* logits computed for all other queries */
  uint64_t full_passes;    /* times all logits of a token were computed, fallbacks included */
  uint64_t refined_rows;   /* tokens that a first, coarser screening left to the one that gives the survivors */
} eb_head_stats;

EB_API void eb_session_head_stats(const eb_session *session, eb_head_stats *stats);

/* Appends `token` and samples, as eb_evaluate and eb_sample would. With `speculate`, guesses of the tokens to come
 * are evaluated in the same pass, and sampling goes on behind those that turn out right: the tokens are the same, and
 * often there are several. Returns how many were written to out[capacity] (capacity >= 1); all but the last are in the
 * context. Errors as eb_evaluate, and as eb_sample: then `token` was appended. */
EB_API int32_t eb_generate(eb_session *session, int32_t token, const eb_sampling *sampling, int32_t speculate,
                           int32_t *out, int32_t capacity);

/* What guessing gained, since the session was opened. */
typedef struct eb_speculation_stats {
  uint64_t passes;   /* calls of eb_generate */
  uint64_t tokens;   /* that they sampled */
  uint64_t drafted;  /* guesses that were evaluated */
  uint64_t accepted; /* of them right */
} eb_speculation_stats;

EB_API void eb_session_speculation_stats(const eb_session *session, eb_speculation_stats *stats);

/* Writes the embedding of a text of n >= 1 tokens (eb_tokenize with EB_ADD_BOS | EB_ADD_EOS) to
 * embedding[hidden_size]: a vector of length 1. The text may be longer than `chunk`, not than the context. Texts do not
 * know of each other: the session is empty before and after. Returns 0, or EB_ERROR_TASK of a model that makes none, or
 * an error as eb_evaluate does. */
EB_API int32_t eb_embed(eb_session *session, const int32_t *tokens, int32_t n, float *embedding);

/* ---- graphs of tensors ------------------------------------------------------------------------------------ */

enum eb_dtype { EB_FLOAT32, EB_INT8, EB_UINT8, EB_INT16, EB_INT32, EB_UINT32, EB_INT64, EB_BOOL /* a byte, 0 or 1 */ };

enum { EB_MOST_DIMENSIONS = 8 };

typedef struct eb_tensor_info {
  const char *name; /* as in the ONNX file */
  int32_t dtype;    /* enum eb_dtype */
  int32_t rank;     /* 0: one value */
  int64_t shape[EB_MOST_DIMENSIONS]; /* the last dimension is dense in memory */
  uint64_t bytes;
} eb_tensor_info;

/* Number of inputs and of outputs; 0 of a model whose task is another. */
EB_API int32_t eb_input_count(const eb_model *model);
EB_API int32_t eb_output_count(const eb_model *model);

/* Fills in what is known of an input or output, in the order of the ONNX file. Returns 0, or EB_ERROR_ARGUMENT where
 * there is none of that index. */
EB_API int32_t eb_input_info(const eb_model *model, int32_t index, eb_tensor_info *info);
EB_API int32_t eb_output_info(const eb_model *model, int32_t index, eb_tensor_info *info);

/* Computes the outputs of the graph: inputs[i] and outputs[i] point to the `bytes` of input and output i, dense and in
 * any alignment. Outputs are the same bits on every tier and with every number of threads. Returns 0, or EB_ERROR_TASK,
 * EB_ERROR_ARGUMENT where a pointer is NULL, or EB_ERROR_PROCESS: then nothing was computed. */
EB_API int32_t eb_run(eb_session *session, const void *const *inputs, void *const *outputs);

/* ---- errors of a session ---------------------------------------------------------------------------------- */

/* The sentence that belongs to the last negative code of this session; "" when there was none. Valid until the next
 * call with the session. */
EB_API const char *eb_session_error(const eb_session *session);

/* ---- text ------------------------------------------------------------------------------------------------- */

enum eb_tokenize_flags {
  EB_ADD_BOS = 1,      /* begin with the beginning-of-sequence token, where the model has one */
  EB_PARSE_SPECIAL = 2, /* read "<|eot_id|>" and the like as special tokens, not as text */
  EB_ADD_EOS = 4 /* end with the token that the model's tokenizer puts behind a text, where it puts one */
};

/* Token ids of `bytes` bytes of UTF-8. Returns the count needed (may be more than `capacity`; ids beyond it are not
 * written; ids may be NULL when capacity is 0), or EB_ERROR_TEXT or EB_ERROR_ARGUMENT. */
EB_API int32_t eb_tokenize(const eb_model *model, const char *utf8, int32_t bytes, int32_t flags, int32_t *ids,
                           int32_t capacity);

/* Bytes of one token: not always whole characters (a program that shows text waits for the rest), none for padding ids.
 * Returns the count needed, or EB_ERROR_TEXT, or EB_ERROR_ARGUMENT (for an id outside the vocabulary too). */
EB_API int32_t eb_token_bytes(const eb_model *model, int32_t id, char *out, int32_t capacity);

/* The same for the token that a text begins with: without the space that some tokenizers put in front of a text. An
 * answer that continues text, and does not begin one, needs it not. */
EB_API int32_t eb_first_token_bytes(const eb_model *model, int32_t id, char *out, int32_t capacity);

/* 1 when the token ends an answer, otherwise 0. */
EB_API int32_t eb_is_stop(const eb_model *model, int32_t id);

/* 1 when the token is markup ("<|eot_id|>") and not text, otherwise 0. */
EB_API int32_t eb_is_special(const eb_model *model, int32_t id);

/* Token ids of a conversation in the model's chat format; roles are "system", "user", "assistant". Returns the count
 * needed, or a negative code and a sentence in `error`. */
EB_API int32_t eb_chat_tokens(const eb_model *model, const char *const *roles, const char *const *contents,
                              int32_t messages, int32_t add_generation_prompt, int32_t *ids, int32_t capacity,
                              char *error, int32_t error_size);

/* ---- looking inside: tests and profiling ------------------------------------------------------------------ */

enum eb_phase { EB_DECODE, EB_PREFILL, EB_HEAD, EB_RUN };

typedef void (*eb_trace_function)(void *user, int32_t phase, int32_t step);

/* Calls `function` after every step of the plan, on the caller's thread, while all other threads wait. NULL: off. */
EB_API void eb_trace(eb_session *session, eb_trace_function function, void *user);

typedef struct eb_step_time {
  uint64_t calls;
  uint64_t nanoseconds; /* of all calls, the wait for the slowest thread included */
} eb_step_time;

/* Times every step from now on, from zero (on = 1), or stops (on = 0; the times stay). Takes the place of eb_trace. */
EB_API void eb_profile(eb_session *session, int32_t on);

/* Times of the steps of an enum eb_phase in plan order; behind those of EB_HEAD stand parts that are no steps of the
 * plan. Returns the count there is (may be more than `capacity`; those beyond it are not written), or a negative code. */
EB_API int32_t eb_profile_times(const eb_session *session, int32_t phase, eb_step_time *times, int32_t capacity);

/* Nanoseconds that all threads of the session take to read bytes [offset, offset + bytes) of weights.bin `times` times,
 * each thread its own part, with wide loads: the speed of the memory that decoding lives on. Or a negative code. */
EB_API int64_t eb_read_weights(eb_session *session, uint64_t offset, uint64_t bytes, int32_t times);

/* The same with `bytes` of new memory, on large pages where the system gives them. */
EB_API int64_t eb_read_memory(eb_session *session, uint64_t bytes, int32_t times);

/* First byte of a memory space of plan.h (EB_SCRATCH: the first thread's block); NULL for an unknown space. */
EB_API void *eb_space_base(eb_session *session, int32_t space);

#ifdef __cplusplus
}
#endif

#endif
