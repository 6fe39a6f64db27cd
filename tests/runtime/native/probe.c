/* Calls of the runtime's inside, exported for the tests. */
#include "bandwidth.h"
#include "cpu.h"
#include "edgebit.h"
#include "execute.h"
#include "memory.h"
#include "message.h"
#include "port.h"
#include "threads.h"

/* out = {begin, end} */
EB_API void eb_probe_partition(uint32_t units, uint32_t grain, int32_t thread, int32_t threads, uint32_t *out) {
  eb_range range = eb_partition(units, grain, thread, threads);
  out[0] = range.begin;
  out[1] = range.end;
}

/* ---- barriers --------------------------------------------------------------------------------------------- */

enum { CELLS = 64 };

typedef struct {
  eb_team *team;
  int32_t steps;
  uint32_t cells[2][CELLS];
} relay;

/* Each step every cell takes its right neighbour's number of the step before, plus one. */
static void pass_on(void *user, int32_t thread) {
  relay *r = user;
  eb_range mine = eb_partition(CELLS, 1, thread, eb_team_count(r->team));
  for (int32_t step = 0; step < r->steps; step++) {
    const uint32_t *from = r->cells[step % 2];
    uint32_t *to = r->cells[(step + 1) % 2];
    for (uint32_t i = mine.begin; i < mine.end; i++) to[i] = from[(i + 1) % CELLS] + 1;
    eb_team_barrier(r->team, thread);
  }
}

/* Runs `jobs` jobs of `steps` steps each. Returns the number of wrong cells, or -1 without threads. */
EB_API int32_t eb_probe_barriers(int32_t threads, int32_t steps, int32_t jobs) {
  relay *r = malloc(sizeof *r);
  int32_t wrong = 0;
  r->team = eb_team_open(threads, NULL, 0);
  if (!r->team) return -1;
  r->steps = steps;
  for (int32_t job = 0; job < jobs; job++) {
    for (uint32_t i = 0; i < CELLS; i++) r->cells[0][i] = i;
    eb_team_run(r->team, pass_on, r);
    for (uint32_t i = 0; i < CELLS; i++)
      wrong += r->cells[steps % 2][i] != (i + (uint32_t)steps) % CELLS + (uint32_t)steps;
  }
  eb_team_close(r->team);
  free(r);
  return wrong;
}

/* ---- floating-point mode ---------------------------------------------------------------------------------- */

typedef struct {
  eb_team *team;
  uint64_t seen[EB_MOST_THREADS];
} mode_survey;

static void note_mode(void *user, int32_t thread) {
  mode_survey *survey = user;
  survey->seen[thread] = eb_float_mode_read();
  eb_team_barrier(survey->team, thread);
}

/* With the caller in `host_mode`: modes[0..threads-1] = what each thread computes with, modes[threads] = the caller's
 * mode afterwards, modes[threads + 1] = the canonical mode. */
EB_API int32_t eb_probe_float_modes(uint64_t host_mode, int32_t threads, uint64_t *modes) {
  mode_survey *survey = malloc(sizeof *survey);
  uint64_t before = eb_float_mode_read();
  eb_float_mode_write(host_mode);
  survey->team = eb_team_open(threads, NULL, 0);
  eb_team_run(survey->team, note_mode, survey);
  modes[threads] = eb_float_mode_read();
  modes[threads + 1] = EB_CANONICAL_FLOAT_MODE;
  eb_float_mode_write(before);
  for (int32_t i = 0; i < threads; i++) modes[i] = survey->seen[i];
  eb_team_close(survey->team);
  free(survey);
  return 0;
}

EB_API uint64_t eb_probe_float_mode(void) { return eb_float_mode_read(); }

/* ---- tiers and plans -------------------------------------------------------------------------------------- */

EB_API uint64_t eb_probe_features(void) { return eb_cpu_features(); }

EB_API const char *eb_probe_tier(uint64_t features, const char *forced, char *error, int32_t error_size) {
  const eb_tier *tier = eb_choose_tier(&eb_model_plan, features, forced, error, error_size);
  return tier ? tier->name : NULL;
}

