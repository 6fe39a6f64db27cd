/* head_query.h: a hidden state as certified screening reads it.
 *
 * Screening estimates the logit of a row of the embedding e from its first plane ê and 64 coefficients c = Pᵀ(e - ê),
 * and bounds what the estimate leaves out. With g = Pᵀh and w = h - Pg the logit is
 *   e·h = ê·h + c·g + (e - ê - Pc)·w + c·(Pᵀw)
 * where h and g are read as 16-bit integers: h = t z + ε, g / σ = τ γ + ε_g.
 *
 * Codes of 4 bits ŷ are screened with Rw in the place of h (edgebit/compiler/head_s4.py), R an orthogonal matrix.
 */
#ifndef EB_HEAD_QUERY_H
#define EB_HEAD_QUERY_H

#include "memory.h"

#include <stdint.h>

enum { EB_COMPONENTS = 64 };

typedef struct eb_query {
  _Alignas(EB_ALIGNMENT) double numbers[8];                  /* t, Σz, τ, Σγ, ‖w‖, ‖τγ‖, κ, 0; norms rounded up */
  _Alignas(EB_ALIGNMENT) int8_t coefficients[2][EB_COMPONENTS]; /* γ: high bytes, then low bytes */
  int8_t *state;                                             /* z, int8 [2][plane_width]: likewise */
} eb_query;

/* Prepares `plain` and, unless it is NULL, `rotated` for a hidden state [width]; columns of the states from `width` on
 * are zero. scratch: double [2][plane_width].
 * components: float [width][64], P; sigma: double [64], σ. Gives 0 when nothing can be certified: the hidden state is
 * zero or not finite. */
int eb_query_prepare(eb_query *plain, eb_query *rotated, double *scratch, const float *components, const double *sigma,
                     const float *hidden, int32_t width, int32_t plane_width);

/* R x in the place of x; width is a multiple of 256 (edgebit/compiler/head_rotation.py). */
void eb_rotate(double *x, double *scratch, int32_t width);

#endif
