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
  [EB_SECTION_ADDED_NORMALIZED] = {4, 0},
  [EB_SECTION_NORMALIZED_OFFSETS] = {4, 0},
  [EB_SECTION_NORMALIZED_BYTES] = {1, 0},
  [EB_SECTION_DECOMPOSITIONS] = {sizeof(eb_decomposition), 0},
  [EB_SECTION_COMPOSITIONS] = {sizeof(eb_composition), 0},
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
  uint32_t patterns = EB_COUNT(text, EB_SECTION_ADDED_NORMALIZED, uint32_t);
  return tokens >= 1 && tokens < 0x7fffffffu && EB_COUNT(text, EB_SECTION_TOKEN_OFFSETS, uint32_t) == tokens + 1 &&
         eb_section_bytes(text, EB_SECTION_TOKEN_FLAGS) == tokens &&
         EB_COUNT(text, EB_SECTION_BYTE_TOKENS, uint32_t) == 256 &&
         EB_COUNT(text, EB_SECTION_NORMALIZED_OFFSETS, uint32_t) == patterns + 1 && roles <= 16 &&
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

/* Added tokens as patterns sorted by their bytes. */
typedef struct {
  const eb_text *text;
  const uint32_t *ids;
  uint32_t count;
  int normalized;
  uint8_t first, last; /* no pattern begins with a byte outside these: nearly all begin with '<' */
} patterns;

static eb_span pattern_at(const patterns *p, uint32_t index) {
  if (p->normalized) return eb_list_span(p->text, EB_SECTION_NORMALIZED_OFFSETS, EB_SECTION_NORMALIZED_BYTES, index);
  return eb_token_span(p->text, p->ids[index]);
}

static patterns open_patterns(const eb_text *text, int normalized) {
  int section = normalized ? EB_SECTION_ADDED_NORMALIZED : EB_SECTION_ADDED_RAW;
  patterns p = {text, eb_section(text, section), EB_COUNT(text, section, uint32_t), normalized, 0, 0xff};
  eb_span lowest = {0}, highest = {0};
  if (p.count) {
    lowest = pattern_at(&p, 0);
    highest = pattern_at(&p, p.count - 1);
  }
  if (lowest.bytes) p.first = lowest.data[0];
  if (highest.bytes) p.last = highest.data[0];
  return p;
}

