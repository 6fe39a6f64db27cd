#include "head_query.h"
#include "noise.h"

enum { BLOCK = 256 };

/* Hadamard transforms of blocks, not normalised. */
static void transform(double *x, int32_t width) {
  for (int32_t half = 1; half < BLOCK; half *= 2)
    for (int32_t first = 0; first < width; first += 2 * half)
      for (int32_t i = first; i < first + half; i++) {
        double sum = x[i] + x[i + half], difference = x[i] - x[i + half];
        x[i] = sum;
        x[i + half] = difference;
      }
}

static void flip_signs(double *x, int32_t width, uint32_t first) {
  for (int32_t i = 0; i < width; i++)
    if (eb_noise_bits(0, first + (uint32_t)i) >> 63) x[i] = -x[i];
}

void eb_rotate(double *x, double *scratch, int32_t width) {
  const int32_t blocks = width / BLOCK;
  flip_signs(x, width, 0);
  transform(x, width);
  for (int32_t block = 0; block < blocks; block++) /* dealt out: each block gets some of every other */
    for (int32_t i = 0; i < BLOCK; i++) scratch[i * blocks + block] = x[block * BLOCK + i];
  flip_signs(scratch, width, (uint32_t)width);
  transform(scratch, width);
  for (int32_t i = 0; i < width; i++) x[i] = scratch[i] / BLOCK;
}
