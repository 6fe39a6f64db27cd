/* program.c BUNDLE PROMPT DECODED: evaluates PROMPT tokens together and DECODED more one by one, with one thread.
 *
 * After every step of the plan it executes "hint #96", at which counter.c reports, and notes (phase, step). Written out
 * at the end, a line for each mark; -1 for the phase: what ended is step 0 the start, 1 a sampling, 2 an evaluation.
 */
#include "edgebit.h"

#include <stdio.h>
#include <stdlib.h>

enum { BOUNDARY = -1, STARTED = 0, SAMPLED = 1, EVALUATED = 2, MOST_MARKS = 1 << 16 };

static int32_t marks[MOST_MARKS][2];
static int32_t count;

static void mark(void *user, int32_t phase, int32_t step) {
  (void)user;
  if (count == MOST_MARKS) exit(3);
  marks[count][0] = phase;
  marks[count++][1] = step;
  __asm__ volatile("hint #96" ::: "memory");
}

static void fail(const char *reason) {
  fprintf(stderr, "%s\n", reason);
  exit(1);
}

int main(int argument_count, char **arguments) {
  char error[256] = "program BUNDLE PROMPT DECODED";
  if (argument_count != 4) fail(error);
  int32_t prompt = atoi(arguments[2]), decoded = atoi(arguments[3]);
  eb_model *model = eb_open(arguments[1], error, sizeof error);
  if (!model) fail(error);
  eb_session *session = eb_session_open(model, 1, error, sizeof error);
  if (!session) fail(error);
  eb_model_info info;
  eb_info(model, &info);
  int32_t *tokens = malloc((size_t)prompt * sizeof *tokens);
  if (!tokens) fail("no memory");
  for (int32_t i = 0; i < prompt; i++) tokens[i] = i * 37 % info.vocab_size;

  eb_trace(session, mark, NULL);
  mark(NULL, BOUNDARY, STARTED);
  if (eb_evaluate(session, tokens, prompt)) fail(eb_session_error(session));
  mark(NULL, BOUNDARY, EVALUATED);
  for (int32_t i = 0; i < decoded; i++) {
    eb_sampling greedy = {0};
    int32_t token = eb_sample(session, &greedy);
    mark(NULL, BOUNDARY, SAMPLED);
    if (eb_evaluate(session, &token, 1)) fail(eb_session_error(session));
    mark(NULL, BOUNDARY, EVALUATED);
  }
  printf("%s\n", eb_tier_name(model));
  for (int32_t i = 0; i < count; i++) printf("%d %d\n", (int)marks[i][0], (int)marks[i][1]);
  return 0;
}
