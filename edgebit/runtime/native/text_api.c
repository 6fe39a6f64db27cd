/* text_api.c: the text calls of edgebit.h over text.h. */
#include "message.h"
#include "model.h"

static int has_text(const eb_model *model) { return model && model->tokenizer.data; }

static int32_t public_code(int32_t result) {
  if (result >= 0) return result;
  return result == EB_TEXT_INVALID ? EB_ERROR_ARGUMENT : EB_ERROR_TEXT;
}

int32_t eb_tokenize(const eb_model *model, const char *utf8, int32_t bytes, int32_t flags, int32_t *ids,
                    int32_t capacity) {
  if (!has_text(model)) return EB_ERROR_TEXT;
  if (bytes < 0 || capacity < 0 || (bytes && !utf8) || (capacity && !ids)) return EB_ERROR_ARGUMENT;
  int32_t text_flags = (flags & EB_ADD_BOS ? EB_TOKENIZE_BOS : 0) | (flags & EB_ADD_EOS ? EB_TOKENIZE_EOS : 0) |
                       (flags & EB_PARSE_SPECIAL ? EB_TOKENIZE_SPECIAL : 0);
  return public_code(eb_text_tokenize(&model->text, utf8, bytes, text_flags, ids, capacity));
}

int32_t eb_token_bytes(const eb_model *model, int32_t id, char *out, int32_t capacity) {
  if (!has_text(model)) return EB_ERROR_TEXT;
  if (capacity < 0 || (capacity && !out)) return EB_ERROR_ARGUMENT;
  return public_code(eb_text_token_bytes(&model->text, id, out, capacity));
}

int32_t eb_first_token_bytes(const eb_model *model, int32_t id, char *out, int32_t capacity) {
  if (!has_text(model)) return EB_ERROR_TEXT;
  if (capacity < 0 || (capacity && !out)) return EB_ERROR_ARGUMENT;
  return public_code(eb_text_first_token_bytes(&model->text, id, out, capacity));
}

int32_t eb_is_stop(const eb_model *model, int32_t id) {
  return has_text(model) && eb_text_is_stop(&model->text, id) > 0;
}

int32_t eb_is_special(const eb_model *model, int32_t id) {
  return has_text(model) && eb_text_is_special(&model->text, id) > 0;
}

int32_t eb_chat_tokens(const eb_model *model, const char *const *roles, const char *const *contents, int32_t messages,
                       int32_t add_generation_prompt, int32_t *ids, int32_t capacity, char *error,
                       int32_t error_size) {
  if (!has_text(model)) {
    eb_message(error, error_size, "this model has no tokenizer");
    return EB_ERROR_TEXT;
  }
  if (messages < 0 || capacity < 0 || (messages && (!roles || !contents)) || (capacity && !ids)) {
    eb_message(error, error_size, "eb_chat_tokens: a null pointer or a negative count");
    return EB_ERROR_ARGUMENT;
  }
  return public_code(eb_text_chat_tokens(&model->text, roles, contents, messages, add_generation_prompt, ids, capacity,
                                         error, error_size));
}
