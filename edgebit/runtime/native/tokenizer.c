/* tokenizer.c: tokenizer.bin opened and checked; text to tokens and back. */
#include "message.h"
#include "text_table.h"

/* Elements of a section: size, and what their count has to be (0: anything). */
typedef struct {
  uint32_t element, power_of_two;
} section_rule;

static const section_rule RULES[EB_SECTION_COUNT] = {
  [EB_SECTION_TOKEN_OFFSETS] = {4, 0},
  [EB_SECTION_TOKEN_BYTES] = {1, 0},
  [EB_SECTION_TOKEN_FLAGS] = {1, 0},
  [EB_SECTION_BYTE_TOKENS] = {4, 0},
  [EB_SECTION_MERGES] = {sizeof(eb_merge), 0},
  [EB_SECTION_MERGE_SLOTS] = {4, 1},
  [EB_SECTION_WORD_SLOTS] = {4, 1},
  [EB_SECTION_CLASSES] = {4, 0},
  [EB_SECTION_ADDED_RAW] = {4, 0},
  [EB_SECTION_RAW_OFFSETS] = {4, 0},
  [EB_SECTION_RAW_BYTES] = {1, 0},
  [EB_SECTION_ADDED_NORMALIZED] = {4, 0},
  [EB_SECTION_NORMALIZED_OFFSETS] = {4, 0},
  [EB_SECTION_NORMALIZED_BYTES] = {1, 0},
  [EB_SECTION_DECOMPOSITIONS] = {sizeof(eb_decomposition), 0},
  [EB_SECTION_COMPOSITIONS] = {sizeof(eb_composition), 0},
  [EB_SECTION_CHARACTER_SLOTS] = {4, 1},
  [EB_SECTION_PIECES] = {4, 0},
  [EB_SECTION_SCORES] = {sizeof(double), 0},
  [EB_SECTION_MERGE_RANKS] = {4, 0},
  [EB_SECTION_CHAT_ROLES] = {sizeof(eb_chat_text), 0},
  [EB_SECTION_CHAT_CELLS] = {sizeof(eb_chat_cell), 0},
  [EB_SECTION_CHAT_ITEMS] = {sizeof(eb_chat_item), 0},
  [EB_SECTION_CHAT_BYTES] = {1, 0},
};

static int section_fits(const eb_text_header *header, int index) {
  uint32_t offset = header->sections[index].offset, bytes = header->sections[index].bytes;
  uint32_t count = bytes / RULES[index].element;
  if (offset % 8 || offset < sizeof *header || offset > header->file_bytes) return 0;
  if (bytes > header->file_bytes - offset || bytes % RULES[index].element) return 0;
  return !RULES[index].power_of_two || (count & (count - 1)) == 0;
}

/* The counts that belong together. */
static int counts_agree(const eb_text *text) {
  uint32_t tokens = text->token_count, roles = EB_COUNT(text, EB_SECTION_CHAT_ROLES, eb_chat_text);
  uint32_t raw = EB_COUNT(text, EB_SECTION_ADDED_RAW, uint32_t);
  uint32_t normalized = EB_COUNT(text, EB_SECTION_ADDED_NORMALIZED, uint32_t);
  uint32_t bytes = EB_COUNT(text, EB_SECTION_BYTE_TOKENS, uint32_t), flags = text->header->flags;
  uint32_t merges = EB_COUNT(text, EB_SECTION_MERGES, eb_merge), ranks = EB_COUNT(text, EB_SECTION_MERGE_RANKS, uint32_t);
  uint32_t pieces = EB_COUNT(text, EB_SECTION_PIECES, uint32_t);
  int needs_bytes = flags & EB_TEXT_BYTE_FALLBACK || (!pieces && !(flags & EB_TEXT_CHARACTERS));
  return tokens >= 1 && tokens < 0x7fffffffu && EB_COUNT(text, EB_SECTION_TOKEN_OFFSETS, uint32_t) == tokens + 1 &&
         eb_section_bytes(text, EB_SECTION_TOKEN_FLAGS) == tokens && bytes == (needs_bytes ? 256 : bytes) &&
         EB_COUNT(text, EB_SECTION_RAW_OFFSETS, uint32_t) == raw + 1 &&
         EB_COUNT(text, EB_SECTION_NORMALIZED_OFFSETS, uint32_t) == normalized + 1 &&
         (!ranks || ranks == merges) && (!pieces || EB_COUNT(text, EB_SECTION_SCORES, double) == pieces + 1) &&
         eb_split_stages_agree(text->header->stages) && roles <= 16 &&
         EB_COUNT(text, EB_SECTION_CHAT_CELLS, eb_chat_cell) == (roles ? (roles + 1) * (roles + 2) : 0);
}

