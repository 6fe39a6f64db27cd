/* check.c: a plan is checked once, when the model is opened, so that walking it needs no checks. */
#include "execute.h"
#include "head.h"
#include "head_query.h"
#include "message.h"

enum { MOST_UNITS = 1 << 28 }; /* of a constant, and for each chunk or tile: no product of them overflows */

typedef struct {
  const eb_plan *plan;
  const char *name; /* "decode", "prefill", "head" */
  const eb_step *steps;
  uint32_t step_count;
  uint32_t most_tokens, most_rows;
} step_list;

uint64_t eb_space_bytes(const eb_plan *plan, uint32_t space) {
  switch (space) {
    case EB_WEIGHTS: return plan->weights_bytes;
    case EB_ARENA: return plan->arena_bytes;
    case EB_CACHE: return plan->cache_bytes;
    case EB_SCRATCH: return plan->scratch_bytes;
    case EB_TOKENS: return (uint64_t)plan->chunk * sizeof(int32_t);
    default: return 0;
  }
}

static uint32_t most_units(const step_list *list, const eb_step *step) {
  uint32_t value = (uint32_t)step->units.value;
  switch (step->units.kind) {
    case EB_TOKEN_COUNT: return list->most_tokens;
    case EB_KEY_CHUNKS: return value * ((list->plan->context + EB_KEY_CHUNK - 1) / EB_KEY_CHUNK);
    case EB_QUERY_TILES: return value * ((list->most_tokens + EB_QUERY_TILE - 1) / EB_QUERY_TILE);
    default: return value;
  }
}

static int units_are_known(const eb_step *step) {
  uint32_t kind = step->units.kind;
  return kind == EB_CONSTANT || kind == EB_TOKEN_COUNT || kind == EB_KEY_CHUNKS || kind == EB_QUERY_TILES;
}

/* The last unit of the last row must begin inside the space. */
static int buffer_fits(const step_list *list, const eb_step *step, const eb_argument *argument) {
  if (argument->space == EB_NONE) return 1;
  uint64_t bytes = eb_space_bytes(list->plan, argument->space);
  uint32_t units = most_units(list, step);
  uint64_t last = (uint64_t)(units ? units - 1 : 0) * argument->unit_stride;
  uint64_t row = (uint64_t)(list->most_rows - 1) * argument->row_stride;
  if (argument->offset >= bytes) return 0;
  bytes -= argument->offset;
  if (last >= bytes) return 0;
  return row < bytes - last;
}

/* What is wrong with a step; NULL: nothing. */
static const char *step_fault(const step_list *list, const eb_step *step, int *index) {
  *index = 0;
  if (step->kernel >= list->plan->kernel_count) return "names a kernel that is not there, slot";
  if (step->grain < 1) return "has grain 0, slot";
  if (step->everywhere > 1) return "is done in no known way, slot";
  if (!units_are_known(step)) return "has units of no kind, slot";
  if (step->units.value < 0 || step->units.value > MOST_UNITS) return "has too few or too many units, slot";
  for (*index = 0; *index < EB_BUFFERS; ++*index)
    if (!buffer_fits(list, step, &step->buffers[*index])) return "starts outside its memory, buffer";
  for (*index = 0; *index < EB_SCALARS; ++*index)
    if (step->scalars[*index].kind > EB_QUERY_TILES) return "has a scalar of no kind, scalar";
  return NULL;
}

static int check_steps(step_list list, char *error, int32_t error_size) {
  if (list.step_count < 1) { /* without a barrier the threads would lose each other */
    eb_message(error, error_size, "libmodel.so is damaged: its %s plan has no steps", list.name);
    return 0;
  }
  if (list.steps[list.step_count - 1].everywhere) {
    eb_message(error, error_size, "libmodel.so is damaged: its %s plan ends without a barrier", list.name);
    return 0;
  }
  for (uint32_t i = 0; i < list.step_count; i++) {
    int index;
    const char *fault = step_fault(&list, &list.steps[i], &index);
    if (!fault) continue;
    eb_message(error, error_size, "libmodel.so is damaged: step %d of its %s plan %s %d", (int)i, list.name, fault,
               index);
    return 0;
  }
  return 1;
}

