/* execute.h: checking a plan and walking its steps. */
#ifndef EB_EXECUTE_H
#define EB_EXECUTE_H

#include "edgebit.h"
#include "plan.h"
#include "threads.h"

#include <stddef.h>

/* Everything one walk over steps needs; filled by the session. */
typedef struct eb_execution {
  const eb_kernel *kernels;
  uint8_t *base[EB_SPACES]; /* base[EB_SCRATCH] is the first thread's block */
  uint64_t scratch_stride;  /* from one thread's scratch to the next */
  eb_trace_function trace;
  void *trace_user;
} eb_execution;

static inline enum eb_task eb_task_of(const eb_plan *plan) {
  if (plan->run) return EB_TASK_RUN;
  return plan->pooling.kind == EB_POOL_NONE ? EB_TASK_GENERATE : EB_TASK_EMBED;
}

/* One list of steps over the tokens of a pass. */
typedef struct eb_walk {
  int32_t phase; /* enum eb_phase, for the trace */
  const eb_step *steps;
  uint32_t step_count;
  int32_t token_count;
  int32_t position; /* absolute, of the first token */
  int32_t row;
} eb_walk;

/* Size of a memory space in bytes (of one thread for EB_SCRATCH); 0 for an unknown one. */
uint64_t eb_space_bytes(const eb_plan *plan, uint32_t space);

/* Checks that the plan can be walked: format, sizes, kernels, and that no step starts outside its buffers.
 * Gives 0 and a sentence when not. */
int eb_check_plan(const eb_plan *plan, char *error, int32_t error_size);

/* Checks the size of the one section of the lm_head that only the weights know: its escapes. */
int eb_check_head_weights(const eb_plan *plan, const uint8_t *weights, uint64_t bytes);

/* The part of thread `thread` of `threads`: units begin..end-1, whole grains but for the last. */
typedef struct eb_range {
  uint32_t begin, end;
} eb_range;

eb_range eb_partition(uint32_t units, uint32_t grain, int32_t thread, int32_t threads);

/* Ends a step with a barrier; where one is set, thread 0 then calls the trace while all others wait. Behind its last
 * barrier `execution` is no longer read. */
void eb_trace_step(const eb_execution *execution, int32_t phase, int32_t step, eb_team *team, int32_t thread);

/* Walks the steps as one thread of the team; every other thread must do the same. Ends with a barrier, behind which
 * `execution` is no longer read. */
void eb_execute(const eb_execution *execution, eb_walk walk, eb_team *team, int32_t thread);

#endif
