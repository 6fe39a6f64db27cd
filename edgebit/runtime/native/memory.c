#include "memory.h"

#include "port.h"

static long open_read_only(const char *path) {
  return syscall(EB_SYS_openat, (long)EB_AT_FDCWD, path, (long)EB_O_CLOEXEC, 0L);
}

void eb_close_file(long file) { syscall(EB_SYS_close, file); }

int eb_read_at(long file, uint64_t offset, void *out, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    uint8_t *to = (uint8_t *)out + done;
    const size_t left = (size_t)(bytes - done);
    const uint64_t from = offset + done;
#if defined(__arm__) /* 64 bits take an even register and the next */
    long got = syscall(EB_SYS_pread, file, to, left, 0L, (long)(uint32_t)from, (long)(from >> 32));
#else
    long got = syscall(EB_SYS_pread, file, to, left, from);
#endif
    if (got <= 0) return 0;
    done += (uint64_t)got;
  }
  return 1;
}

static int64_t file_size(long file) {
#if defined(__arm__)
  int64_t end = -1;
  long failed = syscall(EB_SYS_llseek, file, 0L, 0L, &end, (long)EB_SEEK_END);
  return failed ? -1 : end;
#else
  return syscall(EB_SYS_lseek, file, 0L, (long)EB_SEEK_END);
#endif
}

enum eb_map_result eb_map_file(const char *path, eb_mapping *mapping, long *kept) {
  mapping->data = NULL;
  mapping->bytes = 0;
  if (kept) *kept = -1;
  long file = open_read_only(path);
  if (file < 0) return EB_MAP_NO_FILE;
  int64_t bytes = file_size(file);
  enum eb_map_result result = EB_MAPPED;
  if (bytes < 0) {
    result = EB_MAP_NO_FILE;
  } else if ((uint64_t)bytes > SIZE_MAX / 2) {
    result = EB_MAP_NO_MEMORY;
  } else if (bytes > 0) {
    void *data = eb_map((size_t)bytes, EB_PROT_READ, EB_MAP_SHARED, (int)file);
    if (data == EB_MAP_FAILED) {
      result = EB_MAP_NO_MEMORY;
    } else {
      mapping->data = data;
      mapping->bytes = (uint64_t)bytes;
    }
  }
  if (kept && result == EB_MAPPED)
    *kept = file;
  else
    eb_close_file(file);
  return result;
}

int eb_map_zeroed(uint64_t bytes, eb_mapping *mapping) {
  mapping->data = NULL;
  mapping->bytes = 0;
  if (bytes == 0) return 1;
  if (bytes > SIZE_MAX / 2) return 0;
  void *data = eb_map((size_t)bytes, EB_PROT_READ | EB_PROT_WRITE,
                      EB_MAP_PRIVATE | EB_MAP_ANONYMOUS | EB_MAP_NORESERVE, -1);
  if (data == EB_MAP_FAILED) return 0;
  mapping->data = data;
  mapping->bytes = bytes;
  return 1;
}

void eb_unmap(eb_mapping *mapping) {
  if (mapping->data) munmap(mapping->data, (size_t)mapping->bytes);
  mapping->data = NULL;
  mapping->bytes = 0;
}

void eb_prefer_huge_pages(const eb_mapping *mapping) {
  if (mapping->data) syscall(EB_SYS_madvise, mapping->data, (size_t)mapping->bytes, (long)EB_MADV_HUGEPAGE);
}

long eb_read_file(const char *path, void *out, size_t capacity) {
  long file = open_read_only(path);
  if (file < 0) return -1;
  size_t used = 0;
  while (used < capacity) {
    long got = syscall(EB_SYS_read, file, (char *)out + used, capacity - used);
    if (got <= 0) break;
    used += (size_t)got;
  }
  eb_close_file(file);
  return (long)used;
}