static int check_tiers(const eb_plan *plan, char *error, int32_t error_size) {
  for (uint32_t i = 0; i < plan->tier_count; i++)
    for (uint32_t k = 0; k < plan->kernel_count; k++)
      if (!plan->tiers[i].kernels[k]) {
        eb_message(error, error_size, "libmodel.so is damaged: tier %s has no kernel %d", plan->tiers[i].name, (int)k);
        return 0;
      }
  return 1;
}

static int bytes_fit(uint64_t offset, uint64_t bytes, uint64_t space) {
  return offset <= space && bytes <= space - offset;
}

/* A section of weights.bin that the lm_head reads. */
typedef struct {
  uint64_t offset, bytes;
} section;

static int sections_fit(const eb_plan *plan, const section *sections, int count) {
  for (int i = 0; i < count; i++)
    if (sections[i].offset % EB_ALIGNMENT || !bytes_fit(sections[i].offset, sections[i].bytes, plan->weights_bytes))
      return 0;
  return 1;
}

static int tables_fit(const eb_plan *plan) {
  const eb_head *head = &plan->logits;
  uint64_t vocab_size = plan->vocab_size, blocks = eb_row_blocks(plan), width = head->plane_width;
  const section full[] = {{head->table, vocab_size * head->width * sizeof(uint16_t)}};
  const section int8[] = {{head->table, vocab_size * head->width}, {head->scales, vocab_size * sizeof(float)}};
  const section planes[] = {
      {head->plane1, blocks * EB_BLOCK * eb_plane1_row(head)},
      {head->plane2, vocab_size * eb_plane2_row(head)},
      {head->bounds, blocks * EB_BLOCK_BOUNDS},
      {head->escape_index, (vocab_size + 1) * sizeof(uint32_t)},
      {head->escapes, 0},
      {head->outliers, (vocab_size + 1) * EB_OUTLIER_BYTES},
      {head->components, width * EB_COMPONENTS * sizeof(float)},
      {head->sigma, EB_COMPONENTS * sizeof(double)},
  };
  const section codes[] = {
      {head->codes, blocks * EB_BLOCK * eb_codes_row(head)},
      {head->code_bounds, blocks * EB_BLOCK_BOUNDS},
  };
  const int planes_fit = !eb_has_planes(head) || sections_fit(plan, planes, sizeof planes / sizeof planes[0]);
  switch (head->kind) {
    case EB_HEAD_FULL: return sections_fit(plan, full, 1);
    case EB_HEAD_INT8: return sections_fit(plan, int8, 2);
    case EB_HEAD_S4: return planes_fit && sections_fit(plan, codes, sizeof codes / sizeof codes[0]);
    default: return planes_fit;
  }
}

static int has_kernels(const eb_plan *plan) {
  const eb_head *head = &plan->logits;
  if (head->lm_head >= plan->kernel_count) return 0;
  if (head->kind == EB_HEAD_S4 && head->screen_codes >= plan->kernel_count) return 0;
  if (eb_has_planes(head)) return head->rows < plan->kernel_count && head->screen < plan->kernel_count;
  return head->kind == EB_HEAD_FULL || head->quantize < plan->kernel_count;
}

/* What is wrong with how logits are made; NULL: nothing. */
static const char *head_fault(const eb_plan *plan) {
  const eb_head *head = &plan->logits;
  uint64_t row = (uint64_t)head->width * sizeof(float);
  if (head->kind > EB_HEAD_S4) return "is of no kind";
  if (!head->width || head->width % 64 || head->width > 1u << 24) return "has a width that is no multiple of 64";
  if (eb_has_planes(head) && (head->plane_width % 256 || head->plane_width / 256 != (head->width + 255) / 256))
    return "has planes of another width";
  if (!has_kernels(plan)) return "names a kernel that is not there";
  if (head->hidden % EB_ALIGNMENT || !bytes_fit(head->hidden, row * plan->chunk, plan->arena_bytes))
    return "reads outside the arena";
  if (!tables_fit(plan)) return "reads outside the weights";
  return NULL;
}

