/* bench.h: how fast is the model on this machine, and what would its memory allow? */
#ifndef RUN_BENCH_H
#define RUN_BENCH_H

#include "answer.h"
#include "options.h"

/* Measures as `bench.py` does and prints a short table; exit status. */
int bench(const char *bundle, const options *chosen);

/* The ids that bench.py takes: spread over the vocabulary, without markup and stop tokens. The caller frees them. */
int32_t *bench_tokens(const engine *open, int32_t count);

#endif
