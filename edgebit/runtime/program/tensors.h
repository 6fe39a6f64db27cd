/* tensors.h: a graph of tensors in a terminal: raw bytes in, raw bytes out; and its self-test. */
#ifndef RUN_TENSORS_H
#define RUN_TENSORS_H

#include "answer.h"
#include "sha256.h"

/* Memory for all inputs and outputs, each on its own. */
typedef struct {
  int32_t input_count, output_count;
  eb_tensor_info *inputs, *outputs;
  void **given, **made;
} tensors;

tensors tensors_open(const engine *open);
void tensors_close(tensors *all);

/* The inputs that a seed stands for (edgebit/runtime/tensors.py). */
void tensors_fill(tensors *all, uint32_t seed);

/* Computes the outputs; what eb_run gives. */
int tensors_run(const engine *open, const tensors *all);

/* Reads all inputs from stdin, one behind the other and dense, and writes all outputs to stdout likewise. Gives the exit
 * code; complains of what is too short or too long. */
int tensors_filter(const engine *open);

/* The sha256 of all outputs for the inputs that a seed stands for; 0 where the model cannot run. */
int tensors_hash(const engine *open, uint32_t seed, char digest[SHA256_TEXT]);

#endif
