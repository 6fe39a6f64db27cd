/* bandwidth.h: how fast this machine reads memory with the threads that a session computes with. */
#ifndef EB_BANDWIDTH_H
#define EB_BANDWIDTH_H

#include "threads.h"

/* Nanoseconds that the team takes to read data[bytes] `times` times, each thread its own part of it. `data` begins on a
 * cache line. */
int64_t eb_time_reading(eb_team *team, const uint8_t *data, uint64_t bytes, int32_t times);

/* The same with memory of its own, written before by the thread that reads it. -1 when there is no memory. */
int64_t eb_time_reading_own(eb_team *team, uint64_t bytes, int32_t times);

#endif
