/* chat.c: the tokens of a conversation.
 *
 * The chat template was compiled into a table (edgebit/bundle/chat_table.py): cell (a, b) is what the template prints
 * between a message of role a and a message of role b, as text and special tokens; a may be the beginning, b the end,
 * with or without the prompt for an answer. Text of the template and of the messages that stands together between two
 * special tokens is tokenised together, as it is when the printed conversation is tokenised.
 */
#include "message.h"
#include "text_table.h"

typedef struct {
  const eb_text *text;
  eb_buffer run; /* text since the last special token */
  int32_t printed; /* the template or a message has printed something that is flushed */
  int32_t strips;  /* the last special token takes the white space behind it */
  eb_output out;
  char *error;
  int32_t error_size;
} chat;

/* The text since the last special token; `next`: the token behind it, -1 at the end. */
static void flush(chat *c, int32_t next) {
  int32_t begin = 0, end = c->run.bytes;
  if (c->strips) begin = eb_skip_spaces(c->text, c->run.data, begin, end, 0);
  if (next >= 0 && eb_token_has(c->text, next, EB_TOKEN_LSTRIP)) end = eb_drop_spaces(c->text, c->run.data, begin, end, 0);
  eb_text_place place = {0, !c->printed};
  if (begin < end) eb_tokenize_into(c->text, c->run.data + begin, end - begin, place, &c->out);
  c->printed |= c->run.bytes > 0 || next >= 0;
  c->run.bytes = 0;
  c->strips = next >= 0 && eb_token_has(c->text, next, EB_TOKEN_RSTRIP);
  if (next >= 0) eb_output_add(&c->out, next);
}

/* A string of the table, NUL-terminated and cut to the size, for a message. */
static const char *copied(const eb_text *text, eb_chat_text string, char *copy, uint32_t size) {
  eb_span span = eb_section_span(text, EB_SECTION_CHAT_BYTES, string.offset, string.bytes);
  uint32_t bytes = span.bytes < size - 1 ? span.bytes : size - 1;
  memcpy(copy, span.data, bytes);
  copy[bytes] = 0;
  return copy;
}

/* Index of a role, -1 if the table has none of that name. */
static int32_t find_role(const eb_text *text, const char *name) {
  const eb_chat_text *roles = eb_section(text, EB_SECTION_CHAT_ROLES);
  size_t length = strlen(name);
  for (uint32_t i = 0; i < text->role_count; i++) {
    eb_span role = eb_section_span(text, EB_SECTION_CHAT_BYTES, roles[i].offset, roles[i].bytes);
    if (role.bytes == length && memcmp(role.data, name, length) == 0) return (int32_t)i;
  }
  return -1;
}

static const eb_chat_cell *cell_at(const eb_text *text, uint32_t from, uint32_t to) {
  return (const eb_chat_cell *)eb_section(text, EB_SECTION_CHAT_CELLS) + from * (text->role_count + 2) + to;
}

/* Appends what the template prints in this cell; 0, or an error. */
static int32_t put_cell(chat *c, const eb_chat_cell *cell, int32_t message) {
  const eb_chat_item *items = eb_section(c->text, EB_SECTION_CHAT_ITEMS);
  uint32_t count = EB_COUNT(c->text, EB_SECTION_CHAT_ITEMS, eb_chat_item);
  if (!(cell->flags & EB_CHAT_ALLOWED)) {
    char reason[200];
    eb_message(c->error, c->error_size, "message %d: the chat template refuses the conversation here: %s", message,
               copied(c->text, cell->reason, reason, sizeof reason));
    return EB_TEXT_REFUSED;
  }
  for (uint32_t i = 0; i < cell->item_count && i < count; i++) {
    if (cell->first_item >= count - i) break;
    const eb_chat_item *item = items + cell->first_item + i;
    eb_span span = eb_section_span(c->text, EB_SECTION_CHAT_BYTES, item->text.offset, item->text.bytes);
    if (item->token == EB_CHAT_NO_TOKEN) {
      eb_buffer_add(&c->run, span.data, (int32_t)span.bytes);
    } else {
      flush(c, (int32_t)(item->token & 0x7fffffffu));
    }
  }
  return 0;
}

/* The characters str.strip() of Python removes. */
static int strippable(uint32_t code) {
  return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
         code == 0x205f || code == 0x3000;
}

