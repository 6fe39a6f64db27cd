/* memory.h: files mapped read-only, zeroed memory from the system, small files read whole. */
#ifndef EB_MEMORY_H
#define EB_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Every buffer starts on a cache line: kernels assume it. */
#define EB_ALIGNMENT 64

typedef struct eb_mapping {
  uint8_t *data; /* NULL: nothing mapped */
  uint64_t bytes;
} eb_mapping;

static inline uint64_t eb_align(uint64_t bytes) {
  return (bytes + EB_ALIGNMENT - 1) / EB_ALIGNMENT * EB_ALIGNMENT;
}

/* An aligned buffer at address *next, which moves behind it. Addresses are numbers: buffers laid out from address 0 on
 * tell how much memory they need. */
static inline void *eb_take(uint64_t *next, uint64_t bytes) {
  void *taken = (void *)(uintptr_t)*next;
  *next += eb_align(bytes);
  return taken;
}

enum eb_map_result { EB_MAPPED, EB_MAP_NO_FILE, EB_MAP_NO_MEMORY };

/* Maps a whole file read-only, shared with other processes. An empty file gives {NULL, 0} and EB_MAPPED. `file`: set
 * to the file, open for eb_read_at and to be closed, or to -1 where it cannot be mapped; NULL: it is closed. */
enum eb_map_result eb_map_file(const char *path, eb_mapping *mapping, long *file);

void eb_close_file(long file);

/* Reads `bytes` bytes from `offset` on; gives 0 where it cannot. */
int eb_read_at(long file, uint64_t offset, void *out, uint64_t bytes);

/* Zeroed pages that cost memory only when touched. Gives 0 when there is not that much address space. */
int eb_map_zeroed(uint64_t bytes, eb_mapping *mapping);

void eb_unmap(eb_mapping *mapping);

/* Asks for large pages; a kernel that has none for this mapping ignores it. */
void eb_prefer_huge_pages(const eb_mapping *mapping);

/* Reads up to `capacity` bytes from the start of a file. Gives the count, or -1. */
long eb_read_file(const char *path, void *out, size_t capacity);

#endif
