/* bytes.h: a growing block of bytes, and memory that is there or ends the program. */
#ifndef RUN_BYTES_H
#define RUN_BYTES_H

#include <stddef.h>

typedef struct {
  char *data; /* `size` bytes and a zero behind them; NULL while nothing was added */
  size_t size, room;
} bytes;

void bytes_add(bytes *to, const void *data, size_t size);
void bytes_add_text(bytes *to, const char *text);

/* Forgets the first `count` bytes. */
void bytes_drop(bytes *of, size_t count);

void bytes_free(bytes *of);

/* realloc of count * each bytes that ends the program where there is no memory. */
void *grown(void *memory, size_t count, size_t each);

#endif
