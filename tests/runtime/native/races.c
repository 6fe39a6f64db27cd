/* A program for ThreadSanitizer: exit 0 when all answers are right (a race makes it exit 66). */
#include "edgebit.h"

#include <stddef.h>

int32_t eb_probe_barriers(int32_t threads, int32_t steps, int32_t jobs);

static int evaluate_twice(const char *directory, int32_t threads) {
  enum { LENGTH = 20 };
  int32_t tokens[LENGTH];
  for (int32_t i = 0; i < LENGTH; i++) tokens[i] = i * 37 % 64;
  eb_model *model = eb_open(directory, NULL, 0);
  eb_session *session = eb_session_open(model, threads, NULL, 0);
  int wrong = eb_evaluate(session, tokens, LENGTH);
  float whole = eb_logits(session)[5];
  wrong |= eb_rewind(session, 0);
  for (int32_t i = 0; i < LENGTH; i++) wrong |= eb_evaluate(session, &tokens[i], 1);
  wrong |= eb_logits(session)[5] != whole;
  eb_session_close(session);
  eb_close(model);
  return wrong;
}

int main(int count, char **arguments) {
  for (int32_t threads = 1; threads <= 4; threads++)
    if (count < 2 || eb_probe_barriers(threads, 50, 20) || evaluate_twice(arguments[1], threads)) return 1;
  return 0;
}
