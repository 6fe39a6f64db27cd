/* Times the attention kernels on this processor, each beside what bounds it: a read loop over the same caches, and
   the tier's fused multiply-add on registers (SSE2: a product and a sum).

   Arguments: threads, rounds, layers, query heads of a key head, key heads, head dimension, context, bytes of a cache
   of keys, bytes of scratch of a thread, tokens of prefill. Output: a line `round read_seconds peak_seconds peak_macs
   decode_seconds merge_seconds prefill_seconds`. Decode and merge: one token at the end of the context, all layers,
   each with caches of its own, so that they come from memory. Prefill: the last tokens of the context, one layer.
   Seconds are CPU seconds of the slowest thread: what other processes take does not count. */
#include "timing.h"

#include <stdio.h>

enum { PEAK_TURNS = 100000, CHUNK = 128, TILE = 8 };
enum { READ, PEAK, DECODE, MERGE, PREFILL };

typedef void kernel(void *, void *, void *, void *, void *, void *, void *, void *, int32_t, int32_t, int32_t, int32_t,
                    int32_t, int32_t, int32_t, int32_t);
extern kernel attention_decode, attention_merge, attention_prefill;

static int layers, group, kv_heads, head_dim, context, tokens, stride;
static size_t cache_bytes, scratch_bytes;
static uint8_t *caches, *scratch;
static float *qkv, *partial, *statistics, *out;

#if defined(PEAK_avx512vnni)
#define MACS 16
#define MULTIPLY(r) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #r "\n\t"
#elif defined(PEAK_avx2)
#define MACS 8
#define MULTIPLY(r) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #r "\n\t"
#elif defined(PEAK_sse2)
#define MACS 4
#define MULTIPLY(r) "movaps %%xmm15, %%xmm14\n\tmulps %%xmm13, %%xmm14\n\taddps %%xmm14, %%xmm" #r "\n\t"
#else
#define MACS 4
#define MULTIPLY(r) "fmla v" #r ".4s, v30.4s, v31.4s\n\t"
#endif

static uint8_t *cache(int layer, int side) { return caches + (size_t)(2 * layer + side) * cache_bytes; }

static void share(int units, int thread, int *begin, int *count) {
    *begin = (int)((long)units * thread / threads);
    *count = (int)((long)units * (thread + 1) / threads) - *begin;
}

static void decode(int thread, void *mine) {
    int begin, count;
    share((context + CHUNK - 1) / CHUNK * kv_heads, thread, &begin, &count);
    for (int i = 0; i < layers; i++)
        attention_decode(qkv, cache(i, 0), cache(i, 1), mine, partial, statistics, 0, 0, count, begin, context - 1,
                         kv_heads, context, 0, 0, 0);
}

static void merge(int thread) {
    float *row = out + (size_t)thread * (size_t)stride;
    for (int i = 0; i < layers; i++)
        attention_merge(partial, statistics, row, 0, 0, 0, 0, 0, group * kv_heads, context - 1, group * kv_heads, 0, 0,
                        0, 0, 0);
}

static void prefill(int thread, void *mine) {
    int begin, count;
    share((tokens + TILE - 1) / TILE * kv_heads, thread, &begin, &count);
    attention_prefill(qkv, cache(0, 0), cache(0, 1), mine, out, 0, 0, 0, count, begin, tokens, context - tokens, stride,
                      stride, kv_heads, context);
}

static void perform(int phase, int thread) {
    size_t part = cache_bytes * 2 * (size_t)layers / (size_t)threads / 4096 * 4096;
    void *mine = scratch + (size_t)thread * scratch_bytes;
    if (phase == READ) read_all(caches + (size_t)thread * part, part);
    if (phase == PEAK) MULTIPLY_ALL(PEAK_TURNS);
    if (phase == DECODE) decode(thread, mine);
    if (phase == MERGE) merge(thread);
    if (phase == PREFILL) prefill(thread, mine);
}

static void allocate(void) {
    size_t heads = (size_t)(group * kv_heads), chunks = (size_t)((context + CHUNK - 1) / CHUNK);
    size_t rows = (size_t)(tokens > threads ? tokens : threads);
    stride = (int)(heads + 2 * (size_t)kv_heads) * head_dim;
    caches = pages(cache_bytes * 2 * (size_t)layers);
    scratch = pages(scratch_bytes * (size_t)threads);
    qkv = pages(4 * (size_t)stride * rows);
    out = pages(4 * (size_t)stride * rows);
    partial = pages(4 * chunks * heads * (size_t)head_dim);
    statistics = pages(8 * chunks * heads);
    for (size_t i = 0; i < cache_bytes * 2 * (size_t)layers; i++) caches[i] = (uint8_t)(i * 37 % 251 & 0x3b);
    for (size_t i = 0; i < (size_t)stride * rows; i++) qkv[i] = (float)(i % 64) / 64 - 0.5f;
}

int main(int count, char **arguments) {
    int rounds, cache, of_thread;
    int *numbers[] = {&threads, &rounds, &layers, &group, &kv_heads, &head_dim, &context, &cache, &of_thread, &tokens};
    if (count != 11) return 2;
    for (int i = 0; i < 10; i++)
        if ((*numbers[i] = atoi(arguments[i + 1])) < 1) return 2;
    if (threads > MAX_THREADS || tokens > context) return 2;
    cache_bytes = ((size_t)cache + 4095) / 4096 * 4096;
    scratch_bytes = ((size_t)of_thread + 63) / 64 * 64;
    allocate();
    start_threads();
    for (int round = 0; round <= rounds; round++) { /* round 0 warms pages, caches and clock */
        double read = timed(READ), peak = timed(PEAK), decoded = timed(DECODE), merged = timed(MERGE);
        printf("%d %.9g %.9g %.9g %.9g %.9g %.9g\n", round, read, peak, (double)PEAK_TURNS * PEAK_CHAINS * MACS * threads,
               decoded, merged, timed(PREFILL));
    }
    stop_threads();
    return 0;
}
