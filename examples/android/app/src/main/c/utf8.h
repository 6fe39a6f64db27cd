/* utf8.h: tokens end anywhere, characters do not. */
#ifndef EXAMPLE_UTF8_H
#define EXAMPLE_UTF8_H

#include <stddef.h>

/* How many of the first bytes can be shown: all but the beginning of a character whose end is still to come. */
size_t utf8_whole(const char *bytes, size_t size);

#endif
