/* message.h: one-sentence error messages into a caller's buffer. */
#ifndef EB_MESSAGE_H
#define EB_MESSAGE_H

#include <stdint.h>

/* A small printf: %s, %d (int) and %llu (unsigned long long). Always terminates; cuts what does not fit. A null or
 * empty buffer is allowed: the caller wants no sentence. */
void eb_message(char *out, int32_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
