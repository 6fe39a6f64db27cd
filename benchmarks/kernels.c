/* Times ternary kernels on this processor. Every timing of a kernel stands beside one of what bounds it, taken
   right before: a plain read loop over the same weights, or the tier's multiply instruction on
   registers, with the addition to a sum where that is another instruction.

   Arguments: threads, rounds, MB of weights, then jobs `kernel:rows:columns:tokens:blocks_per_unit`
   (tokens 0: GEMV). Output: a line `round job kernel_seconds bytes macs read_seconds bytes peak_seconds macs`.
   Weights are never in a cache: each call takes the next matrix of a working set larger than the last level.
   Seconds are CPU seconds of the slowest thread: what other processes take does not count. */
#include "timing.h"

#include <stdio.h>
#include <string.h>

typedef void (*eb_kernel)(void *, void *, void *, void *, void *, void *, void *, void *, int32_t, int32_t, int32_t,
                          int32_t, int32_t, int32_t, int32_t, int32_t);
extern const eb_kernel kernels[]; /* generated */

enum { MAX_JOBS = 256, MAX_TOKENS = 96, PEAK_TURNS = 20000 };
enum { READ, PEAK, KERNEL };

typedef struct {
    int kernel, rows, columns, tokens, unit;
} job;

static uint8_t *weights;
static size_t weight_bytes;
static int8_t *q;
static int32_t *sums;
static float *scales, *weight_scales, *out;
static job jobs[MAX_JOBS], now;
static size_t position; /* of the next matrix in the weights */

static size_t matrix_bytes(const job *j) { return (size_t)j->rows * (size_t)j->columns / 4; }

/* Matrices of one timing: all that fit for GEMV, one for GEMM. */
static size_t matrices(const job *j) { return j->tokens ? 1 : weight_bytes / matrix_bytes(j); }

#if defined(PEAK_avx512vnni)
#define MACS 64
#define MULTIPLY(r) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #r "\n\t"
#elif defined(PEAK_avxvnni)
#define MACS 32
#define MULTIPLY(r) "{vex} vpdpbusd %%ymm14, %%ymm15, %%ymm" #r "\n\t"
#elif defined(PEAK_avx2)
#define MACS 32
#define MULTIPLY(r) "vpmaddubsw %%ymm14, %%ymm15, %%ymm13\n\tvpaddw %%ymm13, %%ymm" #r ", %%ymm" #r "\n\t"
#elif defined(PEAK_ssse3)
#define MACS 16
#define MULTIPLY(r) "movdqa %%xmm14, %%xmm13\n\tpmaddubsw %%xmm15, %%xmm13\n\tpaddw %%xmm13, %%xmm" #r "\n\t"
#elif defined(PEAK_sse2)
#define MACS 8
#define MULTIPLY(r) "movdqa %%xmm14, %%xmm13\n\tpmaddwd %%xmm15, %%xmm13\n\tpaddd %%xmm13, %%xmm" #r "\n\t"
#elif defined(PEAK_i8mm)
#define MACS 32
#define MULTIPLY(r) ".arch_extension i8mm\n\tsmmla v" #r ".4s, v30.16b, v31.16b\n\t"
#elif defined(PEAK_dotprod)
#define MACS 16
#define MULTIPLY(r) ".arch_extension dotprod\n\tsdot v" #r ".4s, v30.16b, v31.4b[0]\n\t"
#elif defined(PEAK_neon)
#define MACS 8
#define MULTIPLY(r) "smlal v" #r ".8h, v30.8b, v31.8b\n\t"
#endif
/* Blocks of 16 rows in units of an epilogue, shared out as the runtime does. */
static void run_kernel(int thread) {
    int count = now.rows / 16 / now.unit;
    int begin = (int)((long)count * thread / threads), end = (int)((long)count * (thread + 1) / threads);
    size_t of_unit = (size_t)now.unit * 4 * (size_t)now.columns;
    for (size_t i = 0; i < matrices(&now); i++)
        kernels[now.kernel](weights + position + i * matrix_bytes(&now) + (size_t)begin * of_unit, q, sums, scales,
                            weight_scales, out + (size_t)begin * 16, 0, 0, end - begin, now.columns / 16,
                            now.tokens, count * 16, 0, 0, 0, 0);
}

static void perform(int phase, int thread) {
    size_t share = weight_bytes / (size_t)threads / 4096 * 4096;
    if (phase == READ) read_all(weights + (size_t)thread * share, share);
    if (phase == PEAK) MULTIPLY_ALL(PEAK_TURNS);
    if (phase == KERNEL) run_kernel(thread);
}

static void allocate(void) {
    size_t columns = 0, rows = 0;
    for (job *j = jobs; j->rows; j++) {
        columns = columns > (size_t)j->columns ? columns : (size_t)j->columns;
        rows = rows > (size_t)j->rows ? rows : (size_t)j->rows;
    }
    weights = pages(weight_bytes);
    q = pages(columns * MAX_TOKENS);
    sums = pages(4 * MAX_TOKENS);
    scales = pages(4 * MAX_TOKENS);
    weight_scales = pages(rows / 4);
    out = pages(4 * rows * MAX_TOKENS);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < weight_bytes / 8; i++) { /* any bits: the kernels' time does not depend on the codes */
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        ((uint64_t *)weights)[i] = state & (state >> 1 | 0x5555555555555555u);
    }
    memcpy(q, weights, columns * MAX_TOKENS);
    for (int i = 0; i < MAX_TOKENS; i++) scales[i] = 1;
    for (size_t i = 0; i < rows / 16; i++) weight_scales[i] = 1;
}

static void report(int round, int number) {
    now = jobs[number];
    if (position + matrices(&now) * matrix_bytes(&now) > weight_bytes) position = 0;
    double read = now.tokens ? 0 : timed(READ), peak = timed(PEAK), kernel = timed(KERNEL);
    double values = (double)matrices(&now) * now.rows * now.columns;
    size_t read_bytes = weight_bytes / (size_t)threads / 4096 * 4096 * (size_t)threads;
    printf("%d %d %.9g %.9g %.9g %.9g %.9g %.9g %.9g\n", round, number, kernel, values / 4,
           values * (now.tokens ? now.tokens : 1), read, (double)read_bytes, peak,
           (double)PEAK_TURNS * PEAK_CHAINS * MACS * threads);
    if (now.tokens) position += matrix_bytes(&now);
}

int main(int count, char **arguments) {
    if (count < 5 || count - 4 >= MAX_JOBS) return 2;
    threads = atoi(arguments[1]);
    int rounds = atoi(arguments[2]);
    weight_bytes = (size_t)atoi(arguments[3]) << 20;
    if (threads < 1 || threads > MAX_THREADS) return 2;
    for (int i = 4; i < count; i++) {
        job *j = &jobs[i - 4];
        if (sscanf(arguments[i], "%d:%d:%d:%d:%d", &j->kernel, &j->rows, &j->columns, &j->tokens, &j->unit) != 5) return 2;
    }
    allocate();
    start_threads();
    for (int i = 0; i < count - 4; i++) report(0, i); /* warm: pages, caches, clock */
    for (int round = 1; round <= rounds; round++)
        for (int i = 0; i < count - 4; i++) report(round, i);
    stop_threads();
    return 0;
}
