#include "bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

void *grown(void *memory, size_t count, size_t each) {
  void *larger = count <= SIZE_MAX / 2 / each ? realloc(memory, count * each + (count == 0)) : NULL;
  if (!larger) fail("no memory for %zu bytes", count * each);
  return larger;
}

void bytes_add(bytes *to, const void *data, size_t size) {
  if (to->room - to->size <= size || !to->data) {
    to->room = 2 * to->size + size + 64;
    to->data = grown(to->data, to->room, 1);
  }
  if (size) memcpy(to->data + to->size, data, size);
  to->size += size;
  to->data[to->size] = 0;
}

void bytes_add_text(bytes *to, const char *text) { bytes_add(to, text, strlen(text)); }

void bytes_drop(bytes *of, size_t count) {
  if (!count) return;
  memmove(of->data, of->data + count, of->size - count + 1);
  of->size -= count;
}

void bytes_free(bytes *of) {
  free(of->data);
  *of = (bytes){0};
}
