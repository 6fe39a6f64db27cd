/* merge.c: BPE of one word, from its bytes (GPT-2) or its characters (SentencePiece) on.
 *
 * The merges are taken by rank, then from the left, out of a binary heap: O(n log n) for a word of n bytes. A candidate
 * is not removed when its symbols change; it is checked when it is taken, by what it would produce, as Hugging Face
 * tokenizers does (so that two merges with the same product are interchangeable here as they are there). Where the table
 * has ranks, equal ones are taken from the left, as SentencePiece takes pieces of equal score; a candidate is then checked
 * by its rank: whatever has that rank at that place would be the next to be taken anyway.
 */
#include "text_table.h"

enum { NO_MERGE = 0xffffffffu };

static uint32_t hash_pair(uint32_t left, uint32_t right) {
  uint32_t h = left * 0x9e3779b1u ^ right * 0x85ebca77u;
  h ^= h >> 15;
  h *= 0x2c1b3c6du;
  return h ^ h >> 13;
}

static uint32_t hash_bytes(const uint8_t *data, int32_t bytes) { /* FNV-1a, mixed once more for the low bits */
  uint32_t h = 0x811c9dc5u;
  for (int32_t i = 0; i < bytes; i++) h = (h ^ data[i]) * 0x01000193u;
  h ^= h >> 15;
  h *= 0x2c1b3c6du;
  return h ^ h >> 13;
}

/* Index of the merge of two tokens, NO_MERGE if there is none. */
static uint32_t find_merge(const eb_text *text, int32_t left, int32_t right) {
  const uint32_t *slots = eb_section(text, EB_SECTION_MERGE_SLOTS);
  const eb_merge *merges = eb_section(text, EB_SECTION_MERGES);
  uint32_t size = EB_COUNT(text, EB_SECTION_MERGE_SLOTS, uint32_t), count = EB_COUNT(text, EB_SECTION_MERGES, eb_merge);
  uint32_t at = hash_pair((uint32_t)left, (uint32_t)right);
  for (uint32_t probe = 0; probe < size; probe++, at++) {
    uint32_t slot = slots[at & (size - 1)];
    if (slot == 0 || slot > count) return NO_MERGE;
    const eb_merge *merge = merges + (slot - 1);
    if (merge->left == (uint32_t)left && merge->right == (uint32_t)right) return slot - 1;
  }
  return NO_MERGE;
}

/* The token in a section of slots that is these bytes, -1 if there is none. */
static int32_t find_token(const eb_text *text, int section, const uint8_t *word, int32_t bytes) {
  const uint32_t *slots = eb_section(text, section);
  uint32_t size = EB_COUNT(text, section, uint32_t), at = hash_bytes(word, bytes);
  for (uint32_t probe = 0; probe < size; probe++, at++) {
    uint32_t slot = slots[at & (size - 1)];
    if (slot == 0 || slot > text->token_count) return -1;
    eb_span token = eb_token_span(text, slot - 1);
    if (token.bytes == (uint32_t)bytes && memcmp(token.data, word, token.bytes) == 0) return (int32_t)(slot - 1);
  }
  return -1;
}

static int before(eb_candidate a, eb_candidate b) { return a.rank < b.rank || (a.rank == b.rank && a.at < b.at); }

