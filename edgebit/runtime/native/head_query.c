#include "head_query.h"

#include "port.h"

enum { LARGEST_CODE = 32000, LANES = 8 /* sums side by side: the compiler may not reorder one */ };

static double absolute(double x) { return x < 0.0 ? -x : x; }

/* At least sqrt(x), by at most 1e-9 of itself: an arithmetic mean is never below the geometric one, and four of them
 * turn a guess within 7 % into one within 1e-12. */
static double root_above(double x) {
  uint64_t bits;
  double root;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits >> 1) + 0x1ff7a3bea91d9b1bULL; /* halves the exponent */
  memcpy(&root, &bits, sizeof root);
  for (int i = 0; i < 4; i++) root = 0.5 * (root + x / root);
  return root * (1.0 + 1e-9);
}

/* g = Pᵀh */
static void project(const float *components, const float *hidden, int32_t width, double *g) {
  for (int j = 0; j < EB_COMPONENTS; j++) g[j] = 0.0;
  for (int32_t i = 0; i < width; i++, components += EB_COMPONENTS)
    for (int j = 0; j < EB_COMPONENTS; j++) g[j] += (double)hidden[i] * (double)components[j];
}

typedef struct {
  double residual; /* ‖w‖², w = h - Pg */
  double leaked;   /* ‖Pᵀw‖²: 0 when the columns of P are orthonormal */
  double hidden;   /* ‖h‖² */
} squares;

static double residual_at(const float *column, double hidden, const double *g) {
  double sums[LANES] = {0.0};
  for (int j = 0; j < EB_COMPONENTS; j += LANES)
    for (int k = 0; k < LANES; k++) sums[k] += g[j + k] * (double)column[j + k];
  return hidden - (((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7])));
}

/* w goes to `rest`. */
static squares measure(const float *components, const float *hidden, int32_t width, const double *g, double *rest) {
  squares s = {0.0, 0.0, 0.0};
  double y[EB_COMPONENTS] = {0.0};
  for (int32_t i = 0; i < width; i++, components += EB_COMPONENTS) {
    double h = (double)hidden[i], w = residual_at(components, h, g);
    for (int j = 0; j < EB_COMPONENTS; j++) y[j] += w * (double)components[j];
    rest[i] = w;
    s.residual += w * w;
    s.hidden += h * h;
  }
  for (int j = 0; j < EB_COMPONENTS; j++) s.leaked += y[j] * y[j];
  return s;
}

/* Values as step * code + what is left, codes of 16 bits. */
typedef struct {
  double step;
  double sum;     /* of the codes */
  double left;    /* squared norm of what is left */
  double squared; /* norm of step * code */
} coded;

static double step_of(double largest) { return largest > 0.0 ? largest / LARGEST_CODE : 1.0; }

static void encode(coded *c, double value, int8_t *high, int8_t *low) {
  double code = (value / c->step + 0x1.8p52) - 0x1.8p52; /* to the nearest integer */
  double kept = c->step * code, left = value - kept;
  int32_t integer = (int32_t)code, upper = (integer + 128) >> 8;
  *high = (int8_t)upper;
  *low = (int8_t)(integer - 256 * upper);
  c->sum += code;
  c->left += left * left;
  c->squared += kept * kept;
}

static coded encode_state(eb_query *query, const double *values, int32_t plane_width) {
  double largest = 0.0;
  for (int32_t i = 0; i < plane_width; i++)
    if (absolute(values[i]) > largest) largest = absolute(values[i]);
  coded c = {step_of(largest), 0.0, 0.0, 0.0};
  int8_t *high = query->state, *low = high + plane_width;
  for (int32_t i = 0; i < plane_width; i++) encode(&c, values[i], high + i, low + i);
  return c;
}

static coded encode_coefficients(eb_query *query, const double *whitened) {
  double largest = 0.0;
  for (int j = 0; j < EB_COMPONENTS; j++)
    if (absolute(whitened[j]) > largest) largest = absolute(whitened[j]);
  coded c = {step_of(largest), 0.0, 0.0, 0.0};
  for (int j = 0; j < EB_COMPONENTS; j++)
    encode(&c, whitened[j], &query->coefficients[0][j], &query->coefficients[1][j]);
  return c;
}

/* Neither zero nor anything but numbers. */
static int hidden_is_usable(const float *hidden, int32_t width) {
  double sum = 0.0;
  for (int32_t i = 0; i < width; i++) sum += absolute((double)hidden[i]);
  return sum > 0.0 && sum < 0x1p200;
}

/* g / σ; gives 0 when one of it is not a number of ordinary size: only damaged weights make it so. */
static int whiten(const double *g, const double *sigma, double *whitened) {
  double sum = 0.0;
  for (int j = 0; j < EB_COMPONENTS; j++) {
    whitened[j] = g[j] / sigma[j];
    sum += absolute(whitened[j]) + absolute(sigma[j]);
  }
  return sum < 0x1p400;
}

/* What both queries have in common. */
typedef struct {
  coded gamma;
  double residual; /* ‖w‖, rounded up as all norms are */
  double kappa;    /* but for ‖ε‖ */
} prepared;

static void complete(eb_query *query, const prepared *p, coded z) {
  double kappa = root_above(z.left) + p->kappa;
  double numbers[] = {z.step, z.sum, p->gamma.step, p->gamma.sum, p->residual, root_above(p->gamma.squared),
                      kappa * (1.0 + 1e-6), 0.0};
  memcpy(query->numbers, numbers, sizeof numbers);
}

int eb_query_prepare(eb_query *plain, eb_query *rotated, double *scratch, const float *components, const double *sigma,
                     const float *hidden, int32_t width, int32_t plane_width) {
  double g[EB_COMPONENTS], whitened[EB_COMPONENTS], widest = 0.0, *values = scratch, *rest = scratch + plane_width;
  if (!hidden_is_usable(hidden, width)) return 0;
  project(components, hidden, width, g);
  if (!whiten(g, sigma, whitened)) return 0;
  for (int32_t i = 0; i < plane_width; i++) values[i] = i < width ? (double)hidden[i] : 0.0;
  for (int32_t i = width; i < plane_width; i++) rest[i] = 0.0;
  squares norms = measure(components, hidden, width, g, rest);
  prepared p = {encode_coefficients(plain, whitened), root_above(norms.residual), 0.0};
  for (int j = 0; j < EB_COMPONENTS; j++)
    if (sigma[j] > widest) widest = sigma[j];
  double roundings = (width / 64 + 6) * 0x1p-24; /* of the canonical dot product, one after the other */
  p.kappa = widest * root_above(p.gamma.left) + root_above(norms.leaked) +
            (roundings / (1.0 - roundings) + 1e-9) * root_above(norms.hidden);
  complete(plain, &p, encode_state(plain, values, plane_width));
  if (!rotated) return 1;
  memcpy(rotated->coefficients, plain->coefficients, sizeof rotated->coefficients);
  eb_rotate(rest, values, plane_width);
  complete(rotated, &p, encode_state(rotated, rest, plane_width));
  return 1;
}
