/* tensors.h: a graph of tensors in a terminal: raw bytes in, raw bytes out; and its self-test. */
#ifndef RUN_TENSORS_H
#define RUN_TENSORS_H

#include "answer.h"
#include "sha256.h"

/* Reads all inputs from stdin, one behind the other and dense, and writes all outputs to stdout likewise. Gives the exit
 * code; complains of what is too short or too long. */
int tensors_filter(const engine *open);

/* The sha256 of all outputs for the inputs that a seed stands for (edgebit/runtime/tensors.py); 0 where the model cannot
 * run. */
int tensors_hash(const engine *open, uint32_t seed, char digest[SHA256_TEXT]);

#endif
