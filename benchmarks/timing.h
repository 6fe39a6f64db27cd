/* What the drivers share: threads that do the same work at once, their CPU seconds, pages, and the two things that
   bound every kernel, a read loop and a chain of one instruction.

   A driver defines `perform(phase, thread)`: the work of a phase, numbered from 0. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 64, PEAK_CHAINS = 12, STOP = -1 };

static void perform(int phase, int thread);

static int threads;
static int current_phase;
static double seconds[MAX_THREADS];
static pthread_t others[MAX_THREADS];
static pthread_barrier_t barrier;
static volatile uint64_t sink;

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void work(int thread) {
    double start = cpu_seconds();
    perform(current_phase, thread);
    seconds[thread] = cpu_seconds() - start;
}

static void *helper(void *thread) {
    for (;;) {
        pthread_barrier_wait(&barrier);
        if (current_phase == STOP) return NULL;
        work((int)(intptr_t)thread);
        pthread_barrier_wait(&barrier);
    }
}

/* CPU seconds of the slowest thread: what other processes take does not count. */
static double timed(int phase) {
    current_phase = phase;
    pthread_barrier_wait(&barrier);
    work(0);
    pthread_barrier_wait(&barrier);
    double slowest = 0;
    for (int i = 0; i < threads; i++) slowest = seconds[i] > slowest ? seconds[i] : slowest;
    return slowest;
}

static void start_threads(void) {
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int i = 1; i < threads; i++) pthread_create(&others[i], NULL, helper, (void *)(intptr_t)i);
}

static void stop_threads(void) {
    current_phase = STOP;
    pthread_barrier_wait(&barrier);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
}

static void *pages(size_t bytes) {
    bytes = (bytes + (2 << 20) - 1) >> 21 << 21;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) exit(2);
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

typedef uint64_t line __attribute__((vector_size(64)));

static void read_all(const uint8_t *data, size_t bytes) {
    line sum[8] = {0};
    for (const line *p = (const line *)data, *end = (const line *)(data + bytes / 512 * 512); p < end; p += 8)
        for (int i = 0; i < 8; i++) sum[i] ^= p[i];
    for (int i = 1; i < 8; i++) sum[0] ^= sum[i];
    sink = sum[0][0] ^ sum[0][7];
}

/* PEAK_CHAINS independent ones of an instruction, a number of times: MULTIPLY(r) is its text for register r. */
#define TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#if defined(__x86_64__)
#define CLOBBER(r) "xmm" #r,
#else
#define CLOBBER(r) "v" #r,
#endif
#define MULTIPLY_ALL(turns) \
    for (int turn = 0; turn < (turns); turn++) __asm__ volatile(TWELVE(MULTIPLY)::: TWELVE(CLOBBER) "memory")
