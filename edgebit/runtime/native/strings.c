/* strings.c: walking down a sorted list of byte strings, byte by byte. */
#include "text_table.h"

/* First string in [low, high) whose byte at `depth` is at least `byte`. */
static uint32_t lower_bound(const eb_strings *list, uint32_t low, uint32_t high, uint32_t depth, uint32_t byte) {
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    eb_span string = eb_string_at(list, middle);
    if (depth < string.bytes && string.data[depth] < byte)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void eb_strings_narrow(const eb_strings *list, uint32_t *low, uint32_t *high, uint32_t depth, uint32_t byte) {
  *low = lower_bound(list, *low, *high, depth, byte);
  *high = lower_bound(list, *low, *high, depth, byte + 1);
}
