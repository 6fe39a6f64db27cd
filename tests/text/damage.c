/* Reads a tokenizer.bin, damages copies of it and uses each one in every way. Built with sanitizers: any access outside
 * the copy ends the process. Arguments: the file, the number of rounds, a seed. Prints how many copies still opened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static uint64_t state;

static uint64_t next(void) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return state >> 33;
}

static const char *const TEXTS[] = {
  "Hello, it's a test!\n\n  1234 words\r\n", "<|eot_id|><|im_start|>x<tool>x \xf0\x9f\x91\x8d\xe2\x80\x8d", "\xff\xfe e\xcc\x81 \xc3\xa9\xc3\xa9",
  "\xea\xb0\x80\xe1\x86\xa8 \xe1\xba\x9b\xcc\xa3 \xcd\x84 fox jump abcde  abcabc", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};
enum { TEXT_COUNT = sizeof TEXTS / sizeof TEXTS[0] };

static void use(const eb_text *text) {
  static const char *const roles[] = {"system", "user", "assistant", "user"};
  static const char *const contents[] = {" be kind ", "hi\n", "\xe3\x80\x80", ""};
  int32_t ids[64];
  char out[64], error[80];
  for (int i = 0; i < TEXT_COUNT; i++)
    for (int flags = 0; flags < 4; flags++)
      eb_text_tokenize(text, TEXTS[i], (int32_t)strlen(TEXTS[i]), flags, ids, flags ? 64 : 3);
  for (int32_t id = -1; id < 2000; id++) {
    eb_text_token_bytes(text, id, out, sizeof out);
    eb_text_is_stop(text, id);
    eb_text_is_special(text, id);
  }
  for (int32_t first = 0; first < 3; first++)
    eb_text_chat_tokens(text, roles + first, contents + first, 4 - first, first & 1, ids, 64, error, sizeof error);
}

/* Flips some bits, mostly one; sometimes in the header, sometimes cuts the file (with a header that agrees). */
static uint64_t damage(uint8_t *data, uint64_t size) {
  uint64_t kind = next() % 8;
  if (kind == 0) return next() % size;
  if (kind == 1) {
    size = next() % size;
    if (size >= 24) memcpy(data + 16, &size, 8);
    return size;
  }
  uint64_t limit = kind < 4 && size > sizeof(eb_text_header) ? sizeof(eb_text_header) : size;
  for (uint64_t count = kind == 7 ? 100 : 1 + next() % 3; count; count--) {
    uint64_t at = next() % limit;
    if (kind & 1)
      data[at] ^= (uint8_t)(1u << next() % 8);
    else
      data[at] = (uint8_t)next();
  }
  return size;
}

int main(int argc, char **argv) {
  FILE *file = fopen(argv[1], "rb");
  if (argc != 4 || !file) return 2;
  static uint8_t original[1 << 20];
  uint64_t size = fread(original, 1, sizeof original, file);
  fclose(file);
  state = strtoull(argv[3], 0, 10);
  int opened = 0;
  for (int round = atoi(argv[2]); round > 0; round--) {
    uint8_t *copy = malloc(size), *cut;
    memcpy(copy, original, size);
    uint64_t left = damage(copy, size);
    cut = malloc(left ? left : 1); /* exactly as large as it says: the sanitizer watches the end */
    memcpy(cut, copy, left);
    eb_text text;
    char error[100];
    if (eb_text_open(&text, cut, left, error, sizeof error) == 0) {
      opened++;
      use(&text);
    }
    free(cut);
    free(copy);
  }
  printf("%d\n", opened);
  return 0;
}
