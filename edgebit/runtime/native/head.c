#include "head.h"

enum { ROWS_AT_ONCE = 64 }; /* of the table: they stay in the first cache while all hidden states meet them */

static const float *hidden_state(const eb_execution *execution, const eb_head *head, int32_t row) {
  return (const float *)(void *)(execution->base[EB_ARENA] + head->hidden +
                                 (uint64_t)row * head->width * sizeof(float));
}

static void table_rows(const eb_execution *execution, const eb_head *head, uint32_t begin, uint32_t count,
                       const float *hidden, float *logits) {
  uint8_t *table = execution->base[EB_WEIGHTS] + head->table + (uint64_t)begin * head->width * sizeof(uint16_t);
  execution->kernels[head->lm_head](table, (void *)hidden, logits + begin, NULL, NULL, NULL, NULL, NULL,
                                    (int32_t)count, (int32_t)(head->width / 64), 0, 0, 0, 0, 0, 0);
}

void eb_head_full(const eb_execution *execution, const eb_plan *plan, int32_t first, int32_t rows, float *logits,
                  eb_team *team, int32_t thread) {
  const eb_head *head = &plan->logits;
  eb_range range = eb_partition(plan->vocab_size, ROWS_AT_ONCE, thread, eb_team_count(team));
  for (uint32_t begin = range.begin, count; begin < range.end; begin += count) {
    count = range.end - begin < ROWS_AT_ONCE ? range.end - begin : ROWS_AT_ONCE;
    for (int32_t row = 0; row < rows; row++)
      table_rows(execution, head, begin, count, hidden_state(execution, head, first + row),
                 logits + (uint64_t)row * plan->vocab_size);
  }
  eb_trace_step(execution, EB_HEAD, (int32_t)plan->head_steps, team, thread);
}
