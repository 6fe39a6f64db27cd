/* Runs kernels on buffers read from standard input, writes the buffers afterwards to standard output. The Python side
   is harness.py. Without a libc: building one for each CPU would take a minute.

   Input:  u64 bytes that follow; u32 buffers, then for each u64 bytes and the bytes; u32 calls, then for each
           u32 kernel, 8 x {i32 buffer or -1, u64 byte offset}, 8 x i32.
   Status: 3 if a call wrote into the guards around a buffer, 2 for input that makes no sense. */
#include <stdint.h>

enum { READ, WRITE, MAP, EXIT };
enum { GUARD = 256, GUARD_BYTE = 0xA5, MAX_BUFFERS = 64 };

typedef void (*eb_kernel)(void *, void *, void *, void *, void *, void *, void *, void *, int32_t, int32_t, int32_t,
                          int32_t, int32_t, int32_t, int32_t, int32_t);
extern const eb_kernel kernels[]; /* generated, in the order the Python side numbers them */

static unsigned char *start[MAX_BUFFERS];
static uint64_t bytes[MAX_BUFFERS];
static const unsigned char *input;
static uint64_t left;

#if defined(__x86_64__)
static long system_call(int what, long a, long b, long c, long d) {
    static const long numbers[] = {0, 1, 9, 60};
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = -1, r9 __asm__("r9") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(numbers[what]), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start: and $-16, %rsp\n call run");
#elif defined(__aarch64__)
static long system_call(int what, long a, long b, long c, long d) {
    static const long numbers[] = {63, 64, 222, 93};
    register long x8 __asm__("x8") = numbers[what], x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = -1, x5 __asm__("x5") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: b run");
#elif defined(__arm__)
static long system_call(int what, long a, long b, long c, long d) {
    static const long numbers[] = {3, 4, 192, 1};
    register long r7 __asm__("r7") = numbers[what], r0 __asm__("r0") = a, r1 __asm__("r1") = b;
    register long r2 __asm__("r2") = c, r3 __asm__("r3") = d, r4 __asm__("r4") = -1, r5 __asm__("r5") = 0;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5) : "memory");
    return r0;
}
__asm__(".globl _start\n_start: b run");
#elif defined(__riscv)
static long system_call(int what, long a, long b, long c, long d) {
    static const long numbers[] = {63, 64, 222, 93};
    register long a7 __asm__("a7") = numbers[what], a0 __asm__("a0") = a, a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c, a3 __asm__("a3") = d, a4 __asm__("a4") = -1, a5 __asm__("a5") = 0;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
__asm__(".globl _start\n_start: j run");
#endif

void *memset(void *to, int value, __SIZE_TYPE__ size) {
    for (unsigned char *p = to; size; size--) *p++ = (unsigned char)value;
    return to;
}

void *memcpy(void *to, const void *from, __SIZE_TYPE__ size) {
    for (unsigned char *p = to, *q = (unsigned char *)from; size; size--) *p++ = *q++;
    return to;
}

static void leave(int status) {
    for (;;) system_call(EXIT, status, 0, 0, 0);
}

static unsigned char *allocate(uint64_t size) { /* private anonymous pages, read and write */
    long address = system_call(MAP, 0, (long)size, 3, 0x22);
    if (address < 0 && address > -4096) leave(2);
    return (unsigned char *)address;
}

static void transfer(int what, int file, unsigned char *data, uint64_t size) {
    while (size) {
        long done = system_call(what, file, (long)data, (long)size, 0);
        if (done <= 0) leave(2);
        data += done;
        size -= (uint64_t)done;
    }
}

static void get(void *to, uint64_t size) {
    if (size > left) leave(2);
    memcpy(to, input, size);
    input += size;
    left -= size;
}

static void read_buffer(uint32_t i) {
    get(&bytes[i], sizeof bytes[i]);
    uint64_t padded = (bytes[i] + 63) / 64 * 64 + 2 * GUARD;
    unsigned char *block = allocate(padded);
    memset(block, GUARD_BYTE, padded);
    start[i] = block + GUARD;
    get(start[i], bytes[i]);
}

static int guards_hold(uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        for (int j = 0; j < GUARD; j++)
            if (start[i][-1 - j] != GUARD_BYTE || start[i][bytes[i] + (uint64_t)j] != GUARD_BYTE) return 0;
    return 1;
}

static void run_call(void) {
    uint32_t kernel;
    void *b[8];
    int32_t s[8];
    get(&kernel, sizeof kernel);
    for (int i = 0; i < 8; i++) {
        int32_t buffer;
        uint64_t offset;
        get(&buffer, sizeof buffer);
        get(&offset, sizeof offset);
        b[i] = buffer < 0 ? 0 : start[buffer] + offset;
    }
    get(s, sizeof s);
    kernels[kernel](b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
}

__attribute__((used)) void run(void) {
    uint32_t buffers, calls;
    transfer(READ, 0, (unsigned char *)&left, sizeof left);
    unsigned char *all = allocate(left);
    transfer(READ, 0, all, left);
    input = all;
    get(&buffers, sizeof buffers);
    if (buffers > MAX_BUFFERS) leave(2);
    for (uint32_t i = 0; i < buffers; i++) read_buffer(i);
    get(&calls, sizeof calls);
    for (uint32_t i = 0; i < calls; i++) {
        run_call();
        if (!guards_hold(buffers)) leave(3);
    }
    for (uint32_t i = 0; i < buffers; i++) transfer(WRITE, 1, start[i], bytes[i]);
    leave(0);
}
