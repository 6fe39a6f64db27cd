#include "tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

enum { WIDEST = 8 }; /* bytes of an element */

static void *room_for(const eb_tensor_info *info) { return grown(NULL, (size_t)info->bytes + WIDEST, 1); }

tensors tensors_open(const engine *open) {
  tensors all = {.input_count = eb_input_count(open->model), .output_count = eb_output_count(open->model)};
  all.inputs = grown(NULL, (size_t)all.input_count + 1, sizeof *all.inputs);
  all.outputs = grown(NULL, (size_t)all.output_count + 1, sizeof *all.outputs);
  all.given = grown(NULL, (size_t)all.input_count + 1, sizeof *all.given);
  all.made = grown(NULL, (size_t)all.output_count + 1, sizeof *all.made);
  for (int32_t i = 0; i < all.input_count; i++) {
    eb_input_info(open->model, i, &all.inputs[i]);
    all.given[i] = room_for(&all.inputs[i]);
  }
  for (int32_t i = 0; i < all.output_count; i++) {
    eb_output_info(open->model, i, &all.outputs[i]);
    all.made[i] = room_for(&all.outputs[i]);
  }
  return all;
}

void tensors_close(tensors *all) {
  for (int32_t i = 0; i < all->input_count; i++) free(all->given[i]);
  for (int32_t i = 0; i < all->output_count; i++) free(all->made[i]);
  free(all->given);
  free(all->made);
  free(all->inputs);
  free(all->outputs);
}

int tensors_run(const engine *open, const tensors *all) {
  return eb_run(open->session, (const void *const *)all->given, all->made);
}

/* ---- a filter --------------------------------------------------------------------------------------------- */

/* A sentence where stdin does not hold exactly the inputs; "" where it does. */
static void read_inputs(const tensors *all, char error[MESSAGE_BYTES]) {
  for (int32_t i = 0; i < all->input_count; i++) {
    const eb_tensor_info *info = &all->inputs[i];
    size_t got = fread(all->given[i], 1, (size_t)info->bytes, stdin);
    if (got == info->bytes) continue;
    snprintf(error, MESSAGE_BYTES, "stdin ends within input %s: %zu of its %llu bytes", info->name, got,
             (unsigned long long)info->bytes);
    return;
  }
  if (getchar() != EOF) snprintf(error, MESSAGE_BYTES, "stdin holds more than the inputs of the model");
}

int tensors_filter(const engine *open) {
  tensors all = tensors_open(open);
  char error[MESSAGE_BYTES] = "";
  read_inputs(&all, error);
  if (!error[0] && tensors_run(open, &all)) snprintf(error, sizeof error, "%s", eb_session_error(open->session));
  for (int32_t i = 0; i < all.output_count && !error[0]; i++)
    if (fwrite(all.made[i], 1, (size_t)all.outputs[i].bytes, stdout) != all.outputs[i].bytes)
      snprintf(error, sizeof error, "the outputs cannot be written to stdout");
  if (!error[0] && fflush(stdout)) snprintf(error, sizeof error, "the outputs cannot be written to stdout");
  tensors_close(&all);
  if (error[0]) complain("%s", error);
  return error[0] ? EXIT_WRONG : EXIT_FINE;
}

/* ---- the self-test ---------------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

/* Floats from -1 to 1, integers 0 or 1: of a little-endian integer all bytes but the first are 0. */
static void fill(void *data, const eb_tensor_info *info, size_t item_bytes, uint32_t *state) {
  memset(data, 0, (size_t)info->bytes);
  for (size_t at = 0; at < info->bytes; at += item_bytes) {
    uint32_t random = next_random(state);
    float number = (float)(random >> 8) * 0x1p-23f - 1.0f;
    if (info->dtype == EB_FLOAT32)
      memcpy((char *)data + at, &number, sizeof number);
    else
      ((uint8_t *)data)[at] = (uint8_t)(random >> 31);
  }
}

void tensors_fill(tensors *all, uint32_t seed) {
  static const size_t item_bytes[] = {[EB_FLOAT32] = 4, [EB_INT8] = 1,   [EB_UINT8] = 1, [EB_INT16] = 2,
                                      [EB_INT32] = 4,   [EB_UINT32] = 4, [EB_INT64] = 8, [EB_BOOL] = 1};
  uint32_t state = seed * 2654435761u + 1u;
  for (int32_t i = 0; i < all->input_count; i++)
    fill(all->given[i], &all->inputs[i], item_bytes[all->inputs[i].dtype], &state);
}

int tensors_hash(const engine *open, uint32_t seed, char digest[SHA256_TEXT]) {
  tensors all = tensors_open(open);
  tensors_fill(&all, seed);
  int fine = !tensors_run(open, &all);
  sha256 hash;
  sha256_begin(&hash);
  for (int32_t i = 0; i < all.output_count; i++) sha256_add(&hash, all.made[i], (size_t)all.outputs[i].bytes);
  sha256_end(&hash, digest);
  tensors_close(&all);
  return fine;
}
