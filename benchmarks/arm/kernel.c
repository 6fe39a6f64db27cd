/* kernel.c: calls one of the ternary kernels of a tier once, to have its instructions counted. No libc.
 *
 * With n arguments it calls kernel n - 1 of the generated table, with none nothing: the difference of two counts is
 * the kernel's. On arm64 "hint #96" stands before and after the call, at which counter.c reports.
 * Compile with -DROWS, -DCOLUMNS and -DTOKENS.
 */
#include <stdint.h>

typedef void (*eb_kernel)(void *, void *, void *, void *, void *, void *, void *, void *, int32_t, int32_t, int32_t,
                          int32_t, int32_t, int32_t, int32_t, int32_t);
extern const eb_kernel kernels[]; /* generated */
extern const int tokens[];        /* of each kernel; 0: GEMV */

#define ALIGNED __attribute__((aligned(64)))
static uint8_t weights[ROWS * COLUMNS / 4] ALIGNED;
static int8_t q[TOKENS * COLUMNS] ALIGNED;
static int32_t sums[TOKENS] ALIGNED;
static float scales[TOKENS] ALIGNED, weight_scales[ROWS / 16] ALIGNED, out[TOKENS * ROWS] ALIGNED;

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov (%rsp), %rdi\n and $-16, %rsp\n call run");
#define EXIT __asm__ volatile("syscall" ::"a"(60), "D"(0))
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: ldr x0, [sp]\n b run");
#define EXIT __asm__ volatile("mov x8, #93\n mov x0, #0\n svc 0")
#define MARK __asm__ volatile("hint #96" ::: "memory")
#elif defined(__arm__)
__asm__(".globl _start\n_start: ldr r0, [sp]\n b run");
#define EXIT __asm__ volatile("mov r7, #1\n mov r0, #0\n svc 0")
#elif defined(__riscv)
__asm__(".globl _start\n_start: ld a0, 0(sp)\n j run");
#define EXIT __asm__ volatile("li a7, 93\n li a0, 0\n ecall")
#endif
#ifndef MARK
#define MARK
#endif

void *memset(void *to, int value, __SIZE_TYPE__ size) {
  for (unsigned char *p = to; size; size--) *p++ = (unsigned char)value;
  return to;
}

__attribute__((used, noreturn)) void run(long words) { /* the program's name and the arguments */
  long n = words - 2;
  MARK;
  if (n >= 0)
    kernels[n](weights, q, sums, scales, weight_scales, out, 0, 0, ROWS / 16, COLUMNS / 16, tokens[n], ROWS, 0, 0, 0,
               0);
  MARK;
  for (;;) EXIT;
}
