/* text_table.h: what the parts of the text side share: sections of tokenizer.bin, UTF-8, growing buffers, the seams
 * between scanner, normalizer and tokenizer. */
#ifndef EB_TEXT_TABLE_H
#define EB_TEXT_TABLE_H

#include "text.h"

static inline const void *eb_section(const eb_text *text, int section) {
  return text->data + text->header->sections[section].offset;
}

static inline uint32_t eb_section_bytes(const eb_text *text, int section) {
  return text->header->sections[section].bytes;
}

#define EB_COUNT(text, section, type) (eb_section_bytes(text, section) / (uint32_t)sizeof(type))

typedef struct {
  const uint8_t *data;
  uint32_t bytes;
} eb_span;

/* Bytes [offset, offset + bytes) of a byte section; empty when they are not inside it. */
static inline eb_span eb_section_span(const eb_text *text, int section, uint32_t offset, uint32_t bytes) {
  uint32_t size = eb_section_bytes(text, section);
  eb_span span = {(const uint8_t *)eb_section(text, section), 0};
  if (offset <= size && bytes <= size - offset) {
    span.data += offset;
    span.bytes = bytes;
  }
  return span;
}

/* Entry `index` of a list of offsets into a byte section; the caller knows index + 1 is inside the list. */
static inline eb_span eb_list_span(const eb_text *text, int offsets, int bytes, uint32_t index) {
  const uint32_t *offset = (const uint32_t *)eb_section(text, offsets) + index;
  return eb_section_span(text, bytes, offset[0], offset[1] >= offset[0] ? offset[1] - offset[0] : 0);
}

static inline eb_span eb_token_span(const eb_text *text, uint32_t token) {
  if (token >= text->token_count) return (eb_span){text->data, 0};
  return eb_list_span(text, EB_SECTION_TOKEN_OFFSETS, EB_SECTION_TOKEN_BYTES, token);
}

/* The code point at *at of valid UTF-8; advances *at. */
static inline uint32_t eb_utf8_next(const uint8_t *text, int32_t *at) {
  const uint8_t *p = text + *at;
  if (p[0] < 0x80) {
    *at += 1;
    return p[0];
  }
  if (p[0] < 0xe0) {
    *at += 2;
    return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
  }
  if (p[0] < 0xf0) {
    *at += 3;
    return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
  }
  *at += 4;
  return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
}

/* A malloc'd byte buffer that grows; `failed` stays set once memory ran out. */
typedef struct {
  uint8_t *data;
  int32_t bytes, capacity, failed;
} eb_buffer;

void eb_buffer_add(eb_buffer *buffer, const uint8_t *data, int32_t bytes);
void eb_buffer_add_code_point(eb_buffer *buffer, uint32_t code);

/* Code points of one kind. */
enum { EB_OTHER, EB_LETTER, EB_NUMBER, EB_SPACE, EB_PUNCTUATION, EB_LATE_NUMBER, EB_CLASS = 7, EB_WORD = 8 };

/* split.c: the kind of a code point, EB_WORD with it where it can be part of a word. */
uint32_t eb_class_of(const eb_text *text, uint32_t code);

/* split.c: where the piece that begins at `at` < `end` ends, for one stage; its piece of text is cut by itself. */
int32_t eb_split_next(const eb_text *text, uint32_t stage, const uint8_t *utf8, int32_t at, int32_t end);

/* split.c: whether stages are known, and none that reads characters comes after one that cuts between bytes. */
int eb_split_stages_agree(uint32_t stages);

/* A list of byte strings in order: those of a list of tokens, or of a list of its own. */
typedef struct {
  const eb_text *text;
  const uint32_t *tokens; /* or NULL */
  int offsets, bytes;     /* sections */
  uint32_t count;
} eb_strings;

static inline eb_span eb_string_at(const eb_strings *list, uint32_t index) {
  if (list->tokens) return eb_token_span(list->text, list->tokens[index]);
  return eb_list_span(list->text, list->offsets, list->bytes, index);
}

/* strings.c: [*low, *high) are the strings that share their first `depth` bytes, all longer than that: narrows it to
 * those that go on with `byte`. */
void eb_strings_narrow(const eb_strings *list, uint32_t *low, uint32_t *high, uint32_t depth, uint32_t byte);

/* utf8.c: length of the longest valid prefix; a copy in which every invalid part is U+FFFD. */
int32_t eb_utf8_valid_prefix(const uint8_t *utf8, int32_t bytes);
void eb_utf8_repair(const uint8_t *utf8, int32_t bytes, eb_buffer *out);

/* normalize.c: appends the NFC form of valid UTF-8. */
void eb_normalize(const eb_text *text, const uint8_t *utf8, int32_t bytes, eb_buffer *out);

/* merge.c, unigram.c: the tokens of one word, and the ids that come out. */
typedef struct {
  int32_t id, previous, next; /* next: index, or -1; an id below 0: merged away */
} eb_symbol;

typedef struct {
  uint32_t rank;
  int32_t at;
} eb_candidate;

/* The best way to an end of text: the score of it all, where its last token begins (-1: no way yet) and which it is; and
 * on the best way to the end of the word, where the token after it ends. */
typedef struct {
  double score;
  int32_t begin, id, next;
} eb_ending;

typedef struct {
  int32_t *ids;
  int32_t capacity, count, failed; /* failed: memory ran out, or more than INT32_MAX ids */
  eb_symbol *symbols; /* work area, grown to the longest word */
  eb_candidate *heap;
  int32_t longest;
  eb_ending *endings; /* work area of unigram.c */
  int32_t most_endings;
} eb_output;

void eb_output_add(eb_output *out, int32_t id);
void eb_output_release(eb_output *out);
void eb_merge_word(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out);
void eb_unigram_word(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out);

/* added.c: text without BOS, into `out`. `begins`: nothing stands before it. */
typedef struct {
  int32_t parse_special, begins;
} eb_text_place;

void eb_tokenize_into(const eb_text *text, const uint8_t *utf8, int32_t bytes, eb_text_place place, eb_output *out);

/* added.c: the beginning or the end of [begin, end) without white space. In `spaced` text a space is none: it stands
 * for U+2581. */
int32_t eb_skip_spaces(const eb_text *text, const uint8_t *utf8, int32_t begin, int32_t end, int spaced);
int32_t eb_drop_spaces(const eb_text *text, const uint8_t *utf8, int32_t begin, int32_t end, int spaced);

/* tokenizer.c */
int32_t eb_token_has(const eb_text *text, int32_t id, uint8_t flag);

#endif
