/* added.c: text cut at added tokens, what is between them normalized, cut into words and given to the model: the order
 * in which Hugging Face tokenizers do it.
 *
 * Spaces: "normalized text" is what the normalizer gives, but with a space where that has U+2581 (EB_TEXT_SPACES): no
 * other space is left in it.
 */
#include "text_table.h"

/* Added tokens as patterns sorted by their bytes. */
typedef struct {
  eb_strings strings;
  const uint32_t *ids;
  int normalized;
  uint8_t first, last; /* no pattern begins with a byte outside these: nearly all begin with '<' */
} patterns;

static patterns open_patterns(const eb_text *text, int normalized) {
  int section = normalized ? EB_SECTION_ADDED_NORMALIZED : EB_SECTION_ADDED_RAW;
  eb_strings strings = {text, NULL, normalized ? EB_SECTION_NORMALIZED_OFFSETS : EB_SECTION_RAW_OFFSETS,
                        normalized ? EB_SECTION_NORMALIZED_BYTES : EB_SECTION_RAW_BYTES,
                        EB_COUNT(text, section, uint32_t)};
  patterns p = {strings, eb_section(text, section), normalized, 0, 0xff};
  eb_span lowest = {0}, highest = {0};
  if (strings.count) {
    lowest = eb_string_at(&strings, 0);
    highest = eb_string_at(&strings, strings.count - 1);
  }
  if (lowest.bytes) p.first = lowest.data[0];
  if (highest.bytes) p.last = highest.data[0];
  return p;
}

/* The longest pattern that begins at text[at]: its index and its end, or -1. */
static int64_t longest_match(const patterns *p, const uint8_t *utf8, int32_t at, int32_t bytes, int32_t *end) {
  uint32_t low = 0, high = p->strings.count;
  int64_t found = -1;
  for (uint32_t depth = 0; low < high; depth++) {
    int32_t here = at + (int32_t)depth;
    if (depth > 0 && eb_string_at(&p->strings, low).bytes == depth) {
      if (here == bytes || (utf8[here] & 0xc0) != 0x80) { /* whole characters, even from a damaged file */
        found = low;
        *end = here;
      }
      low++;
    }
    if (here >= bytes) break;
    eb_strings_narrow(&p->strings, &low, &high, depth, utf8[here]);
  }
  return found;
}

typedef struct {
  const eb_text *text;
  int32_t parse_special;
  eb_output *out;
} job;

static void emit_words(const job *j, const uint8_t *utf8, int32_t begin, int32_t end, uint32_t stages) {
  if (!stages) {
    if (eb_section_bytes(j->text, EB_SECTION_PIECES))
      eb_unigram_word(j->text, utf8 + begin, end - begin, j->out);
    else
      eb_merge_word(j->text, utf8 + begin, end - begin, j->out);
    return;
  }
  while (begin < end && !j->out->failed) {
    int32_t next = eb_split_next(j->text, stages & 0xff, utf8, begin, end);
    emit_words(j, utf8, begin, next, stages >> 8);
    begin = next;
  }
}

static int space_sign(const uint8_t *p) { return p[0] == 0xe2 && p[1] == 0x96 && p[2] == 0x81; }

/* Appends text with a space for every U+2581. */
static void add_spaced(const uint8_t *utf8, int32_t bytes, eb_buffer *out) {
  int32_t begin = 0;
  for (int32_t at = 0; at + 2 < bytes; at++) {
    if (!space_sign(utf8 + at)) continue;
    eb_buffer_add(out, utf8 + begin, at - begin);
    eb_buffer_add(out, (const uint8_t *)" ", 1);
    at += 2;
    begin = at + 1;
  }
  eb_buffer_add(out, utf8 + begin, bytes - begin);
}

/* Text between added tokens: Metaspace, then words. `begins`: the input begins with it. */
static void emit_text(const job *j, const uint8_t *utf8, int32_t bytes, int32_t begins) {
  uint32_t flags = j->text->header->flags, stages = j->text->header->stages;
  if (!(flags & EB_TEXT_SPACES_LATE)) {
    emit_words(j, utf8, 0, bytes, stages);
    return;
  }
  eb_buffer buffer = {0};
  int spaced = utf8[0] == ' ' || (bytes >= 3 && space_sign(utf8));
  int prefixed = flags & EB_TEXT_PREFIX_ALWAYS || (flags & EB_TEXT_PREFIX_FIRST && begins);
  if (prefixed && !spaced) eb_buffer_add(&buffer, (const uint8_t *)" ", 1);
  add_spaced(utf8, bytes, &buffer);
  if (buffer.failed)
    j->out->failed = 1;
  else
    emit_words(j, buffer.data, 0, buffer.bytes, stages);
  free(buffer.data);
}

/* White space; in `spaced` text a space stands for U+2581, which is none. */
static int is_space(const eb_text *text, uint32_t code, int spaced) {
  return (eb_class_of(text, code) & EB_CLASS) == EB_SPACE && !(spaced && code == ' ');
}

