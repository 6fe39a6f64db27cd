/* sha256.h: SHA-256 (FIPS 180-4) of bytes that come piece by piece. */
#ifndef RUN_SHA256_H
#define RUN_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_TEXT = 65 }; /* lower-case hexadecimal digits and a zero */

typedef struct {
  uint32_t state[8];
  uint64_t size; /* bytes so far */
  uint8_t block[64];
} sha256;

void sha256_begin(sha256 *hash);
void sha256_add(sha256 *hash, const void *data, size_t size);
void sha256_end(sha256 *hash, char text[SHA256_TEXT]);

#endif
