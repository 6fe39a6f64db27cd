/* A C program over libmodel.so, as a user of edgebit.h writes it: prints the answer to one message. */
#include <edgebit.h>
#include <stdio.h>

int main(int count, char **arguments) {
  char error[256];
  eb_model *model = count == 3 ? eb_open(arguments[1], error, sizeof error) : NULL;
  if (!model) return fprintf(stderr, "%s\n", error), 1;
  eb_session *session = eb_session_open(model, 0, error, sizeof error);
  if (!session) return fprintf(stderr, "%s\n", error), 1;

  const char *roles[] = {"user"}, *contents[] = {arguments[2]};
  int32_t ids[64];
  int32_t n = eb_chat_tokens(model, roles, contents, 1, 1, ids, 64, error, sizeof error);
  if (n < 0 || n > 64) return fprintf(stderr, "%s\n", n < 0 ? error : "the message is too long"), 1;

  eb_sampling greedy = {0};
  int32_t failed = eb_evaluate(session, ids, n);
  while (!failed) {
    char bytes[64];
    int32_t token = eb_sample(session, &greedy);
    if (token < 0 || eb_is_stop(model, token)) break;
    int32_t length = eb_token_bytes(model, token, bytes, sizeof bytes);
    if (length > 0 && length <= (int32_t)sizeof bytes) fwrite(bytes, 1, (size_t)length, stdout);
    failed = eb_evaluate(session, &token, 1);
  }
  if (failed) fprintf(stderr, "%s\n", eb_session_error(session));
  eb_session_close(session);
  eb_close(model);
  return failed ? 1 : 0;
}
