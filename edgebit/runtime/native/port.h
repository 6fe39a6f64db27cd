/* port.h: all that the runtime asks of the system, the same source for glibc >= 2.17, musl and Android bionic.
 *
 * No libc header is read (compile with -ffreestanding: <stdint.h> and <stddef.h> then come from the compiler), there is
 * no thread-local storage and no errno. The functions below are the only ones called; their C ABI is the same in every
 * libc. Everything else goes through syscall() with the numbers below.
 */
#ifndef EB_PORT_H
#define EB_PORT_H

#include <stddef.h>
#include <stdint.h>

/* ---- libc ------------------------------------------------------------------------------------------------- */

typedef struct { long seconds, nanoseconds; } eb_timespec;
typedef uintptr_t eb_pthread; /* an integer in glibc and bionic, a pointer in musl: one word everywhere */

int pthread_create(eb_pthread *thread, const void *attributes, void *(*function)(void *), void *argument);
int pthread_join(eb_pthread thread, void **result);
void *malloc(size_t bytes);
void free(void *memory);
void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
char *getenv(const char *name);
int munmap(void *address, size_t bytes);
long syscall(long number, ...);
#if !defined(__arm__) /* there off_t and time_t have 32 bits or 64, depending on the libc: eb_map, eb_nanoseconds */
void *mmap(void *address, size_t bytes, int protection, int flags, int file, long offset);
int clock_gettime(int clock, eb_timespec *time);
#endif
#if defined(__aarch64__) || defined(__arm__)
unsigned long getauxval(unsigned long type);
#endif

/* ---- Linux system calls ----------------------------------------------------------------------------------- */

#if defined(__x86_64__)
enum { EB_SYS_read = 0, EB_SYS_close = 3, EB_SYS_lseek = 8, EB_SYS_sigprocmask = 14, EB_SYS_pread = 17, EB_SYS_madvise = 28,
       EB_SYS_getpid = 39, EB_SYS_futex = 202, EB_SYS_getaffinity = 204, EB_SYS_openat = 257 };
#elif defined(__aarch64__) || (defined(__riscv) && __riscv_xlen == 64)
enum { EB_SYS_openat = 56, EB_SYS_close = 57, EB_SYS_lseek = 62, EB_SYS_read = 63, EB_SYS_pread = 67, EB_SYS_futex = 98,
       EB_SYS_getaffinity = 123, EB_SYS_sigprocmask = 135, EB_SYS_getpid = 172, EB_SYS_madvise = 233 };
#elif defined(__arm__)
enum { EB_SYS_read = 3, EB_SYS_close = 6, EB_SYS_getpid = 20, EB_SYS_llseek = 140, EB_SYS_sigprocmask = 175, EB_SYS_pread = 180,
       EB_SYS_mmap2 = 192, EB_SYS_madvise = 220, EB_SYS_futex = 240, EB_SYS_getaffinity = 242,
       EB_SYS_clock_gettime = 263, EB_SYS_openat = 322 };
#else
#error "edgebit runtime: no system call table for this architecture"
#endif

enum { EB_AT_FDCWD = -100, EB_O_CLOEXEC = 02000000, EB_SEEK_SET = 0, EB_SEEK_END = 2 };
enum { EB_PROT_READ = 1, EB_PROT_WRITE = 2 };
enum { EB_MAP_SHARED = 1, EB_MAP_PRIVATE = 2, EB_MAP_ANONYMOUS = 0x20, EB_MAP_NORESERVE = 0x4000 };
enum { EB_MADV_DONTNEED = 4, EB_MADV_HUGEPAGE = 14, EB_MADV_NOHUGEPAGE = 15 };
enum { EB_FUTEX_WAIT_PRIVATE = 128, EB_FUTEX_WAKE_PRIVATE = 129 };
enum { EB_CLOCK_MONOTONIC = 1 };
#define EB_MAP_FAILED ((void *)-1)

/* A mapping wherever there is room, of a file from its beginning. The offset that mmap takes has 32 bits in 32-bit
 * glibc and bionic, and 64 in musl: there the system call is made here. */
static inline void *eb_map(size_t bytes, int protection, int flags, int file) {
#if defined(__arm__)
  return (void *)syscall(EB_SYS_mmap2, 0L, bytes, (long)protection, (long)flags, (long)file, 0L);
#else
  return mmap(NULL, bytes, protection, flags, file, 0);
#endif
}

static inline uint64_t eb_nanoseconds(void) {
  eb_timespec now = {0, 0};
#if defined(__arm__)
  syscall(EB_SYS_clock_gettime, (long)EB_CLOCK_MONOTONIC, &now);
#else
  clock_gettime(EB_CLOCK_MONOTONIC, &now);
#endif
  return (uint64_t)now.seconds * 1000000000u + (uint64_t)now.nanoseconds;
}

/* ---- CPU -------------------------------------------------------------------------------------------------- */

/* A short pause inside a spin loop: some ten nanoseconds (`yield` does nothing on most ARM cores, `isb` does). */
static inline void eb_cpu_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#else
  __asm__ volatile("" ::: "memory");
#endif
}

/* Floating-point control word: rounding, flush-to-zero, exception masks. Hosts change it, new threads inherit it. */
typedef uint64_t eb_float_mode;

static inline eb_float_mode eb_float_mode_read(void) {
#if defined(__x86_64__)
  uint32_t mode;
  __asm__ volatile("stmxcsr %0" : "=m"(mode));
  return mode;
#elif defined(__aarch64__)
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
#elif defined(__arm__)
  uint32_t mode;
  __asm__ volatile("vmrs %0, fpscr" : "=r"(mode));
  return mode;
#else
  uint64_t mode;
  __asm__ volatile("frcsr %0" : "=r"(mode));
  return mode;
#endif
}

static inline void eb_float_mode_write(eb_float_mode mode) {
#if defined(__x86_64__)
  uint32_t word = (uint32_t)mode;
  __asm__ volatile("ldmxcsr %0" : : "m"(word));
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#elif defined(__arm__)
  __asm__ volatile("vmsr fpscr, %0" : : "r"((uint32_t)mode));
#else
  __asm__ volatile("fscsr %0" : : "r"(mode));
#endif
}

/* Round to nearest even, denormals on, no exceptions trapped: NUMERICS rule 6. */
#if defined(__x86_64__)
#define EB_CANONICAL_FLOAT_MODE ((eb_float_mode)0x1F80)
#else
#define EB_CANONICAL_FLOAT_MODE ((eb_float_mode)0)
#endif

#endif