int eb_text_open(eb_text *text, const uint8_t *data, uint64_t size, char *error, int32_t error_size) {
  const eb_text_header *header = (const eb_text_header *)(const void *)data;
  *text = (eb_text){data, header, 0, 0};
  if (size < sizeof *header || memcmp(header->magic, "EDGEBITT", 8) != 0) {
    eb_message(error, error_size, "tokenizer.bin is not an edgebit tokenizer file");
    return EB_TEXT_INVALID;
  }
  if (header->format != EB_TEXT_FORMAT || header->header_bytes != sizeof *header) {
    eb_message(error, error_size, "tokenizer.bin has format %d, this runtime reads format %d: compile the bundle again",
               (int)header->format, EB_TEXT_FORMAT);
    return EB_TEXT_INVALID;
  }
  int good = header->file_bytes == size;
  for (int i = 0; good && i < EB_SECTION_COUNT; i++) good = section_fits(header, i);
  text->token_count = header->token_count;
  if (!good || !counts_agree(text)) {
    eb_message(error, error_size, "tokenizer.bin is damaged or truncated (%llu bytes): copy the bundle again",
               (unsigned long long)size);
    return EB_TEXT_INVALID;
  }
  text->role_count = EB_COUNT(text, EB_SECTION_CHAT_ROLES, eb_chat_text);
  return 0;
}

int32_t eb_text_tokenize(const eb_text *text, const char *utf8, int32_t bytes, int32_t flags, int32_t *ids,
                         int32_t capacity) {
  if (bytes < 0 || capacity < 0 || (bytes > 0 && !utf8) || (capacity > 0 && !ids)) return EB_TEXT_INVALID;
  eb_output out = {.ids = ids, .capacity = capacity};
  if ((flags & EB_TOKENIZE_BOS) && text->header->bos >= 0) eb_output_add(&out, text->header->bos);
  eb_text_place place = {flags & EB_TOKENIZE_SPECIAL, 1};
  eb_tokenize_into(text, (const uint8_t *)utf8, bytes, place, &out);
  if ((flags & EB_TOKENIZE_EOS) && text->header->eos >= 0) eb_output_add(&out, text->header->eos);
  eb_output_release(&out);
  return out.failed ? EB_TEXT_MEMORY : out.count;
}

enum { BYTE_NAME = sizeof "<0x41>" - 1 };

static uint32_t hexadecimal(uint8_t digit) { return digit <= '9' ? digit & 15u : (digit & 15u) + 9; }

/* The bytes of a token without its first `skipped`. */
static int32_t copy_token(const eb_text *text, int32_t id, uint32_t skipped, char *out, int32_t capacity) {
  eb_span token = eb_token_span(text, (uint32_t)id);
  uint8_t byte;
  if (eb_token_has(text, id, EB_TOKEN_BYTE) && token.bytes == BYTE_NAME) {
    byte = (uint8_t)(hexadecimal(token.data[3]) << 4 | hexadecimal(token.data[4]));
    token = (eb_span){&byte, 1};
  }
  uint32_t left = token.bytes - skipped, written = left < (uint32_t)capacity ? left : (uint32_t)capacity;
  if (written) memcpy(out, token.data + skipped, written);
  return (int32_t)left;
}

int32_t eb_text_token_bytes(const eb_text *text, int32_t id, char *out, int32_t capacity) {
  if (id < 0 || capacity < 0 || (capacity > 0 && !out)) return EB_TEXT_INVALID;
  return copy_token(text, id, 0, out, capacity);
}

int32_t eb_text_first_token_bytes(const eb_text *text, int32_t id, char *out, int32_t capacity) {
  if (id < 0 || capacity < 0 || (capacity > 0 && !out)) return EB_TEXT_INVALID;
  eb_span token = eb_token_span(text, (uint32_t)id);
  uint32_t spaces = 0, flags = text->header->flags;
  uint32_t most = flags & EB_TEXT_FIRST_TOKEN_SPACES ? token.bytes : flags & EB_TEXT_FIRST_SPACE ? 1 : 0;
  while (spaces < most && spaces < token.bytes && token.data[spaces] == ' ') spaces++;
  return copy_token(text, id, spaces, out, capacity);
}

int32_t eb_token_has(const eb_text *text, int32_t id, uint8_t flag) {
  const uint8_t *flags = eb_section(text, EB_SECTION_TOKEN_FLAGS);
  return id >= 0 && (uint32_t)id < text->token_count && (flags[id] & flag) != 0;
}

int32_t eb_text_is_stop(const eb_text *text, int32_t id) { return eb_token_has(text, id, EB_TOKEN_STOP); }

int32_t eb_text_is_special(const eb_text *text, int32_t id) { return eb_token_has(text, id, EB_TOKEN_SPECIAL); }

int32_t eb_text_bos(const eb_text *text) { return text->header->bos < 0 ? -1 : text->header->bos; }

int32_t eb_text_has_chat(const eb_text *text) { return text->role_count > 0; }
