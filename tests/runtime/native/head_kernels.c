#include "head_kernels.h"

#include "port.h"

#define PARAMETERS                                                                                          \
  void *b0, void *b1, void *b2, void *b3, void *b4, void *b5, void *b6, void *b7, int32_t s0, int32_t s1,   \
      int32_t s2, int32_t s3, int32_t s4, int32_t s5, int32_t s6, int32_t s7
#define UNUSED_TAIL (void)s3, (void)s4, (void)s5, (void)s6, (void)s7

enum { BLOCK = 16, COEFFICIENTS = 64, OUTLIERS = 16 };

static float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* ---- planes ----------------------------------------------------------------------------------------------- */

/* Upper six bits of a column's code, from the lines of its group of 256. */
static int upper_bits(const uint8_t *plane1_row, int32_t column) {
  const uint8_t *group = plane1_row + 2 * COEFFICIENTS + column / 256 * 192;
  int32_t quarter = column % 256 / 64, j = column % 64;
  int nibble = group[(quarter / 2) * 64 + j] >> (quarter % 2 * 4) & 15;
  return nibble << 2 | (group[128 + j] >> (2 * quarter) & 3);
}

static int code_of(const uint8_t *plane1_row, const uint8_t *plane2_row, int32_t width, int32_t column) {
  int low = plane2_row[column], crumbs = plane2_row[width + column / 256 * 64 + column % 64];
  return upper_bits(plane1_row, column) << 10 | (crumbs >> (column % 256 / 64 * 2) & 3) << 8 | low;
}

/* ---- screening -------------------------------------------------------------------------------------------- */

static int32_t wide(const int8_t *high, const int8_t *low, int32_t i) { return 256 * high[i] + low[i]; }

/* The same of codes of four bits. */
static int nibble(const uint8_t *codes_row, int32_t column) {
  int32_t quarter = column % 256 / 64;
  const uint8_t *line = codes_row + 2 * COEFFICIENTS + column / 256 * 128 + quarter / 2 * 64;
  return line[column % 64] >> (quarter % 2 * 4) & 15;
}

typedef struct {
  const uint8_t *row;
  const float *bounds; /* S, sa, N, A, K, each of 16 rows */
  int32_t lane, bits; /* of a code: 6 or 4 */
} screened_row;

static double estimate_row(screened_row r, const int8_t *z, const int8_t *gamma, const double *query, int32_t width) {
  int64_t codes = 0, coefficients = 0;
  for (int32_t i = 0; i < width; i++) codes += (r.bits == 6 ? upper_bits : nibble)(r.row, i) * wide(z, z + width, i);
  for (int32_t j = 0; j < COEFFICIENTS; j++)
    coefficients += (256 * r.row[j] + r.row[COEFFICIENTS + j] - 32768) * wide(gamma, gamma + COEFFICIENTS, j);
  double scale = (double)r.bounds[r.lane] * query[0], whitened = (double)r.bounds[BLOCK + r.lane] * query[2];
  double x = r.bits == 6 ? 4.0 * (double)codes - 126.0 * query[1] : 2.0 * (double)codes - 15.0 * query[1];
  return scale * x + whitened * (double)coefficients;
}

/* 0 rows, 1 bounds, 2 z, 3 gamma, 4 query, 5 estimates, 6 upper bounds, 7 peaks | blocks, width / 256, bits */
static void screen(PARAMETERS) {
  UNUSED_TAIL;
  const double *query = b4;
  float *estimates = b5, *upper = b6, *peaks = b7;
  int32_t width = s1 * 256;
  for (int32_t i = 0; i < s0 * BLOCK; i++) {
    screened_row r = {(const uint8_t *)b0 + (size_t)i * (size_t)(128 + width / 8 * s2),
                      (const float *)b1 + i / BLOCK * 5 * BLOCK, i % BLOCK, s2};
    float estimate = (float)estimate_row(r, b2, b3, query, width);
    double left = (double)r.bounds[2 * BLOCK + r.lane] * query[4] +
                  (double)r.bounds[3 * BLOCK + r.lane] * query[5] +
                  (double)r.bounds[4 * BLOCK + r.lane] * query[6];
    float bound = (float)(left * (1.0 + 0x1p-22) + 0x1p-147), size = estimate < 0.0f ? -estimate : estimate;
    float *peak = peaks + i / BLOCK * 2;
    estimates[i] = estimate;
    upper[i] = bound < 0x1p40f ? estimate + bound + (size + bound) * 0x1p-21f : __builtin_inff();
    if (i % BLOCK == 0 || estimate > peak[0]) peak[0] = estimate;
    if (i % BLOCK == 0 || upper[i] > peak[1]) peak[1] = upper[i];
  }
}

static void head_screen(PARAMETERS) {
  (void)s2, UNUSED_TAIL;
  screen(b0, b1, b2, b3, b4, b5, b6, b7, s0, s1, 6, 0, 0, 0, 0, 0);
}

static void head_screen_u4(PARAMETERS) {
  (void)s2, UNUSED_TAIL;
  screen(b0, b1, b2, b3, b4, b5, b6, b7, s0, s1, 4, 0, 0, 0, 0, 0);
}

/* 0 tokens, 1 plane 1, 2 plane 2, 3 bounds, 4 escape index, 5 escapes, 6 outliers, 7 rows
 * | count, width / 256, stride, whether plane 2 holds these rows only */
