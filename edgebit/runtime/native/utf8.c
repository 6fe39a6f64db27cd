/* utf8.c: valid UTF-8 as Unicode table 3-7 has it; repair as Python's errors="replace" does it. */
#include "text_table.h"

/* Length of the well-formed sequence at p, or minus the length of the longest ill-formed part (at least 1). */
static int sequence(const uint8_t *p, int32_t left) {
  uint8_t lead = p[0], low = 0x80, high = 0xbf;
  int length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length < 2) return length ? 1 : -1;
  if (lead == 0xe0) low = 0xa0; /* overlong */
  if (lead == 0xed) high = 0x9f; /* surrogates */
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f; /* beyond U+10FFFF */
  for (int i = 1; i < length; i++) {
    if (i >= left || p[i] < low || p[i] > high) return -i;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

int32_t eb_utf8_valid_prefix(const uint8_t *utf8, int32_t bytes) {
  int32_t at = 0;
  while (at < bytes) {
    int length = utf8[at] < 0x80 ? 1 : sequence(utf8 + at, bytes - at);
    if (length < 0) break;
    at += length;
  }
  return at;
}

void eb_utf8_repair(const uint8_t *utf8, int32_t bytes, eb_buffer *out) {
  static const uint8_t replacement[3] = {0xef, 0xbf, 0xbd};
  for (int32_t at = 0; at < bytes;) {
    int32_t valid = eb_utf8_valid_prefix(utf8 + at, bytes - at);
    eb_buffer_add(out, utf8 + at, valid);
    at += valid;
    if (at >= bytes) break;
    eb_buffer_add(out, replacement, 3);
    at += -sequence(utf8 + at, bytes - at);
  }
}

/* Twice as much room each time; sizes stay below 2^31. */
static int reserve(eb_buffer *buffer, int32_t more) {
  if (buffer->failed || more > INT32_MAX - buffer->bytes) return !(buffer->failed = 1);
  int32_t needed = buffer->bytes + more;
  if (needed <= buffer->capacity) return 1;
  int32_t capacity = needed > INT32_MAX / 2 ? INT32_MAX : needed * 2 + 64;
  uint8_t *data = malloc((size_t)capacity);
  if (!data) return !(buffer->failed = 1);
  if (buffer->bytes) memcpy(data, buffer->data, (size_t)buffer->bytes);
  free(buffer->data);
  buffer->data = data;
  buffer->capacity = capacity;
  return 1;
}

void eb_buffer_add(eb_buffer *buffer, const uint8_t *data, int32_t bytes) {
  if (bytes < 1 || !reserve(buffer, bytes)) return;
  memcpy(buffer->data + buffer->bytes, data, (size_t)bytes);
  buffer->bytes += bytes;
}

void eb_buffer_add_code_point(eb_buffer *buffer, uint32_t code) {
  uint8_t out[4];
  int32_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const uint8_t leads[5] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (int32_t i = length - 1; i > 0; i--, code >>= 6) out[i] = (uint8_t)(0x80 | (code & 0x3f));
  out[0] = (uint8_t)(leads[length] | code);
  eb_buffer_add(buffer, out, length);
}
