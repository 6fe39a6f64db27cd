/* cpu.h: what this CPU can do, which kernel tier fits it, how many threads to use. */
#ifndef EB_CPU_H
#define EB_CPU_H

#include "plan.h"

/* enum eb_feature bits that the CPU has and the operating system has switched on. */
uint64_t eb_cpu_features(void);

/* The best tier of the plan for `features`, or the one called `forced` (NULL or "": no wish). NULL and a sentence
 * naming the tiers there are when none fits. */
const eb_tier *eb_choose_tier(const eb_plan *plan, uint64_t features, const char *forced, char *error,
                              int32_t error_size);

/* Threads to compute with: the CPUs this process may run on, without those too slow to be worth waiting for. */
int32_t eb_default_threads(void);

#endif
