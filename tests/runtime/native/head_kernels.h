/* The kernels of the lm_head as edgebit/runtime/native/head.c calls them, written for reading. */
#ifndef HEAD_KERNELS_H
#define HEAD_KERNELS_H

#include "plan.h"

enum { HEAD_ROWS, HEAD_SCREEN, HEAD_SCREEN_U4, LM_HEAD_ROWS, LM_HEAD_BF16, LM_HEAD_INT8, QUANTIZE, HEAD_KERNELS };

extern const eb_kernel HEAD_KERNEL_TABLE[HEAD_KERNELS];

#endif
