/* bench_call.h: how long a call takes of a model that embeds texts or runs tensors. */
#ifndef RUN_BENCH_CALL_H
#define RUN_BENCH_CALL_H

#include "answer.h"
#include "options.h"

/* Measures as `bench.py` does and prints a short table; exit status. */
int bench_calls(const engine *open, const options *chosen, double load_seconds);

#endif