/* First pattern in [low, high) whose byte at `depth` is at least `byte`; all of them are longer than `depth`. */
static uint32_t lower_bound(const patterns *p, uint32_t low, uint32_t high, uint32_t depth, uint32_t byte) {
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    eb_span pattern = pattern_at(p, middle);
    if (depth < pattern.bytes && pattern.data[depth] < byte)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The longest pattern that begins at text[at]: its index and its end, or -1. */
static int64_t longest_match(const patterns *p, const uint8_t *utf8, int32_t at, int32_t bytes, int32_t *end) {
  uint32_t low = 0, high = p->count;
  int64_t found = -1;
  for (uint32_t depth = 0; low < high; depth++) {
    int32_t here = at + (int32_t)depth;
    if (depth > 0 && pattern_at(p, low).bytes == depth) {
      if (here == bytes || (utf8[here] & 0xc0) != 0x80) { /* whole characters, even from a damaged file */
        found = low;
        *end = here;
      }
      low++;
    }
    if (here >= bytes) break;
    low = lower_bound(p, low, high, depth, utf8[here]);
    high = lower_bound(p, low, high, depth, utf8[here] + 1u);
  }
  return found;
}

typedef struct {
  const eb_text *text;
  int32_t parse_special;
  eb_output *out;
} job;

static void emit_words(const job *j, const uint8_t *utf8, int32_t begin, int32_t end) {
  while (begin < end && !j->out->failed) {
    int32_t next = eb_split_next(j->text, utf8, begin, end);
    eb_merge_word(j->text, utf8 + begin, next - begin, j->out);
    begin = next;
  }
}

static void emit_raw(const job *j, const uint8_t *utf8, int32_t begin, int32_t end);

/* Cuts [0, bytes) at added tokens, leftmost and longest first; what is between goes on: from the raw text to the
 * normalized text, from there to words. A special token that is not to be parsed is passed over as a whole. */
static void cut(const job *j, const patterns *p, const uint8_t *utf8, int32_t bytes) {
  int32_t begin = 0, end = 0;
  for (int32_t at = 0; p->count && at < bytes && !j->out->failed;) {
    int possible = utf8[at] >= p->first && utf8[at] <= p->last && (utf8[at] & 0xc0) != 0x80;
    int64_t found = possible ? longest_match(p, utf8, at, bytes, &end) : -1;
    if (found < 0) {
      at++;
      continue;
    }
    uint32_t id = p->ids[found];
    if (j->parse_special || !eb_text_is_special(j->text, (int32_t)id)) {
      (p->normalized ? emit_words : emit_raw)(j, utf8, begin, at);
      eb_output_add(j->out, (int32_t)(id & 0x7fffffffu));
      begin = end;
    }
    at = end;
  }
  (p->normalized ? emit_words : emit_raw)(j, utf8, begin, bytes);
}

static void emit_raw(const job *j, const uint8_t *utf8, int32_t begin, int32_t end) {
  patterns normalized = open_patterns(j->text, 1);
  if (begin >= end) return;
  if (!(j->text->header->flags & EB_TEXT_NFC)) {
    cut(j, &normalized, utf8 + begin, end - begin);
    return;
  }
  eb_buffer buffer = {0};
  eb_normalize(j->text, utf8 + begin, end - begin, &buffer);
  if (buffer.failed)
    j->out->failed = 1;
  else
    cut(j, &normalized, buffer.data, buffer.bytes);
  free(buffer.data);
}

void eb_tokenize_into(const eb_text *text, const uint8_t *utf8, int32_t bytes, int32_t parse_special, eb_output *out) {
  job j = {text, parse_special, out};
  patterns raw = open_patterns(text, 0);
  if (eb_utf8_valid_prefix(utf8, bytes) == bytes) {
    cut(&j, &raw, utf8, bytes);
    return;
  }
  eb_buffer repaired = {0};
  eb_utf8_repair(utf8, bytes, &repaired);
  if (repaired.failed)
    out->failed = 1;
  else
    cut(&j, &raw, repaired.data, repaired.bytes);
  free(repaired.data);
}

int32_t eb_text_tokenize(const eb_text *text, const char *utf8, int32_t bytes, int32_t flags, int32_t *ids,
                         int32_t capacity) {
  if (bytes < 0 || capacity < 0 || (bytes > 0 && !utf8) || (capacity > 0 && !ids)) return EB_TEXT_INVALID;
  eb_output out = {ids, capacity, 0, 0, NULL, NULL, 0};
  if ((flags & EB_TOKENIZE_BOS) && text->header->bos >= 0) eb_output_add(&out, text->header->bos);
  eb_tokenize_into(text, (const uint8_t *)utf8, bytes, flags & EB_TOKENIZE_SPECIAL, &out);
  if ((flags & EB_TOKENIZE_EOS) && text->header->eos >= 0) eb_output_add(&out, text->header->eos);
  eb_output_release(&out);
  return out.failed ? EB_TEXT_MEMORY : out.count;
}

int32_t eb_text_token_bytes(const eb_text *text, int32_t id, char *out, int32_t capacity) {
  if (id < 0 || capacity < 0 || (capacity > 0 && !out)) return EB_TEXT_INVALID;
  eb_span token = eb_token_span(text, (uint32_t)id);
  uint32_t written = token.bytes < (uint32_t)capacity ? token.bytes : (uint32_t)capacity;
  if (written) memcpy(out, token.data, written);
  return (int32_t)token.bytes;
}

static int32_t has_flag(const eb_text *text, int32_t id, uint8_t flag) {
  const uint8_t *flags = eb_section(text, EB_SECTION_TOKEN_FLAGS);
  return id >= 0 && (uint32_t)id < text->token_count && (flags[id] & flag) != 0;
}

int32_t eb_text_is_stop(const eb_text *text, int32_t id) { return has_flag(text, id, EB_TOKEN_STOP); }

int32_t eb_text_is_special(const eb_text *text, int32_t id) { return has_flag(text, id, EB_TOKEN_SPECIAL); }

int32_t eb_text_bos(const eb_text *text) { return text->header->bos < 0 ? -1 : text->header->bos; }

int32_t eb_text_has_chat(const eb_text *text) { return text->role_count > 0; }