/* Where the content begins when what was thought is taken away. */
static int32_t behind_thought(const uint8_t *utf8, int32_t bytes) {
  static const char end[] = "</think>";
  const int32_t length = (int32_t)sizeof end - 1;
  for (int32_t at = bytes - length; at >= 0; at--) {
    if (memcmp(utf8 + at, end, (size_t)length) != 0) continue;
    for (at += length; at < bytes && utf8[at] == '\n';) at++;
    return at;
  }
  return 0;
}

/* Appends valid UTF-8, trimmed as the flags of the cell say. */
static void put_trimmed(chat *c, const uint8_t *utf8, int32_t bytes, uint32_t flags) {
  int32_t begin = flags & EB_CHAT_DROP_THOUGHT ? behind_thought(utf8, bytes) : 0, end = bytes;
  while ((flags & EB_CHAT_TRIM_LEFT) && begin < end) {
    int32_t next = begin;
    if (!strippable(eb_utf8_next(utf8, &next))) break;
    begin = next;
  }
  while ((flags & EB_CHAT_TRIM_RIGHT) && begin < end) {
    int32_t last = end - 1;
    while ((utf8[last] & 0xc0) == 0x80) last--;
    int32_t next = last;
    if (!strippable(eb_utf8_next(utf8, &next))) break;
    end = last;
  }
  eb_buffer_add(&c->run, utf8 + begin, end - begin);
}

static void put_content(chat *c, const char *content, uint32_t flags) {
  size_t length = strlen(content);
  if (length > INT32_MAX) {
    c->out.failed = 1;
    return;
  }
  const uint8_t *utf8 = (const uint8_t *)content;
  int32_t bytes = (int32_t)length;
  if (eb_utf8_valid_prefix(utf8, bytes) == bytes) {
    put_trimmed(c, utf8, bytes, flags);
    return;
  }
  eb_buffer repaired = {0};
  eb_utf8_repair(utf8, bytes, &repaired);
  if (repaired.failed)
    c->out.failed = 1;
  else
    put_trimmed(c, repaired.data, repaired.bytes, flags);
  free(repaired.data);
}

/* The beginning-of-sequence token, unless the template prints it itself. */
static void put_bos(chat *c, const eb_chat_cell *cell) {
  const eb_chat_item *items = eb_section(c->text, EB_SECTION_CHAT_ITEMS);
  int32_t bos = c->text->header->bos;
  int inside = cell->item_count && cell->first_item < EB_COUNT(c->text, EB_SECTION_CHAT_ITEMS, eb_chat_item);
  if (bos < 0 || (inside && items[cell->first_item].token == (uint32_t)bos)) return;
  eb_output_add(&c->out, bos);
}

static int32_t put_conversation(chat *c, const char *const *roles, const char *const *contents, int32_t messages,
                                int32_t add_generation_prompt) {
  uint32_t count = c->text->role_count, from = count;
  for (int32_t i = 0; i <= messages; i++) {
    if (i < messages && (!roles[i] || !contents[i])) return EB_TEXT_INVALID;
    int32_t role = i < messages ? find_role(c->text, roles[i]) : (int32_t)count + (add_generation_prompt != 0);
    if (role < 0) {
      eb_message(c->error, c->error_size, "message %d: unknown role \"%s\": the chat template was compiled for the "
                 "roles system, user and assistant", i + 1, roles[i]);
      return EB_TEXT_REFUSED;
    }
    const eb_chat_cell *cell = cell_at(c->text, from, (uint32_t)role);
    if (i == 0) put_bos(c, cell);
    int32_t status = put_cell(c, cell, i + 1);
    if (status < 0) return status;
    if (i < messages) put_content(c, contents[i], cell->flags);
    from = (uint32_t)role;
  }
  flush(c, -1);
  return c->out.failed || c->run.failed ? EB_TEXT_MEMORY : c->out.count;
}

int32_t eb_text_chat_tokens(const eb_text *text, const char *const *roles, const char *const *contents, int32_t messages,
                            int32_t add_generation_prompt, int32_t *ids, int32_t capacity, char *error,
                            int32_t error_size) {
  if (messages < 0 || capacity < 0 || (messages && (!roles || !contents)) || (capacity && !ids)) return EB_TEXT_INVALID;
  if (!text->role_count) {
    eb_message(error, error_size, "this model has no chat template: use plain text generation");
    return EB_TEXT_REFUSED;
  }
  chat c = {.text = text, .out = {.ids = ids, .capacity = capacity}, .error = error, .error_size = error_size};
  int32_t result = put_conversation(&c, roles, contents, messages, add_generation_prompt);
  if (result == EB_TEXT_MEMORY) eb_message(error, error_size, "out of memory while formatting the conversation");
  eb_output_release(&c.out);
  free(c.run.data);
  return result;
}
