#include "bench_call.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "bytes.h"
#include "fail.h"
#include "figures.h"
#include "system.h"
#include "tensors.h"

enum { LONGEST_TEXT = 128 };              /* tokens, where nothing else is asked for */
static const double LEAST_SECONDS = 0.02; /* of a repetition: as many calls as fill it */

/* What is called: a graph with inputs of a seed, or the embedding of a text of `tokens` tokens. */
typedef struct {
  const engine *open;
  int32_t tokens, *ids; /* 0 and NULL of a graph */
  float *embedding;
  tensors values;
} call;

static void check_options(const engine *open, const options *chosen) {
  int is_graph = open->info.task == EB_TASK_RUN;
  if (chosen->decode) fail("--decode %d: this model does not answer, there is nothing to decode", (int)chosen->decode);
  if (chosen->prefill && is_graph)
    fail("--prefill %d: this model computes tensors from tensors, there is nothing to prefill", (int)chosen->prefill);
  if (chosen->prefill > open->info.context)
    fail("--prefill %d: the context holds %d: ask for less, or compile the model with a longer context",
         (int)chosen->prefill, (int)open->info.context);
}

static call prepare(const engine *open, const options *chosen) {
  call one = {.open = open};
  if (open->info.task == EB_TASK_RUN) {
    one.values = tensors_open(open);
    tensors_fill(&one.values, 0);
    return one;
  }
  int32_t usual = open->info.context < LONGEST_TEXT ? open->info.context : LONGEST_TEXT;
  one.tokens = chosen->prefill ? chosen->prefill : usual;
  one.ids = bench_tokens(open, one.tokens);
  one.embedding = grown(NULL, (size_t)open->info.hidden_size, sizeof *one.embedding);
  return one;
}

static void finish(call *one) {
  if (one->tokens) {
    free(one->ids);
    free(one->embedding);
  } else {
    tensors_close(&one->values);
  }
}

/* Seconds of so many calls, one behind the other. */
static double seconds_of(const call *one, int32_t count) {
  double start = now();
  while (count--) {
    eb_session *session = one->open->session;
    int32_t failed = one->tokens ? eb_embed(session, one->ids, one->tokens, one->embedding)
                                 : tensors_run(one->open, &one->values);
    if (failed) fail("%s", eb_session_error(session));
  }
  return now() - start;
}

int bench_calls(const engine *open, const options *chosen, double load_seconds) {
  check_options(open, chosen);
  call one = prepare(open, chosen);
  seconds_of(&one, 1);
  int32_t calls = (int32_t)fmax(1, round(LEAST_SECONDS / fmax(seconds_of(&one, 1), 1e-6)));
  series times = {0};
  for (int32_t i = 0; i < chosen->repeat; i++) series_add(&times, seconds_of(&one, calls) / calls);
  char what[40] = "run", cpu[120];
  if (one.tokens) snprintf(what, sizeof what, "embed, %d tokens", (int)one.tokens);
  double median = series_median(&times);
  printf("%-20s  %10s  %10s  %8s  %8s%s\n", "", "ms", "mean", "std", "calls/s", one.tokens ? "  tokens/s" : "");
  printf("%-20s  %10.3f  %10.3f  %8.3f  %8.1f", what, 1e3 * median, 1e3 * series_mean(&times),
         1e3 * series_std(&times), 1 / median);
  if (one.tokens) printf("  %8.1f", one.tokens / median);
  printf("\n\n%-20s  %d times %d calls, one behind the other\n", "measured", (int)chosen->repeat, (int)calls);
  printf("%-20s  %.1f ms\n", "load", load_seconds * 1e3);
  system_cpu_name(cpu, sizeof cpu);
  printf("%-20s  %s, %d usable; %s, %d thread%s\n", "CPU", cpu, system_cpu_count(), eb_tier_name(open->model),
         (int)eb_threads(open->session), eb_threads(open->session) > 1 ? "s" : "");
  free(times.values);
  finish(&one);
  return EXIT_FINE;
}
