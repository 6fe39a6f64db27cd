/* run.c: graphs of fixed shapes: inputs into the arena, one walk over the steps, outputs out of it. */
#include "message.h"
#include "port.h"
#include "session.h"

static int32_t give_info(const eb_tensor *tensors, uint32_t count, int32_t index, eb_tensor_info *info) {
  if (!info || index < 0 || (uint32_t)index >= count) return EB_ERROR_ARGUMENT;
  *info = tensors[index].info;
  return 0;
}

int32_t eb_input_count(const eb_model *model) { return (int32_t)model->plan->input_count; }

int32_t eb_output_count(const eb_model *model) { return (int32_t)model->plan->output_count; }

int32_t eb_input_info(const eb_model *model, int32_t index, eb_tensor_info *info) {
  return give_info(model->plan->inputs, model->plan->input_count, index, info);
}

int32_t eb_output_info(const eb_model *model, int32_t index, eb_tensor_info *info) {
  return give_info(model->plan->outputs, model->plan->output_count, index, info);
}

static void run_graph(void *user, int32_t thread) {
  const eb_session *session = user;
  const eb_plan *plan = session->model->plan;
  const eb_walk walk = {EB_RUN, plan->run, plan->run_steps, 1, 0, 0};
  eb_execute(&session->execution, walk, session->team, thread);
}

static void *place_of(const eb_session *session, const eb_tensor *tensor) {
  return session->execution.base[tensor->place.space] + tensor->place.offset;
}

static int32_t check_pointers(eb_session *session, const char *what, const void *const *pointers,
                              const eb_tensor *tensors, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (pointers && pointers[i]) continue;
    eb_message(session->error, sizeof session->error, "%s %s is a null pointer", what, tensors[i].info.name);
    return EB_ERROR_ARGUMENT;
  }
  return 0;
}

int32_t eb_run(eb_session *session, const void *const *inputs, void *const *outputs) {
  if (!session) return EB_ERROR_ARGUMENT;
  const eb_plan *plan = session->model->plan;
  int32_t failed = eb_check_task(session, EB_TASK_RUN);
  if (!failed) failed = eb_session_check(session);
  if (!failed) failed = check_pointers(session, "input", inputs, plan->inputs, plan->input_count);
  if (!failed)
    failed = check_pointers(session, "output", (const void *const *)outputs, plan->outputs, plan->output_count);
  if (failed) return failed;
  for (uint32_t i = 0; i < plan->input_count; i++)
    memcpy(place_of(session, &plan->inputs[i]), inputs[i], (size_t)plan->inputs[i].info.bytes);
  eb_team_run(session->team, run_graph, session);
  for (uint32_t i = 0; i < plan->output_count; i++)
    memcpy(outputs[i], place_of(session, &plan->outputs[i]), (size_t)plan->outputs[i].info.bytes);
  return 0;
}
