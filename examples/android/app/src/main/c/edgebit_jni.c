/* edgebit_jni.c: edgebit.h for Native.kt. A handle is a conversation: a model, a session, what its KV cache holds. */
#include <edgebit.h>
#include <jni.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

enum { MESSAGE_BYTES = 512, AT_ONCE = 8, LARGEST_TOKEN = 1024 };

typedef struct {
  eb_model *model;
  eb_session *session;
  eb_model_info info;
  int32_t *held; /* [context]: tokens in the KV cache; eb_position says how many of them count */
  int32_t held_count;
  atomic_bool stopped;
} conversation;

static void throw(JNIEnv *env, const char *sentence) {
  jclass kind = (*env)->FindClass(env, "java/lang/IllegalStateException");
  if (kind) (*env)->ThrowNew(env, kind, sentence);
}

static conversation *of(jlong handle) { return (conversation *)(intptr_t)handle; }

/* ---- texts ------------------------------------------------------------------------------------------------ */

/* A copy with a zero behind it, or NULL. */
static char *text_of(JNIEnv *env, jbyteArray bytes) {
  jsize size = (*env)->GetArrayLength(env, bytes);
  char *text = malloc((size_t)size + 1);
  if (!text) return NULL;
  (*env)->GetByteArrayRegion(env, bytes, 0, size, (jbyte *)text);
  text[size] = 0;
  return text;
}

static void free_texts(char **texts, jsize count) {
  for (jsize i = 0; texts && i < count; i++) free(texts[i]);
  free(texts);
}

/* Copies of all, or NULL. */
static char **texts_of(JNIEnv *env, jobjectArray array, jsize count) {
  char **texts = calloc((size_t)count + 1, sizeof *texts);
  for (jsize i = 0; texts && i < count; i++) {
    jbyteArray bytes = (jbyteArray)(*env)->GetObjectArrayElement(env, array, i);
    texts[i] = text_of(env, bytes);
    (*env)->DeleteLocalRef(env, bytes);
    if (texts[i]) continue;
    free_texts(texts, i);
    return NULL;
  }
  return texts;
}

/* ---- opening and closing ---------------------------------------------------------------------------------- */

static void release(conversation *c) {
  eb_session_close(c->session);
  eb_close(c->model);
  free(c->held);
  free(c);
}

/* NULL and a sentence where something is missing. */
static conversation *open_folder(const char *folder, int32_t threads, char *error) {
  conversation *c = calloc(1, sizeof *c);
  snprintf(error, MESSAGE_BYTES, "no memory to open the model");
  if (!c || !folder) {
    free(c);
    return NULL;
  }
  c->model = eb_open(folder, error, MESSAGE_BYTES);
  if (c->model) c->session = eb_session_open(c->model, threads, error, MESSAGE_BYTES);
  if (c->session) {
    eb_info(c->model, &c->info);
    c->held = malloc((size_t)c->info.context * sizeof *c->held);
  }
  if (c->held) return c;
  release(c);
  return NULL;
}

JNIEXPORT jlong JNICALL Java_ai_edgebit_example_Native_open(JNIEnv *env, jclass class, jbyteArray folder, jint threads) {
  char error[MESSAGE_BYTES];
  char *path = text_of(env, folder);
  (void)class;
  conversation *c = open_folder(path, threads, error);
  free(path);
  if (!c) throw(env, error);
  return (jlong)(intptr_t)c;
}

JNIEXPORT void JNICALL Java_ai_edgebit_example_Native_close(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  release(of(handle));
}

JNIEXPORT jstring JNICALL Java_ai_edgebit_example_Native_tier(JNIEnv *env, jclass class, jlong handle) {
  (void)class;
  return (*env)->NewStringUTF(env, eb_tier_name(of(handle)->model)); /* ASCII */
}

JNIEXPORT jint JNICALL Java_ai_edgebit_example_Native_threads(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  return eb_threads(of(handle)->session);
}

JNIEXPORT jint JNICALL Java_ai_edgebit_example_Native_context(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  return of(handle)->info.context;
}

JNIEXPORT void JNICALL Java_ai_edgebit_example_Native_stop(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  atomic_store(&of(handle)->stopped, 1);
}

/* ---- the prompt ------------------------------------------------------------------------------------------- */

static void hold(conversation *c, const int32_t *ids, int32_t count) {
  memcpy(c->held + c->held_count, ids, (size_t)count * sizeof *ids);
  c->held_count += count;
}

/* Keeps what the prompt shares with the KV cache, but one token at least: logits come from an evaluation. */
static int32_t reuse(conversation *c, const int32_t *ids, int32_t count) {
  int32_t held = eb_position(c->session), common = 0;
  if (held > c->held_count) held = c->held_count;
  while (common < held && common < count - 1 && c->held[common] == ids[common]) common++;
  eb_rewind(c->session, common);
  c->held_count = common;
  return common;
}

/* Evaluates a prompt piece by piece; 0 or the code of an error. */
static int32_t feed(conversation *c, const int32_t *ids, int32_t count) {
  for (int32_t done = reuse(c, ids, count), size; done < count && !atomic_load(&c->stopped); done += size) {
    size = count - done < c->info.chunk ? count - done : c->info.chunk;
    int32_t failed = done + size < count ? eb_append(c->session, ids + done, size)
                                         : eb_evaluate(c->session, ids + done, size);
    if (failed) return failed;
    hold(c, ids + done, size);
  }
  return 0;
}

