#include "bandwidth.h"

#include "execute.h"
#include "memory.h"
#include "port.h"

/* Four streams a thread: no other loop read faster, neither with more streams nor with 64-byte AVX512 loads nor with
 * prefetches (AMD Zen 4, 25 to 34 GB/s with one thread). */
enum { STREAMS = 4, LINE = 64 };

typedef uint32_t vector __attribute__((vector_size(16)));

typedef struct {
  eb_team *team;
  uint8_t *data;
  uint32_t lines; /* whole ones */
  int32_t times;
} reading;

static vector line_at(const uint8_t *data, vector sum) {
  const vector *part = (const vector *)(const void *)data;
  return sum ^ part[0] ^ part[1] ^ part[2] ^ part[3];
}

static vector read_lines(const uint8_t *data, uint32_t lines) {
  vector sum[STREAMS] = {{0}};
  const uint32_t each = lines / STREAMS;
  const uint64_t apart = (uint64_t)each * LINE;
  for (uint32_t i = 0; i < each; i++)
    for (int s = 0; s < STREAMS; s++) sum[s] = line_at(data + s * apart + (uint64_t)i * LINE, sum[s]);
  for (uint32_t i = each * STREAMS; i < lines; i++) sum[0] = line_at(data + (uint64_t)i * LINE, sum[0]);
  return sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
}

static void read_part(void *user, int32_t thread) {
  const reading *job = user;
  eb_range range = eb_partition(job->lines, 1, thread, eb_team_count(job->team));
  const uint8_t *data = job->data + (uint64_t)range.begin * LINE;
  for (int32_t i = 0; i < job->times; i++) {
    volatile vector kept = read_lines(data, range.end - range.begin);
    (void)kept;
    __asm__ volatile("" ::: "memory"); /* the next round reads again */
  }
  eb_team_barrier(job->team, thread);
}

static void write_part(void *user, int32_t thread) {
  const reading *job = user;
  eb_range range = eb_partition(job->lines, 1, thread, eb_team_count(job->team));
  memset(job->data + (uint64_t)range.begin * LINE, 1, (size_t)(range.end - range.begin) * LINE);
  eb_team_barrier(job->team, thread);
}

int64_t eb_time_reading(eb_team *team, const uint8_t *data, uint64_t bytes, int32_t times) {
  reading job = {team, (uint8_t *)data, (uint32_t)(bytes / LINE), times};
  uint64_t start = eb_nanoseconds();
  eb_team_run(team, read_part, &job);
  return (int64_t)(eb_nanoseconds() - start);
}

int64_t eb_time_reading_own(eb_team *team, uint64_t bytes, int32_t times) {
  eb_mapping memory;
  if (!eb_map_zeroed(bytes, &memory)) return -1;
  eb_prefer_huge_pages(&memory);
  reading job = {team, memory.data, (uint32_t)(bytes / LINE), times};
  eb_team_run(team, write_part, &job);
  int64_t nanoseconds = eb_time_reading(team, memory.data, bytes, times);
  eb_unmap(&memory);
  return nanoseconds;
}