static void push(eb_candidate *heap, int32_t *count, eb_candidate added) {
  int32_t at = (*count)++;
  for (; at > 0 && before(added, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = added;
}

static eb_candidate pop(eb_candidate *heap, int32_t *count) {
  eb_candidate top = heap[0], moving = heap[--*count];
  int32_t at = 0;
  for (int32_t child; (child = 2 * at + 1) < *count; at = child) {
    if (child + 1 < *count && before(heap[child + 1], heap[child])) child++;
    if (!before(heap[child], moving)) break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
  return top;
}

static uint32_t rank_of(const eb_text *text, uint32_t merge) {
  if (!eb_section_bytes(text, EB_SECTION_MERGE_RANKS)) return merge;
  return ((const uint32_t *)eb_section(text, EB_SECTION_MERGE_RANKS))[merge];
}

static void push_pair(const eb_text *text, eb_output *out, int32_t *count, int32_t at) {
  if (at < 0 || out->symbols[at].next < 0) return;
  uint32_t merge = find_merge(text, out->symbols[at].id, out->symbols[out->symbols[at].next].id);
  if (merge != NO_MERGE) push(out->heap, count, (eb_candidate){rank_of(text, merge), at});
}

/* Work area for a word of n bytes: n symbols at most, n - 1 candidates at first and one more with each of at most n - 1
 * merges (which takes one and adds two). 28 bytes for a byte of the longest word. */
static int reserve(eb_output *out, int32_t bytes) {
  if (bytes <= out->longest) return 1;
  size_t n = bytes < 256 ? 256 : bytes < 1 << 16 ? (size_t)bytes * 2 : (size_t)bytes;
  free(out->symbols);
  free(out->heap);
  out->symbols = malloc(n * sizeof(eb_symbol));
  out->heap = malloc(2 * n * sizeof(eb_candidate));
  out->failed |= !out->symbols || !out->heap || n > INT32_MAX / 2;
  out->longest = out->failed ? 0 : (int32_t)n;
  return !out->failed;
}

static void apply(const eb_text *text, eb_output *out, int32_t *count, eb_candidate taken) {
  const eb_merge *merges = eb_section(text, EB_SECTION_MERGES);
  eb_symbol *symbols = out->symbols, *left = symbols + taken.at;
  if (left->id < 0 || left->next < 0) return;
  eb_symbol *right = symbols + left->next;
  uint32_t merge = find_merge(text, left->id, right->id);
  if (merge == NO_MERGE) return;
  uint32_t result = merges[merge].result;
  int ranked = eb_section_bytes(text, EB_SECTION_MERGE_RANKS) != 0;
  if (ranked ? rank_of(text, merge) != taken.rank : merges[taken.rank].result != result) return;
  left->id = (int32_t)(result & 0x7fffffffu);
  right->id = -1;
  left->next = right->next;
  if (right->next >= 0) symbols[right->next].previous = taken.at;
  push_pair(text, out, count, left->previous);
  push_pair(text, out, count, taken.at);
}

static void put_symbol(eb_output *out, int32_t *count, uint32_t id) {
  out->symbols[*count] = (eb_symbol){(int32_t)(id & 0x7fffffffu), *count - 1, *count + 1};
  ++*count;
}

static void put_bytes(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out, int32_t *count) {
  const uint32_t *byte_tokens = eb_section(text, EB_SECTION_BYTE_TOKENS);
  for (int32_t i = 0; i < bytes; i++) put_symbol(out, count, byte_tokens[word[i]]);
}

/* A character without a token: its bytes, or the unknown token, once for a row of them where they are fused. */
static void put_characters(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out, int32_t *count) {
  uint32_t flags = text->header->flags;
  int unknown_before = 0;
  for (int32_t at = 0, next = 0; at < bytes; at = next) {
    eb_utf8_next(word, &next);
    int32_t token = find_token(text, EB_SECTION_CHARACTER_SLOTS, word + at, next - at);
    if (token < 0 && flags & EB_TEXT_BYTE_FALLBACK) {
      put_bytes(text, word + at, next - at, out, count);
      continue;
    }
    int fused = token < 0 && unknown_before && flags & EB_TEXT_FUSE_UNKNOWN;
    unknown_before = token < 0;
    if (token < 0) token = text->header->unknown;
    if (token >= 0 && !fused) put_symbol(out, count, (uint32_t)token);
  }
}

static void merge_symbols(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out) {
  int32_t symbols = 0, count = 0;
  (text->header->flags & EB_TEXT_CHARACTERS ? put_characters : put_bytes)(text, word, bytes, out, &symbols);
  if (!symbols) return;
  out->symbols[symbols - 1].next = -1;
  for (int32_t i = 0; i + 1 < symbols; i++) push_pair(text, out, &count, i);
  while (count > 0) apply(text, out, &count, pop(out->heap, &count));
  for (int32_t i = 0; i >= 0; i = out->symbols[i].next) eb_output_add(out, out->symbols[i].id);
}

void eb_output_add(eb_output *out, int32_t id) {
  if (out->count == INT32_MAX) {
    out->failed = 1;
    return;
  }
  if (out->count < out->capacity) out->ids[out->count] = id;
  out->count++;
}

void eb_output_release(eb_output *out) {
  free(out->symbols);
  free(out->heap);
  free(out->endings);
}

void eb_merge_word(const eb_text *text, const uint8_t *word, int32_t bytes, eb_output *out) {
  if (bytes < 1 || out->failed) return;
  int32_t whole = eb_section_bytes(text, EB_SECTION_WORD_SLOTS) ? find_token(text, EB_SECTION_WORD_SLOTS, word, bytes) : -1;
  if (whole >= 0)
    eb_output_add(out, whole);
  else if (reserve(out, bytes))
    merge_symbols(text, word, bytes, out);
}
