/* profile.h: how long each step of a plan takes, added up without leaving the library. */
#ifndef EB_PROFILE_H
#define EB_PROFILE_H

#include "edgebit.h"
#include "memory.h"
#include "plan.h"

enum { EB_PHASES = EB_RUN + 1 };

typedef struct eb_profiler {
  eb_mapping memory; /* costs nothing until the first step is timed */
  eb_step_time *times[EB_PHASES]; /* [steps] of each phase */
  int32_t steps[EB_PHASES];
  uint64_t last; /* when the step before ended; eb_team_stamp: when the pass began */
} eb_profiler;

/* Room for every step of the plan. Gives 0 when there is no memory. */
int eb_profiler_open(eb_profiler *profiler, const eb_plan *plan);
void eb_profiler_close(eb_profiler *profiler);

/* Begins at zero. */
void eb_profiler_reset(eb_profiler *profiler);

/* Copies the times of a phase: at most `capacity`. Returns the count there is. */
int32_t eb_profiler_read(const eb_profiler *profiler, int32_t phase, eb_step_time *times, int32_t capacity);

/* The trace that adds up the times; `user` is the eb_profiler. */
void eb_profiler_note(void *user, int32_t phase, int32_t step);

#endif