EB_API int32_t eb_probe_default_threads(void) { return eb_default_threads(); }

EB_API int32_t eb_probe_plan_bytes(void) { return (int32_t)sizeof(eb_plan); }

/* A copy of the plan with one word of it changed must be refused, never walked. list: 0 decode, 2 head. */
EB_API int32_t eb_probe_changed_step(int32_t list, int32_t step, uint32_t word, uint32_t value, char *error,
                                     int32_t error_size) {
  eb_plan plan = eb_model_plan;
  eb_step steps[8];
  const eb_step **steps_of_list = list == 2 ? &plan.head : &plan.decode;
  uint32_t count = list == 2 ? plan.head_steps : plan.decode_steps;
  memcpy(steps, *steps_of_list, count * sizeof *steps);
  memcpy((char *)&steps[step] + word * sizeof word, &value, sizeof value);
  *steps_of_list = steps;
  return eb_check_plan(&plan, error, error_size);
}

/* The plan with a pooling in the place of its lm_head. */
EB_API int32_t eb_probe_pooling(const eb_pooling *pooling, int32_t with_head, char *error, int32_t error_size) {
  eb_plan plan = eb_model_plan;
  if (!with_head) plan.logits.kind = EB_HEAD_NONE;
  plan.pooling = *pooling;
  return eb_check_plan(&plan, error, error_size);
}

EB_API int32_t eb_probe_step_offset(const char *field) {
  if (field[0] == 'k') return offsetof(eb_step, kernel) / 4;
  if (field[0] == 'u') return offsetof(eb_step, units) / 4;
  if (field[0] == 'g') return offsetof(eb_step, grain) / 4;
  if (field[0] == 'e') return offsetof(eb_step, everywhere) / 4;
  if (field[0] == 'b') return offsetof(eb_step, buffers) / 4;
  return offsetof(eb_step, scalars) / 4;
}

EB_API void eb_probe_message(char *out, int32_t size, const char *text, int32_t number, uint64_t big) {
  eb_message(out, size, "<%s|%d|%llu>", text, (int)number, (unsigned long long)big);
}

/* ---- workers at rest -------------------------------------------------------------------------------------- */

static void only_meet(void *user, int32_t thread) { eb_team_barrier(user, thread); }

/* A team does one job and then waits for `milliseconds`. */
EB_API void eb_probe_idle(int32_t threads, int32_t milliseconds) {
  static uint32_t never;
  struct {
    long seconds, nanoseconds;
  } pause = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  eb_team *team = eb_team_open(threads, NULL, 0);
  eb_team_run(team, only_meet, team);
  syscall(EB_SYS_futex, &never, (long)EB_FUTEX_WAIT_PRIVATE, 0L, &pause, (void *)0, 0L);
  eb_team_close(team);
}

typedef struct {
  eb_team *team;
  uint64_t blocked;
} signal_survey;

static void note_signals(void *user, int32_t thread) {
  signal_survey *survey = user;
  if (thread == 1) syscall(EB_SYS_sigprocmask, 0L, (void *)0, &survey->blocked, (long)sizeof survey->blocked);
  eb_team_barrier(survey->team, thread);
}

/* Bit n-1: a worker blocks signal n (of the first 31). */
EB_API uint32_t eb_probe_blocked_signals(void) {
  signal_survey survey = {eb_team_open(2, NULL, 0), 0};
  eb_team_run(survey.team, note_signals, &survey);
  eb_team_close(survey.team);
  return (uint32_t)survey.blocked;
}

/* Reads data[bytes] twice with a team of its own. */
EB_API int64_t eb_probe_reading(const uint8_t *data, uint64_t bytes, int32_t threads) {
  eb_team *team = eb_team_open(threads, NULL, 0);
  int64_t nanoseconds = eb_time_reading(team, data, bytes, 2);
  eb_team_close(team);
  return nanoseconds;
}
