/* threads.h: a team of threads that does one job together, in lock step.
 *
 * The caller is thread 0. Workers sleep between jobs. Waiting spins briefly and then sleeps in the kernel, so that a
 * team larger than the machine, or a machine with other work, still makes progress: pure spinning collapses there.
 */
#ifndef EB_THREADS_H
#define EB_THREADS_H

#include <stdint.h>

typedef struct eb_team eb_team;

/* `thread` is 0 .. count-1. A job must end with eb_team_barrier: afterwards `user` is no longer touched. */
typedef void (*eb_job)(void *user, int32_t thread);

enum { EB_MOST_THREADS = 256 };

/* Starts count-1 workers. NULL and a sentence when that fails. */
eb_team *eb_team_open(int32_t count, char *error, int32_t error_size);
void eb_team_close(eb_team *team);

int32_t eb_team_count(const eb_team *team);

/* Runs the job on all threads and returns when all have passed its last barrier. Every thread computes with the
 * canonical floating-point mode; the caller's own is restored. */
void eb_team_run(eb_team *team, eb_job job, void *user);

/* From now on every job leaves the time at which it was given (eb_nanoseconds) in *when. NULL: no longer. */
void eb_team_stamp(eb_team *team, uint64_t *when);

/* Returns when every thread of the team has called it: what they wrote before is visible to all after. */
void eb_team_barrier(eb_team *team, int32_t thread);

/* 0 in a process that was forked from the one that opened the team: its workers do not exist here. */
int eb_team_is_here(const eb_team *team);

#endif
