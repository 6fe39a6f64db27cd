#ifndef HEAD_PROGRAM_H
#define HEAD_PROGRAM_H

#include <stdint.h>

/* 0 when some threads find by screening the tokens that all logits give. */
int wrong_screening(int32_t threads);

#endif
