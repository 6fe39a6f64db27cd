/* hello.c: one answer of an edgebit bundle, from C.
 *
 *     hello BUNDLE "turn on the kitchen light"
 *
 * Copy it, edgebit.h and libmodel.so (both from the bundle) into your project; the Makefile shows the commands. */
#include <edgebit.h>
#include <stdio.h>
#include <stdlib.h>

enum { LONGEST_MESSAGE = 1024, AT_ONCE = 8 };

/* The token's bytes may end inside a character: a terminal waits for the rest, a text widget must do so itself
 * (examples/android/app/src/main/c/utf8.h). */
static void print_token(const eb_model *model, int32_t token) {
  char bytes[256];
  int32_t size = eb_token_bytes(model, token, bytes, sizeof bytes);
  if (size > 0 && size <= (int32_t)sizeof bytes && !eb_is_special(model, token)) fwrite(bytes, 1, (size_t)size, stdout);
  fflush(stdout);
}

/* Prints tokens until the model is done; 0, or the code of an error. */
static int32_t print_answer(const eb_model *model, eb_session *session) {
  const eb_sampling greedy = {0}; /* or {.temperature = 0.7f, .top_k = 40, .seed = 1} */
  int32_t tokens[AT_ONCE], count = 1;
  tokens[0] = eb_sample(session, &greedy);
  if (tokens[0] < 0) return tokens[0];
  for (;;) {
    for (int32_t i = 0; i < count; i++) {
      if (eb_is_stop(model, tokens[i])) return 0;
      print_token(model, tokens[i]);
    }
    count = eb_generate(session, tokens[count - 1], &greedy, 1, tokens, AT_ONCE);
    if (count < 0) return count; /* EB_ERROR_CONTEXT: the context is full */
  }
}

/* The answer to one message; more messages with their answers in between make a conversation. */
static int32_t answer(const eb_model *model, eb_session *session, const char *message, char *error, int32_t error_size) {
  const char *roles[] = {"user"}, *contents[] = {message};
  int32_t ids[LONGEST_MESSAGE];
  int32_t count = eb_chat_tokens(model, roles, contents, 1, 1, ids, LONGEST_MESSAGE, error, error_size);
  if (count < 0) return count;
  if (count > LONGEST_MESSAGE) {
    snprintf(error, (size_t)error_size, "the message has %d tokens, this program takes %d", (int)count, LONGEST_MESSAGE);
    return EB_ERROR_ARGUMENT;
  }
  int32_t failed = eb_evaluate(session, ids, count);
  if (!failed) failed = print_answer(model, session);
  putchar('\n');
  if (failed) snprintf(error, (size_t)error_size, "%s", eb_session_error(session));
  return failed;
}

int main(int count, char **arguments) {
  char error[256] = "";
  if (count != 3) {
    fprintf(stderr, "usage: hello BUNDLE MESSAGE\n");
    return 2;
  }
  eb_model *model = eb_open(arguments[1], error, sizeof error);
  eb_session *session = model ? eb_session_open(model, 0, error, sizeof error) : NULL;
  int32_t failed = session ? answer(model, session, arguments[2], error, sizeof error) : EB_ERROR_ARGUMENT;
  if (failed) fprintf(stderr, "hello: %s\n", error);
  eb_session_close(session);
  eb_close(model);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
