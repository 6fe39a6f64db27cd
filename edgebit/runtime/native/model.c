#include "model.h"

#include "cpu.h"
#include "execute.h"
#include "message.h"
#include "port.h"

#define EB_VERSION "1.2"

/* ---- opening ---------------------------------------------------------------------------------------------- */

static char *join(const char *directory, const char *name) {
  size_t a = strlen(directory), b = strlen(name);
  char *path = malloc(a + 1 + b + 1);
  if (!path) return NULL;
  memcpy(path, directory, a);
  path[a] = '/';
  memcpy(path + a + 1, name, b + 1);
  return path;
}

static int check_weights(const eb_plan *plan, const eb_mapping *file, const char *path, char *error,
                         int32_t error_size) {
  if (file->bytes < sizeof(eb_weights_header)) {
    eb_message(error, error_size, "%s is damaged: %llu bytes, too short for a header", path,
               (unsigned long long)file->bytes);
    return 0;
  }
  const eb_weights_header *header = (const eb_weights_header *)file->data;
  if (memcmp(header->magic, EB_WEIGHTS_MAGIC, sizeof header->magic)) {
    eb_message(error, error_size, "%s is not a weights file: it does not begin with %s", path, EB_WEIGHTS_MAGIC);
    return 0;
  }
  if (header->format != EB_WEIGHTS_FORMAT) {
    eb_message(error, error_size, "%s has format %llu, this runtime reads format %d", path,
               (unsigned long long)header->format, EB_WEIGHTS_FORMAT);
    return 0;
  }
  if (header->file_bytes != file->bytes || plan->weights_bytes != file->bytes) {
    eb_message(error, error_size, "%s is damaged or of another model: %llu bytes, expected %llu", path,
               (unsigned long long)file->bytes, (unsigned long long)plan->weights_bytes);
    return 0;
  }
  if (memcmp(header->id, plan->weights_id, sizeof header->id)) {
    eb_message(error, error_size, "%s belongs to another model than libmodel.so: compile both together", path);
    return 0;
  }
  return 1;
}

static int open_weights(eb_model *model, const char *path, char *error, int32_t error_size) {
  enum eb_map_result result = eb_map_file(path, &model->weights, &model->weights_file);
  if (result != EB_MAPPED) {
    const char *no_room = sizeof(void *) == 4 ? "no address space to map %s: weights over 2 GB need a 64-bit system"
                                              : "no address space to map %s";
    eb_message(error, error_size, result == EB_MAP_NO_FILE ? "%s cannot be read" : no_room, path);
    return 0;
  }
  if (!check_weights(model->plan, &model->weights, path, error, error_size)) return 0;
  if (!eb_check_head_weights(model->plan, model->weights.data, model->weights.bytes)) {
    eb_message(error, error_size, "%s is damaged: the escapes of its lm_head reach beyond its end", path);
    return 0;
  }
  eb_prefer_huge_pages(&model->weights);
  return 1;
}

/* A model without text (an encoder) has no tokenizer.bin; manifest.json says which files belong to a bundle. */
static int open_text(eb_model *model, const char *path, char *error, int32_t error_size) {
  enum eb_map_result result = eb_map_file(path, &model->tokenizer, NULL);
  if (result == EB_MAP_NO_FILE) return 1;
  char reason[160];
  if (result != EB_MAPPED) {
    eb_message(error, error_size, "no address space to map %s", path);
    return 0;
  }
  if (!eb_text_open(&model->text, model->tokenizer.data, model->tokenizer.bytes, reason, sizeof reason)) return 1;
  eb_message(error, error_size, "%s: %s", path, reason);
  return 0;
}

static int open_files(eb_model *model, const char *directory, char *error, int32_t error_size) {
  char *weights = join(directory, "weights.bin"), *tokenizer = join(directory, "tokenizer.bin");
  int opened = 0;
  if (weights && tokenizer)
    opened = open_weights(model, weights, error, error_size) && open_text(model, tokenizer, error, error_size);
  else
    eb_message(error, error_size, "no memory to open the model");
  free(weights);
  free(tokenizer);
  return opened;
}

eb_model *eb_open(const char *directory, char *error, int32_t error_size) {
  const eb_plan *plan = &eb_model_plan;
  if (!directory) {
    eb_message(error, error_size, "eb_open: the bundle folder is a null pointer");
    return NULL;
  }
  if (!eb_check_plan(plan, error, error_size)) return NULL;
  const eb_tier *tier = eb_choose_tier(plan, eb_cpu_features(), getenv("EDGEBIT_TIER"), error, error_size);
  if (!tier) return NULL;
  eb_model *model = malloc(sizeof *model);
  if (!model) {
    eb_message(error, error_size, "no memory to open the model");
    return NULL;
  }
  memset(model, 0, sizeof *model);
  model->plan = plan;
  model->tier = tier;
  model->weights_file = -1;
  if (open_files(model, directory, error, error_size)) return model;
  eb_close(model);
  return NULL;
}

void eb_close(eb_model *model) {
  if (!model) return;
  eb_unmap(&model->weights);
  if (model->weights_file >= 0) eb_close_file(model->weights_file);
  eb_unmap(&model->tokenizer);
  free(model);
}

/* ---- facts ------------------------------------------------------------------------------------------------ */

void eb_info(const eb_model *model, eb_model_info *info) {
  const eb_plan *plan = model->plan;
  *info = (eb_model_info){
      .vocab_size = (int32_t)plan->vocab_size,
      .hidden_size = (int32_t)plan->hidden_size,
      .num_layers = (int32_t)plan->num_layers,
      .context = (int32_t)plan->context,
      .chunk = (int32_t)plan->chunk,
      .task = (int32_t)eb_task_of(plan),
      .weights_bytes = plan->weights_bytes,
      .arena_bytes = plan->arena_bytes,
      .cache_bytes = plan->cache_bytes,
      .scratch_bytes = plan->scratch_bytes,
  };
}

const char *eb_tier_name(const eb_model *model) { return model->tier->name; }

const char *eb_version(void) { return EB_VERSION; }
