/* bench.h: how fast is the model on this machine, and what would its memory allow? */
#ifndef RUN_BENCH_H
#define RUN_BENCH_H

#include "options.h"

/* Measures as `bench.py` does and prints a short table; exit status. */
int bench(const char *bundle, const options *chosen);

#endif
