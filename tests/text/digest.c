/* Prints token ids of every line of a file, conversations and sampled tokens: the same text on every CPU.
 * Arguments: tokenizer.bin, the file of lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sampler.h"
#include "text.h"

enum { VOCAB = 4000, LONGEST = 1 << 14 };

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) exit(2);
  char *data = malloc(1 << 22);
  *size = fread(data, 1, 1 << 22, file);
  fclose(file);
  return data;
}

static void print_ids(const int32_t *ids, int32_t count) {
  for (int32_t i = 0; i < count; i++) printf("%d ", (int)ids[i]);
  printf("\n");
}

static void sample(void) {
  static float logits[VOCAB];
  static uint64_t scratch[VOCAB];
  uint64_t state = 1;
  for (int32_t round = 0; round < 400; round++) {
    for (int32_t i = 0; i < VOCAB; i++) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      logits[i] = (float)(int32_t)(state >> 32) * 0x1p-29f;
    }
    eb_sampling settings = {0.5f + 0.01f * (float)round, round % 3 ? 0 : 50, round % 2 ? 0.9f : 1.0f,
                            round % 5 ? 0.0f : 0.05f, (uint64_t)round};
    eb_candidates all = {logits, NULL, VOCAB};
    printf("%d ", (int)eb_sample_candidates(all, &settings, round, scratch));
  }
  printf("\n");
}

int main(int argc, char **argv) {
  static int32_t ids[LONGEST];
  char error[200] = "";
  size_t size, bytes;
  if (argc != 3) return 2;
  char *table = read_file(argv[1], &size), *lines = read_file(argv[2], &bytes);
  eb_text text;
  if (eb_text_open(&text, (const uint8_t *)table, size, error, sizeof error)) {
    printf("%s\n", error);
    return 1;
  }
  for (char *line = lines; line < lines + bytes;) {
    char *end = memchr(line, 0, (size_t)(lines + bytes - line));
    print_ids(ids, eb_text_tokenize(&text, line, (int32_t)(end - line), 3, ids, LONGEST));
    const char *roles[] = {"system", "user"}, *contents[] = {"Be brief. ", line};
    print_ids(ids, eb_text_chat_tokens(&text, roles, contents, 2, 1, ids, LONGEST, error, sizeof error));
    line = end + 1;
  }
  sample();
  return 0;
}
