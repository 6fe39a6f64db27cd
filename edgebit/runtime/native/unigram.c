/* unigram.c: the likeliest way to cut one word into tokens, as Hugging Face tokenizers find it: from left to right, the
 * best token that ends at each place, the first found of two as good. A character that is no token by itself may be
 * unknown, at the score that the table holds for it.
 */
#include "text_table.h"

static eb_strings pieces_of(const eb_text *text) {
  return (eb_strings){text, eb_section(text, EB_SECTION_PIECES), 0, 0, EB_COUNT(text, EB_SECTION_PIECES, uint32_t)};
}

static int reserve(eb_output *out, int32_t bytes) {
  if (bytes < out->most_endings) return 1;
  size_t n = bytes < 256 ? 256 : (size_t)bytes + 1;
  free(out->endings);
  out->endings = malloc(n * sizeof(eb_ending));
  out->failed |= !out->endings;
  out->most_endings = out->failed ? 0 : (int32_t)n;
  return !out->failed;
}

static void offer(eb_ending *ending, double score, int32_t begin, int32_t id) {
  if (ending->begin < 0 || score > ending->score) *ending = (eb_ending){score, begin, id, 0};
}

/* Every token that begins at `at`; returns whether one of them is the character that ends at `character`. */
static int offer_pieces(const eb_strings *pieces, const uint8_t *word, int32_t at, int32_t character, int32_t bytes,
                        eb_ending *endings) {
  const double *scores = eb_section(pieces->text, EB_SECTION_SCORES);
  uint32_t low = 0, high = pieces->count;
  int found = 0;
  for (int32_t end = at; end < bytes && low < high;) {
    eb_strings_narrow(pieces, &low, &high, (uint32_t)(end - at), word[end]);
    end++;
    if (low < high && eb_string_at(pieces, low).bytes == (uint32_t)(end - at)) {
      if (end == bytes || (word[end] & 0xc0) != 0x80) { /* whole characters, even from a damaged file */
        offer(endings + end, scores[low] + endings[at].score, at, (int32_t)(pieces->tokens[low] & 0x7fffffffu));
        found |= end == character;
      }
      low++;
    }
  }
  return found;
}

/* The token that is these bytes, -1 if there is none. */
static int32_t find_piece(const eb_strings *pieces, const uint8_t *data, int32_t bytes) {
  uint32_t low = 0, high = pieces->count;
  for (int32_t i = 0; i < bytes; i++) {
    if (low < high && eb_string_at(pieces, low).bytes == (uint32_t)i) low++;
    eb_strings_narrow(pieces, &low, &high, (uint32_t)i, data[i]);
  }
  if (low >= high || eb_string_at(pieces, low).bytes != (uint32_t)bytes) return -1;
  return (int32_t)(pieces->tokens[low] & 0x7fffffffu);
}

/* Unknown characters in a row: one token after all, their bytes, or the unknown token. */
static void put_unknown(const eb_strings *pieces, const uint8_t *data, int32_t bytes, eb_output *out) {
  const eb_text *text = pieces->text;
  const uint32_t *byte_tokens = eb_section(text, EB_SECTION_BYTE_TOKENS);
  int32_t piece = find_piece(pieces, data, bytes);
  if (piece < 0 && text->header->flags & EB_TEXT_BYTE_FALLBACK) {
    for (int32_t i = 0; i < bytes; i++) eb_output_add(out, (int32_t)(byte_tokens[data[i]] & 0x7fffffffu));
    return;
  }
  eb_output_add(out, (piece < 0 ? text->header->unknown : piece) & 0x7fffffff);
}

/* From the end back to the beginning: where the token that begins at each place on the way ends. */
static void link_way(eb_ending *endings, int32_t bytes) {
  for (int32_t end = bytes; end > 0;) {
    int32_t begin = endings[end].begin;
    endings[begin].next = end;
    end = begin;
  }
}

static void put_way(const eb_strings *pieces, const uint8_t *word, int32_t bytes, eb_output *out) {
  const eb_ending *endings = out->endings;
  int32_t unknown = pieces->text->header->unknown;
  for (int32_t at = 0, end; at < bytes; at = end) {
    end = endings[at].next;
    if (endings[end].id != unknown) {
      eb_output_add(out, endings[end].id);
      continue;
    }
    while (end < bytes && endings[endings[end].next].id == unknown) end = endings[end].next;
    put_unknown(pieces, word + at, end - at, out);
  }
}

void eb_unigram_word(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out) {
  if (bytes < 1 || out->failed || !reserve(out, bytes)) return;
  eb_strings pieces = pieces_of(text);
  double unknown_score = ((const double *)eb_section(text, EB_SECTION_SCORES))[pieces.count];
  for (int32_t i = 0; i <= bytes; i++) out->endings[i] = (eb_ending){0, -1, 0, 0};
  for (int32_t at = 0, next = 0; at < bytes; at = next) {
    eb_utf8_next(word, &next);
    if (!offer_pieces(&pieces, word, at, next, bytes, out->endings))
      offer(out->endings + next, unknown_score + out->endings[at].score, at, text->header->unknown);
  }
  link_way(out->endings, bytes);
  put_way(&pieces, word, bytes, out);
}
