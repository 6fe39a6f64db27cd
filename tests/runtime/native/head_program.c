/* Screening without files, for ThreadSanitizer and emulators. */
#include "head_program.h"

#include "edgebit.h"
#include "head_kernels.h"
#include "port.h"

#include <stddef.h>

void *eb_probe_head_open(const eb_head *head, uint32_t vocab_size, uint32_t chunk, uint8_t *weights,
                         long weights_file, float *hidden, int32_t threads);
void eb_probe_head_close(void *probe);
void eb_probe_head_logits(void *probe, int32_t first, int32_t rows, float *logits);
int32_t eb_probe_head_choose(void *probe, int32_t row, const eb_sampling *sampling, int32_t position,
                             uint64_t *scratch);
int32_t eb_probe_sample(const float *logits, int32_t count, const eb_sampling *sampling, int32_t position,
                        uint64_t *scratch);

enum { ROWS = 160, VALUES = 50, WIDTH = 64, PLANE_WIDTH = 256 };

/* Row v has the value v % VALUES in its first column alone; screening knows it by its first coefficient. */
typedef struct {
  _Alignas(64) uint8_t plane1[ROWS][128 + PLANE_WIDTH / 4 * 3], plane2[ROWS][PLANE_WIDTH / 4 * 5];
  float bounds[ROWS / 16][5][16];
  uint32_t escape_index[ROWS + 1], escapes[1];
  uint16_t outlier_columns[16], outliers[ROWS][16];
  _Alignas(64) float components[PLANE_WIDTH][64];
  double sigma[64];
  _Alignas(64) float hidden[WIDTH];
} small_head;

static void fill(small_head *h) {
  for (int32_t j = 0; j < 64; j++) h->sigma[j] = 1.0;
  for (uint16_t i = 0; i < 16; i++) h->outlier_columns[i] = i;
  h->components[0][0] = 1.0f;
  for (int32_t v = 0; v < ROWS; v++) {
    float value = (float)(v % VALUES);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    h->outliers[v][0] = (uint16_t)(bits >> 16);
    for (int32_t j = 0; j < 64; j++) h->plane1[v][j] = 128; /* coefficients + 32768 */
    h->plane1[v][64] = (uint8_t)(v % VALUES);
    h->bounds[v / 16][1][v % 16] = 1.0f;  /* unit of the coefficients */
    h->bounds[v / 16][4][v % 16] = value; /* norm */
  }
  for (int32_t i = 0; i < WIDTH; i++) h->hidden[i] = (float)(i % 5 + 1);
}

int wrong_screening(int32_t threads) {
  static small_head h;
#define AT(field) .field = offsetof(small_head, field)
  const eb_head head = {.kind = EB_HEAD_EXACT, .width = WIDTH, .plane_width = PLANE_WIDTH, .lm_head = LM_HEAD_ROWS,
                        .rows = HEAD_ROWS, .screen = HEAD_SCREEN, AT(plane1), AT(plane2), AT(bounds), AT(escape_index),
                        AT(escapes), .outliers = offsetof(small_head, outlier_columns), AT(components), AT(sigma)};
  const eb_sampling settings[] = {{0}, {.temperature = 1.0f, .top_k = 7}, {.temperature = 0.1f},
                                  {.temperature = 0.5f, .min_p = 0.5f}};
  float logits[ROWS];
  uint64_t scratch[ROWS];
  int wrong = 0;
  fill(&h);
  void *probe = eb_probe_head_open(&head, ROWS, 1, (uint8_t *)&h, -1, h.hidden, threads);
  for (int32_t i = 0; i < 40; i++) {
    int32_t found = eb_probe_head_choose(probe, 0, &settings[i % 4], i, scratch);
    eb_probe_head_logits(probe, 0, 1, logits);
    wrong |= found != eb_probe_sample(logits, ROWS, &settings[i % 4], i, scratch);
  }
  eb_probe_head_close(probe);
  return wrong;
}
