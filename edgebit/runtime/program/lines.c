#include "lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"

int has_nul(const bytes *line) { return line->size && memchr(line->data, 0, line->size); }

enum line read_line(bytes *input, bytes *line) {
  char block[4096];
  line->size = 0;
  bytes_add(line, "", 0);
  for (;;) {
    char *end = input->size ? memchr(input->data, '\n', input->size) : NULL;
    if (end) {
      size_t size = (size_t)(end - input->data);
      bytes_add(line, input->data, size);
      bytes_drop(input, size + 1);
      return LINE_READ;
    }
    ssize_t got = interrupted ? -1 : read(STDIN_FILENO, block, sizeof block);
    if (got < 0 && (interrupted || errno == EINTR)) return LINE_INTERRUPTED;
    if (got > 0) {
      bytes_add(input, block, (size_t)got);
      continue;
    }
    if (!input->size) return LINE_END;
    bytes_add(line, input->data, input->size);
    bytes_drop(input, input->size);
    return LINE_READ;
  }
}
