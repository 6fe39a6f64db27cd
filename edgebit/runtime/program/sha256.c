#include "sha256.h"

#include <string.h>

static const uint32_t ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turned(uint32_t word, int by) { return word >> by | word << (32 - by); }

static uint32_t big_endian(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void extend(uint32_t words[64], const uint8_t *block) {
  for (int i = 0; i < 16; i++) words[i] = big_endian(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t a = words[i - 15], b = words[i - 2];
    words[i] = words[i - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + words[i - 7] +
               (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
  }
}

/* One round; its new state stands where d and h were, so that nothing moves: callers turn the names instead. */
static inline void turn(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f, uint32_t g,
                        uint32_t *h, uint32_t input) {
  uint32_t choice = g ^ (e & (f ^ g)), majority = (a & b) | (c & (a | b));
  uint32_t one = *h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + choice + input;
  *d += one;
  *h = one + (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + majority;
}

static void take_block(sha256 *hash, const uint8_t *block) {
  uint32_t w[64];
  extend(w, block);
  for (int i = 0; i < 64; i++) w[i] += ROUNDS[i];
  const uint32_t *s = hash->state;
  uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
  for (int i = 0; i < 64; i += 8) {
    turn(a, b, c, &d, e, f, g, &h, w[i]);
    turn(h, a, b, &c, d, e, f, &g, w[i + 1]);
    turn(g, h, a, &b, c, d, e, &f, w[i + 2]);
    turn(f, g, h, &a, b, c, d, &e, w[i + 3]);
    turn(e, f, g, &h, a, b, c, &d, w[i + 4]);
    turn(d, e, f, &g, h, a, b, &c, w[i + 5]);
    turn(c, d, e, &f, g, h, a, &b, w[i + 6]);
    turn(b, c, d, &e, f, g, h, &a, w[i + 7]);
  }
  const uint32_t added[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; i++) hash->state[i] += added[i];
}

void sha256_begin(sha256 *hash) {
  *hash = (sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                             0x5be0cd19}};
}

void sha256_add(sha256 *hash, const void *data, size_t size) {
  const uint8_t *from = data;
  size_t used = hash->size % sizeof hash->block;
  hash->size += size;
  while (size) {
    size_t part = sizeof hash->block - used < size ? sizeof hash->block - used : size;
    if (part == sizeof hash->block) {
      take_block(hash, from);
    } else {
      memcpy(hash->block + used, from, part);
      used += part;
      if (used == sizeof hash->block) {
        take_block(hash, hash->block);
        used = 0;
      }
    }
    from += part;
    size -= part;
  }
}

void sha256_end(sha256 *hash, char text[SHA256_TEXT]) {
  static const uint8_t PADDING[64] = {0x80};
  uint64_t bits = hash->size * 8;
  uint8_t length[8];
  for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
  sha256_add(hash, PADDING, (hash->size % 64 < 56 ? 56 : 120) - hash->size % 64);
  sha256_add(hash, length, sizeof length);
  for (int i = 0; i < 64; i++) text[i] = "0123456789abcdef"[hash->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
  text[64] = 0;
}
