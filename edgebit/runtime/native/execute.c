#include "execute.h"

eb_range eb_partition(uint32_t units, uint32_t grain, int32_t thread, int32_t threads) {
  uint64_t grains = ((uint64_t)units + grain - 1) / grain;
  uint64_t begin = grains * (uint64_t)thread / (uint64_t)threads * grain;
  uint64_t end = grains * ((uint64_t)thread + 1) / (uint64_t)threads * grain;
  return (eb_range){(uint32_t)(begin < units ? begin : units), (uint32_t)(end < units ? end : units)};
}

static int32_t rounds(int32_t count, int32_t size) { return (count + size - 1) / size; }

static int32_t value_of(eb_scalar scalar, const eb_walk *walk, eb_range range) {
  switch (scalar.kind) {
    case EB_COUNT: return (int32_t)(range.end - range.begin);
    case EB_BEGIN: return (int32_t)range.begin;
    case EB_TOKEN_COUNT: return walk->token_count;
    case EB_POSITION: return walk->position;
    case EB_KEY_CHUNKS: return scalar.value * rounds(walk->position + walk->token_count, EB_KEY_CHUNK);
    case EB_QUERY_TILES: return scalar.value * rounds(walk->token_count, EB_QUERY_TILE);
    default: return scalar.value;
  }
}

static void *address_of(const eb_argument *argument, uint8_t *const *base, uint32_t begin, int32_t row) {
  if (argument->space == EB_NONE) return NULL;
  return base[argument->space] + argument->offset + (uint64_t)begin * argument->unit_stride +
         (uint64_t)row * argument->row_stride;
}

static void run_step(const eb_execution *execution, const eb_step *step, const eb_walk *walk, uint8_t *const *base,
                     eb_range range) {
  void *b[EB_BUFFERS];
  int32_t s[EB_SCALARS];
  for (int i = 0; i < EB_BUFFERS; i++) b[i] = address_of(&step->buffers[i], base, range.begin, walk->row);
  for (int i = 0; i < EB_SCALARS; i++) s[i] = value_of(step->scalars[i], walk, range);
  execution->kernels[step->kernel](b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                                   s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
}

void eb_trace_step(const eb_execution *execution, int32_t phase, int32_t step, eb_team *team, int32_t thread) {
  /* Behind the last barrier the caller may change everything: what is needed there is copied before. */
  const eb_trace_function trace = execution->trace;
  void *user = execution->trace_user;
  eb_team_barrier(team, thread);
  if (!trace) return;
  if (thread == 0) trace(user, phase, step);
  eb_team_barrier(team, thread);
}

void eb_execute(const eb_execution *execution, eb_walk walk, eb_team *team, int32_t thread) {
  const eb_trace_function trace = execution->trace;
  uint8_t *base[EB_SPACES];
  for (int i = 0; i < EB_SPACES; i++) base[i] = execution->base[i];
  base[EB_SCRATCH] += (uint64_t)thread * execution->scratch_stride;
  const eb_range nothing = {0, 0};
  for (uint32_t i = 0; i < walk.step_count; i++) {
    const eb_step *step = &walk.steps[i];
    uint32_t units = (uint32_t)value_of(step->units, &walk, nothing);
    eb_range range = {0, units};
    if (!step->everywhere) range = eb_partition(units, step->grain, thread, eb_team_count(team));
    if (range.begin < range.end) run_step(execution, step, &walk, base, range);
    if (!step->everywhere || trace) eb_trace_step(execution, walk.phase, (int32_t)i, team, thread);
  }
}