/* ---- the answer ------------------------------------------------------------------------------------------- */

typedef struct {
  JNIEnv *env;
  jobject sink;
  jmethodID on_text;
  char bytes[LARGEST_TOKEN + 4]; /* the beginning of a character, and a token */
  size_t size;
} output;

/* Hands whole characters over (`all`: the rest too); 0 where the sink has thrown. */
static int show(output *out, int all) {
  JNIEnv *env = out->env;
  size_t whole = all ? out->size : utf8_whole(out->bytes, out->size);
  if (!whole) return 1;
  jbyteArray text = (*env)->NewByteArray(env, (jsize)whole);
  if (!text) return 0;
  (*env)->SetByteArrayRegion(env, text, 0, (jsize)whole, (const jbyte *)out->bytes);
  (*env)->CallVoidMethod(env, out->sink, out->on_text, text);
  (*env)->DeleteLocalRef(env, text);
  memmove(out->bytes, out->bytes + whole, out->size - whole);
  out->size -= whole;
  return !(*env)->ExceptionCheck(env);
}

static int show_token(const conversation *c, output *out, int32_t token) {
  if (eb_is_special(c->model, token)) return 1;
  int32_t size = eb_token_bytes(c->model, token, out->bytes + out->size, LARGEST_TOKEN);
  if (size < 0 || size > LARGEST_TOKEN) return 1;
  out->size += (size_t)size;
  return show(out, 0);
}

/* Shows tokens until the answer is done, stopped, or at its limit; 0 or the code of an error. */
static int32_t generate(conversation *c, output *out, const eb_sampling *sampling, int32_t left) {
  int32_t tokens[AT_ONCE], count = 1;
  tokens[0] = eb_sample(c->session, sampling);
  if (tokens[0] < 0) return tokens[0];
  for (;;) {
    for (int32_t i = 0; i < count; i++) {
      if (eb_is_stop(c->model, tokens[i]) || !show_token(c, out, tokens[i]) || --left == 0) return 0;
    }
    if (atomic_load(&c->stopped)) return 0;
    int32_t last = tokens[count - 1];
    count = eb_generate(c->session, last, sampling, 1, tokens, left > 0 && left < AT_ONCE ? left : AT_ONCE);
    if (count < 0) return count;
    hold(c, &last, 1);
    hold(c, tokens, count - 1);
  }
}

/* Token ids of the conversation; NULL and a sentence where the chat template refuses it. */
static int32_t *chat_tokens(conversation *c, char **roles, char **contents, int32_t messages, int32_t *count,
                            char *error) {
  const char *const *names = (const char *const *)roles, *const *texts = (const char *const *)contents;
  *count = eb_chat_tokens(c->model, names, texts, messages, 1, NULL, 0, error, MESSAGE_BYTES);
  if (*count <= 0) return NULL;
  int32_t *ids = malloc((size_t)*count * sizeof *ids);
  if (ids) eb_chat_tokens(c->model, names, texts, messages, 1, ids, *count, error, MESSAGE_BYTES);
  return ids;
}

/* Answers token ids; what goes wrong is thrown. */
static void answer_tokens(conversation *c, output *out, const int32_t *ids, int32_t count, const eb_sampling *sampling,
                          int32_t most) {
  char error[MESSAGE_BYTES];
  if (count > c->info.context) {
    snprintf(error, sizeof error, "the conversation has %d tokens, the context holds %d: begin anew", (int)count,
             (int)c->info.context);
    throw(out->env, error);
    return;
  }
  int32_t failed = feed(c, ids, count);
  if (!failed && !atomic_load(&c->stopped)) failed = generate(c, out, sampling, most);
  if (!(*out->env)->ExceptionCheck(out->env)) show(out, 1);
  if (failed && !(*out->env)->ExceptionCheck(out->env)) throw(out->env, eb_session_error(c->session));
}

JNIEXPORT void JNICALL Java_ai_edgebit_example_Native_answer(JNIEnv *env, jclass class, jlong handle, jobjectArray roles,
                                                             jobjectArray contents, jint max_tokens, jfloat temperature,
                                                             jint top_k, jfloat top_p, jfloat min_p, jlong seed,
                                                             jobject sink) {
  conversation *c = of(handle);
  const eb_sampling sampling = {temperature, top_k, top_p, min_p, (uint64_t)seed};
  char error[MESSAGE_BYTES] = "no memory for the conversation";
  output out = {.env = env, .sink = sink};
  (void)class;
  out.on_text = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, sink), "onText", "([B)V");
  if (!out.on_text) return; /* thrown */
  jsize count = (*env)->GetArrayLength(env, roles);
  char **names = texts_of(env, roles, count), **texts = texts_of(env, contents, count);
  int32_t tokens = 0;
  int32_t *ids = names && texts ? chat_tokens(c, names, texts, count, &tokens, error) : NULL;
  atomic_store(&c->stopped, 0);
  if (ids)
    answer_tokens(c, &out, ids, tokens, &sampling, max_tokens);
  else
    throw(env, error);
  free(ids);
  free_texts(names, count);
  free_texts(texts, count);
}