static void head_rows(PARAMETERS) {
  (void)s4, (void)s5, (void)s6, (void)s7;
  const uint32_t *index = b4;
  const uint16_t *escapes = b5, *outliers = b6;
  int32_t width = s1 * 256;
  for (int32_t i = 0; i < s0; i++) {
    int32_t token = ((const int32_t *)b0)[i];
    const uint8_t *plane1 = (const uint8_t *)b1 + (size_t)token * (size_t)(128 + width / 4 * 3);
    const uint8_t *plane2 = (const uint8_t *)b2 + (size_t)(s3 ? i : token) * (size_t)(width / 4 * 5);
    float scale = ((const float *)b3)[token / BLOCK * 5 * BLOCK + token % BLOCK];
    float *out = (float *)b7 + (size_t)i * (size_t)s2;
    for (int32_t column = 0; column < s2; column++)
      out[column] = (float)(code_of(plane1, plane2, width, column) - 32768) * scale / 256.0f;
    for (uint32_t e = index[token]; e < index[token + 1]; e++)
      if (escapes[2 * e] < s2) out[escapes[2 * e]] = float_of_bits((uint32_t)escapes[2 * e + 1] << 16);
    for (int32_t k = 0; k < OUTLIERS; k++)
      if (outliers[k] < s2) out[outliers[k]] = float_of_bits((uint32_t)outliers[(token + 1) * OUTLIERS + k] << 16);
  }
}

/* ---- logits ----------------------------------------------------------------------------------------------- */

/* 64 chains and a tree of halves. Every product is exact: hidden states have 16 significant bits. */
static float dot(const float *a, const float *b, int32_t blocks) {
  float sums[64] = {0.0f};
  for (int32_t i = 0; i < blocks * 64; i++) sums[i % 64] += a[i] * b[i];
  for (int32_t half = 32; half; half /= 2)
    for (int32_t i = 0; i < half; i++) sums[i] += sums[i + half];
  return sums[0];
}

/* 0 rows float, 1 hidden, 2 logits | count, blocks of 64 */
static void lm_head_rows(PARAMETERS) {
  (void)b3, (void)b4, (void)b5, (void)b6, (void)b7, (void)s2, UNUSED_TAIL;
  for (int32_t i = 0; i < s0; i++) ((float *)b2)[i] = dot((const float *)b0 + (size_t)i * (size_t)s1 * 64, b1, s1);
}

/* 0 table bfloat16, 1 hidden, 2 logits | count, blocks of 64 */
static void lm_head_bf16(PARAMETERS) {
  (void)b3, (void)b4, (void)b5, (void)b6, (void)b7, (void)s2, UNUSED_TAIL;
  float row[1024];
  for (int32_t i = 0; i < s0; i++) {
    const uint16_t *table = (const uint16_t *)b0 + i * s1 * 64;
    for (int32_t j = 0; j < s1 * 64; j++) row[j] = float_of_bits((uint32_t)table[j] << 16);
    ((float *)b2)[i] = dot(row, b1, s1);
  }
}

/* 0 codes, 1 scales, 2 q, 3 sum, 4 scale of q, 5 logits | count, blocks of 64 */
static void lm_head_int8(PARAMETERS) {
  (void)b6, (void)b7, (void)s2, UNUSED_TAIL;
  for (int32_t i = 0; i < s0; i++) {
    int32_t sum = 0;
    for (int32_t j = 0; j < s1 * 64; j++) sum += ((const uint8_t *)b0)[i * s1 * 64 + j] * ((const int8_t *)b2)[j];
    float scale = ((const float *)b1)[i] / *(const float *)b4;
    ((float *)b5)[i] = (float)(sum - 128 * *(const int32_t *)b3) * scale;
  }
}

/* 0 x, 1 q, 2 sums, 3 scales | count, blocks of 64 */
static void quantize(PARAMETERS) {
  (void)b4, (void)b5, (void)b6, (void)b7, (void)s2, UNUSED_TAIL;
  for (int32_t i = 0; i < s0; i++) {
    const float *x = (const float *)b0 + i * s1 * 64;
    float largest = 1e-5f;
    int32_t sum = 0;
    for (int32_t j = 0; j < s1 * 64; j++)
      if ((x[j] < 0.0f ? -x[j] : x[j]) > largest) largest = x[j] < 0.0f ? -x[j] : x[j];
    float scale = 127.0f / largest;
    for (int32_t j = 0; j < s1 * 64; j++) {
      int8_t q = (int8_t)((x[j] * scale + 12582912.0f) - 12582912.0f);
      ((int8_t *)b1)[i * s1 * 64 + j] = q;
      sum += q;
    }
    ((int32_t *)b2)[i] = sum;
    ((float *)b3)[i] = scale;
  }
}

const eb_kernel HEAD_KERNEL_TABLE[HEAD_KERNELS] = {
    [HEAD_ROWS] = head_rows,       [HEAD_SCREEN] = head_screen,   [HEAD_SCREEN_U4] = head_screen_u4, [LM_HEAD_ROWS] = lm_head_rows,
    [LM_HEAD_BF16] = lm_head_bf16, [LM_HEAD_INT8] = lm_head_int8, [QUANTIZE] = quantize,
};
