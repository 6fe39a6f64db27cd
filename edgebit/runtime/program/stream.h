/* stream.h: text from tokens as they come: whole characters only, and nothing of a stop string.
 *
 * As edgebit/runtime/streaming.py: a character whose bytes are spread over tokens appears when it is complete, what is
 * no UTF-8 becomes U+FFFD, and text that may be the beginning of a stop string is held back until that is decided.
 */
#ifndef RUN_STREAM_H
#define RUN_STREAM_H

#include "bytes.h"

typedef struct {
  const char *const *stops; /* none of them empty */
  int stop_count;
  bytes raw;  /* the beginning of a character */
  bytes held; /* valid text: what is certain, then what is not */
  size_t certain;
} stream;

/* Takes the bytes of a token. Gives 1 when a stop string was reached: nothing follows then. Afterwards the first
 * `certain` bytes of `held` can be shown; the next call forgets them. */
int stream_feed(stream *text, const char *data, size_t size);

/* All that was held back becomes certain; the bytes of a character that was never completed are dropped. */
void stream_finish(stream *text);

void stream_free(stream *text);

#endif
