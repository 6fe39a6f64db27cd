#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { MOST_OF_PROC = 1 << 20 };

#if defined(__x86_64__)
const char SYSTEM_ARCHITECTURE[] = "x86_64";
#elif defined(__aarch64__)
const char SYSTEM_ARCHITECTURE[] = "arm64";
#elif defined(__arm__)
const char SYSTEM_ARCHITECTURE[] = "armv7";
#elif defined(__riscv)
const char SYSTEM_ARCHITECTURE[] = "riscv64";
#else
#error "edgebit-run: an architecture without a name in targets/"
#endif

int system_read_file(const char *path, size_t most, bytes *to) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char block[65536];
  ssize_t got;
  size_t begin = to->size;
  bytes_add(to, "", 0);
  while ((got = read(file, block, sizeof block)) > 0 && to->size - begin <= most) bytes_add(to, block, (size_t)got);
  int failure = got < 0 ? errno : to->size - begin > most ? EFBIG : 0;
  close(file);
  errno = failure;
  return !failure;
}

/* The last line of a file that begins with `key`: what stands behind its colon into value[size]; 0 where none does. */
static int find_field(const char *path, const char *key, char *value, size_t size) {
  bytes content = {0};
  int found = 0;
  if (system_read_file(path, MOST_OF_PROC, &content)) {
    for (char *line = content.data, *next; line; line = next) {
      next = strchr(line, '\n');
      if (next) *next++ = 0;
      const char *colon = strchr(line, ':');
      if (!colon || strncmp(line, key, strlen(key))) continue;
      snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
      found = 1;
    }
  }
  bytes_free(&content);
  return found;
}

void system_cpu_name(char *name, size_t size) {
  char maker[32], part[32];
  if (find_field("/proc/cpuinfo", "model name", name, size)) return;
  if (find_field("/proc/cpuinfo", "CPU implementer", maker, sizeof maker) &&
      find_field("/proc/cpuinfo", "CPU part", part, sizeof part))
    snprintf(name, size, "ARM core %s of maker %s", part, maker);
  else
    snprintf(name, size, "unknown");
}

int system_cpu_count(void) {
  cpu_set_t set;
  if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

uint64_t system_free_memory(void) {
  char kilobytes[32];
  struct sysinfo info;
  if (find_field("/proc/meminfo", "MemAvailable", kilobytes, sizeof kilobytes))
    return strtoull(kilobytes, NULL, 10) << 10;
  return sysinfo(&info) ? 0 : (uint64_t)info.freeram * info.mem_unit;
}

uint64_t system_last_cache(void) {
  uint64_t largest = 0;
  for (int i = 0; i < 10; i++) {
    char path[80], *unit;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
    bytes content = {0};
    if (system_read_file(path, 64, &content)) {
      uint64_t size = strtoull(content.data, &unit, 10);
      size <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : 0;
      if (size > largest) largest = size;
    }
    bytes_free(&content);
  }
  return largest;
}

const char *size_text(char *text, double size) {
  if (size >= 1e9)
    snprintf(text, SIZE_TEXT, "%.2f GB", size / 1e9);
  else if (size >= 1e6)
    snprintf(text, SIZE_TEXT, "%.2f MB", size / 1e6);
  else
    snprintf(text, SIZE_TEXT, "%.1f kB", size / 1e3);
  return text;
}
