/* normalize.c: Unicode normalization form C (UAX 15): decompose, order the combining marks, compose.
 *
 * The tables hold what the normalizer of Hugging Face tokenizers does (its Unicode version); Hangul is arithmetic.
 */
#include "text_table.h"

enum { L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11a7, S_BASE = 0xac00, V_COUNT = 21, T_COUNT = 28 };
enum { L_COUNT = 19, S_COUNT = L_COUNT * V_COUNT * T_COUNT, CODE_MASK = 0xffffff };

/* Nothing below this changes: no decompositions that stay, no combining marks. */
enum { FIRST_UNSTABLE = 0x300 };

static const eb_decomposition *find_decomposition(const eb_text *text, uint32_t code) {
  const eb_decomposition *list = eb_section(text, EB_SECTION_DECOMPOSITIONS);
  uint32_t low = 0, high = EB_COUNT(text, EB_SECTION_DECOMPOSITIONS, eb_decomposition);
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (list[middle].key >> 8 == code) return list + middle;
    if (list[middle].key >> 8 < code)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

static uint32_t compose(const eb_text *text, uint32_t first, uint32_t second) {
  const eb_composition *list = eb_section(text, EB_SECTION_COMPOSITIONS);
  uint32_t low = 0, high = EB_COUNT(text, EB_SECTION_COMPOSITIONS, eb_composition);
  if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT)
    return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
  if (first - S_BASE < S_COUNT && (first - S_BASE) % T_COUNT == 0 && second - T_BASE - 1 < T_COUNT - 1)
    return first + (second - T_BASE);
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const eb_composition *entry = list + middle;
    if (entry->first == first && entry->second == second) return entry->result & CODE_MASK;
    if (entry->first < first || (entry->first == first && entry->second < second))
      low = middle + 1;
    else
      high = middle;
  }
  return 0;
}

/* Units of the work area: combining class << 24 | code point. */
static void add_unit(eb_buffer *units, uint32_t code, uint32_t class) {
  uint32_t unit = class << 24 | (code & CODE_MASK);
  eb_buffer_add(units, (const uint8_t *)&unit, sizeof unit);
}

static void add_hangul(eb_buffer *units, uint32_t syllable) {
  add_unit(units, L_BASE + syllable / (V_COUNT * T_COUNT), 0);
  add_unit(units, V_BASE + syllable / T_COUNT % V_COUNT, 0);
  if (syllable % T_COUNT) add_unit(units, T_BASE + syllable % T_COUNT, 0);
}

/* A decomposition is a pair whose first half may have one again (in Unicode up to three deep); `tail` holds the second
 * halves. */
enum { DEEPEST = 8 };

static void decompose(const eb_text *text, uint32_t code, eb_buffer *units) {
  uint32_t tail[DEEPEST], depth = 0;
  if (code - S_BASE < S_COUNT) {
    add_hangul(units, code - S_BASE);
    return;
  }
  const eb_decomposition *entry = find_decomposition(text, code);
  for (int step = 0; step < DEEPEST && entry && entry->first; step++) {
    if (entry->second) tail[depth++] = entry->second;
    code = entry->first;
    entry = find_decomposition(text, code);
  }
  add_unit(units, code, entry ? entry->key & 0xff : 0);
  while (depth > 0) {
    code = tail[--depth];
    entry = find_decomposition(text, code);
    add_unit(units, code, entry ? entry->key & 0xff : 0);
  }
}

/* Stable merge sort by combining class of a run of marks. */
static void order(uint32_t *units, uint32_t *spare, int32_t count) {
  for (int32_t width = 1; width < count; width *= 2) {
    for (int32_t begin = 0; begin < count; begin += 2 * width) {
      int32_t middle = begin + width < count ? begin + width : count;
      int32_t end = middle + width < count ? middle + width : count, a = begin, b = middle;
      for (int32_t i = begin; i < end; i++) {
        int left = b >= end || (a < middle && units[a] >> 24 <= units[b] >> 24);
        spare[i] = units[left ? a++ : b++];
      }
    }
    memcpy(units, spare, (size_t)count * sizeof *units);
  }
}

static void order_marks(uint32_t *units, uint32_t *spare, int32_t count) {
  for (int32_t begin = 0, end; begin < count; begin = end) {
    end = begin + 1;
    if (units[begin] >> 24 == 0) continue;
    while (end < count && units[end] >> 24 != 0) end++;
    order(units + begin, spare, end - begin);
  }
}

/* Composes in place, returns the new count: a mark joins the last starter unless one of its class or higher is between. */
static int32_t compose_all(const eb_text *text, uint32_t *units, int32_t count) {
  int32_t starter = -1, kept = 0;
  for (int32_t i = 0; i < count; i++) {
    uint32_t class = units[i] >> 24;
    int adjacent = starter >= 0 && starter == kept - 1;
    if (starter >= 0 && (adjacent || units[kept - 1] >> 24 < class)) {
      uint32_t joined = compose(text, units[starter], units[i] & CODE_MASK);
      if (joined) {
        units[starter] = joined;
        continue;
      }
    }
    if (class == 0) starter = kept;
    units[kept++] = units[i];
  }
  return kept;
}

static int stable(const uint8_t *utf8, int32_t bytes) {
  for (int32_t at = 0; at < bytes;)
    if (eb_utf8_next(utf8, &at) >= FIRST_UNSTABLE) return 0;
  return 1;
}

void eb_normalize(const eb_text *text, const uint8_t *utf8, int32_t bytes, eb_buffer *out) {
  eb_buffer units = {0};
  if (stable(utf8, bytes)) {
    eb_buffer_add(out, utf8, bytes);
    return;
  }
  for (int32_t at = 0; at < bytes && !units.failed;) decompose(text, eb_utf8_next(utf8, &at), &units);
  uint32_t *list = (uint32_t *)(void *)units.data, *spare = malloc((size_t)units.bytes);
  int32_t count = units.bytes / (int32_t)sizeof *list;
  if (units.failed || !spare) {
    out->failed = 1;
  } else {
    order_marks(list, spare, count);
    count = compose_all(text, list, count);
    for (int32_t i = 0; i < count; i++) eb_buffer_add_code_point(out, list[i] & CODE_MASK);
  }
  free(spare);
  free(units.data);
}