/* What is wrong with how embeddings are made; NULL: nothing. */
static const char *pooling_fault(const eb_plan *plan) {
  const eb_pooling *pooling = &plan->pooling;
  uint64_t row = (uint64_t)pooling->width * sizeof(float);
  if (pooling->kind != EB_POOL_LAST && pooling->kind != EB_POOL_MEAN) return "is of no kind";
  if (pooling->width < plan->hidden_size || pooling->width % 64 || pooling->width > 1u << 24)
    return "has a width that is no multiple of 64";
  if (pooling->normalize >= plan->kernel_count) return "names a kernel that is not there";
  if (pooling->state % EB_ALIGNMENT || !bytes_fit(pooling->state, 2 * row, plan->arena_bytes))
    return "reads outside the arena";
  return NULL;
}

static int check_end(const eb_plan *plan, char *error, int32_t error_size) {
  const int embeds = plan->logits.kind == EB_HEAD_NONE;
  const char *fault = embeds ? pooling_fault(plan) : head_fault(plan);
  if (!fault && !embeds && plan->pooling.kind != EB_POOL_NONE) fault = "stands beside a pooling";
  if (fault)
    eb_message(error, error_size, "libmodel.so is damaged: its %s %s", embeds ? "pooling" : "lm_head", fault);
  return !fault;
}

int eb_check_head_weights(const eb_plan *plan, const uint8_t *weights, uint64_t bytes) {
  const eb_head *head = &plan->logits;
  if (!eb_has_planes(head)) return 1;
  const uint32_t *escapes = (const uint32_t *)(const void *)(weights + head->escape_index);
  return bytes_fit(head->escapes, escapes[plan->vocab_size] * (uint64_t)EB_ESCAPE_BYTES, bytes);
}

static int tensors_fit(const eb_plan *plan, const eb_tensor *tensors, uint32_t count, int may_be_weights) {
  if (count < 1 || count > EB_MOST_TENSORS) return 0;
  for (uint32_t i = 0; i < count; i++) {
    const eb_tensor *tensor = &tensors[i];
    const uint32_t space = tensor->place.space;
    if (!tensor->info.name || tensor->info.rank < 0 || tensor->info.rank > EB_MOST_DIMENSIONS) return 0;
    if (space != EB_ARENA && !(may_be_weights && space == EB_WEIGHTS)) return 0;
    if (!bytes_fit(tensor->place.offset, tensor->info.bytes, eb_space_bytes(plan, space))) return 0;
  }
  return 1;
}

static int check_graph(const eb_plan *plan, char *error, int32_t error_size) {
  step_list run = {plan, "run", plan->run, plan->run_steps, 1, 1};
  if (!check_tiers(plan, error, error_size) || !check_steps(run, error, error_size)) return 0;
  if (tensors_fit(plan, plan->inputs, plan->input_count, 0) && tensors_fit(plan, plan->outputs, plan->output_count, 1))
    return 1;
  eb_message(error, error_size, "libmodel.so is damaged: inputs or outputs of its graph lie outside its memory");
  return 0;
}

int eb_check_plan(const eb_plan *plan, char *error, int32_t error_size) {
  const uint32_t most = 1u << 30;
  if (plan->format != EB_PLAN_FORMAT) {
    eb_message(error, error_size, "libmodel.so has plan format %d, this runtime reads format %d", (int)plan->format,
               EB_PLAN_FORMAT);
    return 0;
  }
  if (eb_task_of(plan) == EB_TASK_RUN) return check_graph(plan, error, error_size);
  if (!plan->vocab_size || plan->vocab_size > most || !plan->context || plan->context > most || !plan->chunk ||
      plan->chunk > most) {
    eb_message(error, error_size, "libmodel.so is damaged: vocabulary %llu, context %llu, chunk %llu",
               (unsigned long long)plan->vocab_size, (unsigned long long)plan->context,
               (unsigned long long)plan->chunk);
    return 0;
  }
  step_list decode = {plan, "decode", plan->decode, plan->decode_steps, 1, 1};
  step_list prefill = {plan, "prefill", plan->prefill, plan->prefill_steps, plan->chunk, 1};
  step_list head = {plan, "head", plan->head, plan->head_steps, 1, plan->chunk};
  return check_tiers(plan, error, error_size) && check_steps(decode, error, error_size) &&
         check_steps(prefill, error, error_size) && check_steps(head, error, error_size) &&
         check_end(plan, error, error_size);
}