int32_t eb_skip_spaces(const eb_text *text, const uint8_t *utf8, int32_t begin, int32_t end, int spaced) {
  for (int32_t next = begin; begin < end; begin = next)
    if (!is_space(text, eb_utf8_next(utf8, &next), spaced)) break;
  return begin;
}

/* Where the character before `at` begins. */
static int32_t character_before(const uint8_t *utf8, int32_t at) {
  do at--;
  while ((utf8[at] & 0xc0) == 0x80);
  return at;
}

int32_t eb_drop_spaces(const eb_text *text, const uint8_t *utf8, int32_t begin, int32_t end, int spaced) {
  while (begin < end) {
    int32_t last = character_before(utf8, end), next = last;
    if (!is_space(text, eb_utf8_next(utf8, &next), spaced)) break;
    end = last;
  }
  return end;
}

/* Whether a word goes on over one of the ends of [begin, end). */
static int inside_word(const eb_text *text, const uint8_t *utf8, int32_t bytes, int32_t begin, int32_t end) {
  int32_t at = begin > 0 ? character_before(utf8, begin) : 0;
  if (begin > 0 && eb_class_of(text, eb_utf8_next(utf8, &at)) & EB_WORD) return 1;
  return end < bytes && eb_class_of(text, eb_utf8_next(utf8, &end)) & EB_WORD;
}

static void emit_raw(const job *j, const uint8_t *utf8, int32_t bytes, int32_t begins);

static void emit_between(const job *j, const patterns *p, const uint8_t *utf8, int32_t begin, int32_t end,
                         int32_t begins) {
  if (begin < end) (p->normalized ? emit_text : emit_raw)(j, utf8 + begin, end - begin, begins && begin == 0);
}

/* Cuts text at added tokens, leftmost and longest first; what is between goes on: from the raw text to the normalized
 * text, from there to words. A token that is not to be read, special or inside a word, is passed over as a whole. */
static void cut(const job *j, const patterns *p, const uint8_t *utf8, int32_t bytes, int32_t begins) {
  int32_t rest = 0, end = 0;
  int spaced = p->normalized && j->text->header->flags & EB_TEXT_SPACES;
  for (int32_t at = 0; p->strings.count && at < bytes && !j->out->failed; at = end) {
    int possible = utf8[at] >= p->first && utf8[at] <= p->last && (utf8[at] & 0xc0) != 0x80;
    int64_t found = possible ? longest_match(p, utf8, at, bytes, &end) : -1;
    if (found < 0) {
      end = at + 1;
      continue;
    }
    int32_t id = (int32_t)(p->ids[found] & 0x7fffffffu), begin = at, after = end;
    if (!j->parse_special && eb_text_is_special(j->text, id)) continue;
    if (eb_token_has(j->text, id, EB_TOKEN_SINGLE_WORD) && inside_word(j->text, utf8, bytes, at, end)) continue;
    if (eb_token_has(j->text, id, EB_TOKEN_LSTRIP)) begin = eb_drop_spaces(j->text, utf8, rest, at, spaced);
    if (eb_token_has(j->text, id, EB_TOKEN_RSTRIP)) after = eb_skip_spaces(j->text, utf8, end, bytes, spaced);
    emit_between(j, p, utf8, rest, begin, begins);
    eb_output_add(j->out, id);
    rest = after;
  }
  emit_between(j, p, utf8, rest, bytes, begins);
}

static void emit_raw(const job *j, const uint8_t *utf8, int32_t bytes, int32_t begins) {
  patterns normalized = open_patterns(j->text, 1);
  uint32_t flags = j->text->header->flags;
  if (!(flags & (EB_TEXT_NFC | EB_TEXT_SPACES | EB_TEXT_PREFIX))) {
    cut(j, &normalized, utf8, bytes, begins);
    return;
  }
  eb_buffer composed = {0}, spaced = {0}, *last = &composed;
  if (flags & EB_TEXT_NFC) {
    eb_normalize(j->text, utf8, bytes, &composed);
    utf8 = composed.data;
    bytes = composed.bytes;
  }
  if (flags & (EB_TEXT_SPACES | EB_TEXT_PREFIX)) {
    last = &spaced;
    if (flags & EB_TEXT_PREFIX) eb_buffer_add(&spaced, (const uint8_t *)" ", 1);
    if (!composed.failed) add_spaced(utf8, bytes, &spaced);
  }
  if (composed.failed || spaced.failed)
    j->out->failed = 1;
  else
    cut(j, &normalized, last->data, last->bytes, begins);
  free(composed.data);
  free(spaced.data);
}

void eb_tokenize_into(const eb_text *text, const uint8_t *utf8, int32_t bytes, eb_text_place place, eb_output *out) {
  job j = {text, place.parse_special, out};
  patterns raw = open_patterns(text, 0);
  if (eb_utf8_valid_prefix(utf8, bytes) == bytes) {
    cut(&j, &raw, utf8, bytes, place.begins);
    return;
  }
  eb_buffer repaired = {0};
  eb_utf8_repair(utf8, bytes, &repaired);
  if (repaired.failed)
    out->failed = 1;
  else
    cut(&j, &raw, repaired.data, repaired.bytes, place.begins);
  free(repaired.data);
}
