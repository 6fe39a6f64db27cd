#include "profile.h"

#include "port.h"

/* Behind the head steps of the plan the runtime traces parts of its own: screening, rescoring, logits. */
enum { HEAD_PARTS = 13 };

int eb_profiler_open(eb_profiler *profiler, const eb_plan *plan) {
  const int32_t steps[EB_PHASES] = {(int32_t)plan->decode_steps, (int32_t)plan->prefill_steps,
                                    (int32_t)plan->head_steps + HEAD_PARTS, (int32_t)plan->run_steps};
  uint64_t total = 0;
  for (int i = 0; i < EB_PHASES; i++) total += (uint64_t)steps[i];
  if (!eb_map_zeroed(total * sizeof(eb_step_time), &profiler->memory)) return 0;
  eb_step_time *next = (eb_step_time *)(void *)profiler->memory.data;
  for (int i = 0; i < EB_PHASES; i++) {
    profiler->times[i] = next;
    profiler->steps[i] = steps[i];
    next += steps[i];
  }
  return 1;
}

void eb_profiler_close(eb_profiler *profiler) { eb_unmap(&profiler->memory); }

void eb_profiler_reset(eb_profiler *profiler) {
  memset(profiler->memory.data, 0, (size_t)profiler->memory.bytes);
}

int32_t eb_profiler_read(const eb_profiler *profiler, int32_t phase, eb_step_time *times, int32_t capacity) {
  int32_t count = profiler->steps[phase];
  for (int32_t i = 0; i < count && i < capacity; i++) times[i] = profiler->times[phase][i];
  return count;
}

void eb_profiler_note(void *user, int32_t phase, int32_t step) {
  eb_profiler *profiler = user;
  uint64_t now = eb_nanoseconds();
  if (step < profiler->steps[phase]) {
    eb_step_time *time = &profiler->times[phase][step];
    time->calls++;
    time->nanoseconds += now - profiler->last;
  }
  profiler->last = now;
}
