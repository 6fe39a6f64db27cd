#include "stream.h"

#include <stdint.h>
#include <string.h>

enum { INCOMPLETE = 0 };

/* Bytes of a character that begins with `lead`, 0 where none does; *low and *high bound its second byte. */
static size_t length_of(uint8_t lead, uint8_t *low, uint8_t *high) {
  *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Length of the first character, or of what stands in its place (*valid = 0): the longest beginning of a character.
 * INCOMPLETE where more bytes decide. */
static size_t next_character(const uint8_t *data, size_t size, int *valid) {
  uint8_t low, high;
  size_t length = length_of(data[0], &low, &high);
  *valid = length > 0;
  for (size_t i = 1; i < length; i++) {
    if (i == size) return INCOMPLETE;
    if (data[i] < low || data[i] > high) {
      *valid = 0;
      return i;
    }
    low = 0x80;
    high = 0xbf;
  }
  return length ? length : 1;
}

/* Moves the whole characters of `raw` to `held`. */
static void decode(stream *text) {
  const uint8_t *data = (const uint8_t *)text->raw.data;
  size_t done = 0;
  while (done < text->raw.size) {
    int valid;
    size_t length = next_character(data + done, text->raw.size - done, &valid);
    if (length == INCOMPLETE) break;
    if (valid)
      bytes_add(&text->held, data + done, length);
    else
      bytes_add(&text->held, "\xef\xbf\xbd", 3);
    done += length;
  }
  bytes_drop(&text->raw, done);
}

/* Length of the longest end of `held` that begins a stop string. */
static size_t uncertain(const stream *text) {
  size_t longest = 0;
  for (int i = 0; i < text->stop_count; i++) {
    size_t most = strlen(text->stops[i]) - 1;
    if (most > text->held.size) most = text->held.size;
    for (size_t length = most; length > longest; length--)
      if (!memcmp(text->held.data + text->held.size - length, text->stops[i], length)) longest = length;
  }
  return longest;
}

/* Position of the first stop string; the size of `held` where there is none. */
static size_t find_stop(const stream *text) {
  size_t first = text->held.size;
  for (int i = 0; i < text->stop_count; i++) {
    const char *found = memmem(text->held.data, text->held.size, text->stops[i], strlen(text->stops[i]));
    if (found && (size_t)(found - text->held.data) < first) first = (size_t)(found - text->held.data);
  }
  return first;
}

int stream_feed(stream *text, const char *data, size_t size) {
  bytes_drop(&text->held, text->certain);
  text->certain = 0;
  bytes_add(&text->raw, data, size);
  decode(text);
  if (!text->held.size) return 0;
  size_t stop = find_stop(text);
  if (stop < text->held.size) {
    text->held.size = text->certain = stop;
    return 1;
  }
  text->certain = text->held.size - uncertain(text);
  return 0;
}

void stream_finish(stream *text) {
  bytes_drop(&text->held, text->certain);
  text->certain = text->held.size;
  text->raw.size = 0;
}

void stream_free(stream *text) {
  bytes_free(&text->raw);
  bytes_free(&text->held);
}
