#include "threads.h"

#include "memory.h"
#include "message.h"
#include "port.h"

/* Pauses before a waiting thread sleeps: some 80 microseconds. Waking it takes half of that in a virtual machine, and
 * then the others wait for it at the next barrier: with less patience than that they would sleep there, and threads
 * would go on waking one another, barrier for barrier. At a barrier the budget halves when spinning was in vain and
 * doubles when it was not, so that threads which share a core with others soon sleep. One wait in PROBE_EVERY that end
 * in sleep restores the full budget: when the core is free again, spinning pays. */
#if defined(__x86_64__)
enum { SPIN_MOST = 4096 };
#else
enum { SPIN_MOST = 8192 };
#endif
enum { SPIN_AT_BELL = 2 * SPIN_MOST, SPIN_LEAST = 16, PROBE_EVERY = 32 };

/* A counter that threads wait on to change. */
typedef struct {
  _Alignas(EB_ALIGNMENT) uint32_t value;
  uint32_t sleepers;
} signal_word;

/* How long a thread spins before it sleeps, and how often it had to. */
typedef struct {
  uint32_t budget;
  uint32_t sleeps;
} patience;

typedef struct {
  _Alignas(EB_ALIGNMENT) eb_team *team;
  int32_t index;
  patience at_barrier;
  eb_pthread thread;
} member;

struct eb_team {
  signal_word bell;    /* rung once for each job */
  signal_word barrier; /* counts barriers passed */
  _Alignas(EB_ALIGNMENT) uint32_t arrived;
  _Alignas(EB_ALIGNMENT) eb_job job;
  void *user;
  uint64_t *stamp; /* NULL: nobody asks */
  int32_t stop;
  int32_t count, started;
  long process;
  eb_mapping memory;
  member members[];
};

/* ---- waiting ---------------------------------------------------------------------------------------------- */

static uint32_t current(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static int spin_until_changed(const signal_word *word, uint32_t old, patience *patience) {
  for (uint32_t i = 0; i < patience->budget; i++) {
    if (__atomic_load_n(&word->value, __ATOMIC_ACQUIRE) != old) {
      if (patience->budget < SPIN_MOST) patience->budget *= 2;
      return 1;
    }
    eb_cpu_relax();
  }
  if (patience->budget > SPIN_LEAST) patience->budget /= 2;
  if (++patience->sleeps % PROBE_EVERY == 0) patience->budget = SPIN_MOST;
  return 0;
}

/* No wake-up is lost: the sleeper counts itself before it looks again, the waker changes the value before it looks
 * for sleepers, both sequentially consistent; and the kernel compares the value once more before it sleeps. */
static void wait_until_changed(signal_word *word, uint32_t old, patience *patience) {
  if (spin_until_changed(word, old, patience)) return;
  __atomic_fetch_add(&word->sleepers, 1, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  while (current(&word->value) == old)
    syscall(EB_SYS_futex, &word->value, (long)EB_FUTEX_WAIT_PRIVATE, (long)old, (void *)0, (void *)0, 0L);
  __atomic_fetch_sub(&word->sleepers, 1, __ATOMIC_SEQ_CST);
}

static void change(signal_word *word) {
  __atomic_fetch_add(&word->value, 1, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (current(&word->sleepers))
    syscall(EB_SYS_futex, &word->value, (long)EB_FUTEX_WAKE_PRIVATE, 0x7fffffffL, (void *)0, (void *)0, 0L);
}

void eb_team_barrier(eb_team *team, int32_t thread) {
  if (team->count == 1) return;
  uint32_t passed = current(&team->barrier.value);
  if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_SEQ_CST) == (uint32_t)team->count) {
    __atomic_store_n(&team->arrived, 0, __ATOMIC_SEQ_CST);
    change(&team->barrier);
  } else {
    wait_until_changed(&team->barrier, passed, &team->members[thread].at_barrier);
  }
}

/* ---- workers ---------------------------------------------------------------------------------------------- */

/* Signals are for the host's threads: Ctrl-C must interrupt the thread that reads the terminal. Faults stay on. */
static void block_signals(void) {
  const uint32_t faults = 1u << 3 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 30; /* ILL TRAP BUS FPE SEGV SYS */
  uint64_t blocked = 0x7fffffffu & ~faults;
  syscall(EB_SYS_sigprocmask, 0L, &blocked, (void *)0, (long)sizeof blocked);
}

static void *work(void *argument) {
  member *self = argument;
  eb_team *team = self->team;
  block_signals();
  for (uint32_t heard = 0;; heard++) {
    /* The host rings for the next token when it has dealt with the last one: long or short, it is the first wait. */
    patience at_bell = {SPIN_AT_BELL, 0};
    wait_until_changed(&team->bell, heard, &at_bell);
    if (team->stop) return NULL;
    eb_float_mode_write(EB_CANONICAL_FLOAT_MODE);
    team->job(team->user, self->index);
  }
}

void eb_team_run(eb_team *team, eb_job job, void *user) {
  eb_float_mode mode = eb_float_mode_read();
  eb_float_mode_write(EB_CANONICAL_FLOAT_MODE);
  team->job = job;
  team->user = user;
  if (team->stamp) *team->stamp = eb_nanoseconds();
  if (team->count > 1) change(&team->bell);
  job(user, 0);
  eb_float_mode_write(mode);
}

void eb_team_stamp(eb_team *team, uint64_t *when) { team->stamp = when; }

/* ---- opening and closing ---------------------------------------------------------------------------------- */

int32_t eb_team_count(const eb_team *team) { return team->count; }

int eb_team_is_here(const eb_team *team) { return team->process == syscall(EB_SYS_getpid); }

void eb_team_close(eb_team *team) {
  if (!team) return;
  if (eb_team_is_here(team)) {
    team->stop = 1;
    change(&team->bell);
    for (int32_t i = 1; i < team->started; i++) pthread_join(team->members[i].thread, NULL);
  }
  eb_mapping memory = team->memory;
  eb_unmap(&memory);
}

eb_team *eb_team_open(int32_t count, char *error, int32_t error_size) {
  eb_mapping memory;
  if (!eb_map_zeroed(sizeof(eb_team) + (uint64_t)count * sizeof(member), &memory)) {
    eb_message(error, error_size, "no memory for %d threads", (int)count);
    return NULL;
  }
  eb_team *team = (eb_team *)memory.data;
  team->memory = memory;
  team->count = count;
  team->started = 1;
  team->process = syscall(EB_SYS_getpid);
  for (int32_t i = 0; i < count; i++) {
    team->members[i].team = team;
    team->members[i].index = i;
    team->members[i].at_barrier.budget = SPIN_MOST;
  }
  for (; team->started < count; team->started++) {
    member *next = &team->members[team->started];
    if (pthread_create(&next->thread, NULL, work, next)) {
      eb_message(error, error_size, "the system gives only %d of %d threads", (int)team->started, (int)count);
      eb_team_close(team);
      return NULL;
    }
  }
  return team;
}
