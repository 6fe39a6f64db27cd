#include "embed.h"

#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "lines.h"

/* Nine digits tell every float from all others. */
static void print_embedding(const float *embedding, int32_t count) {
  for (int32_t i = 0; i < count; i++) printf("%s%.9g", i ? ", " : "[", (double)embedding[i]);
  puts("]");
  fflush(stdout);
}

static void embed_text(engine *open, const char *text, float *embedding) {
  int32_t count;
  int32_t *ids = engine_tokens(open, text, &count);
  if (!ids) fail("the text cannot be tokenized: this model has no tokenizer");
  if (!count) fail("a text is empty: there is nothing to embed");
  if (count > open->info.context)
    fail("a text has %d tokens, the context holds %d: cut it into parts, or compile the model with a longer context",
         (int)count, (int)open->info.context);
  if (eb_embed(open->session, ids, count, embedding)) fail("%s", eb_session_error(open->session));
  print_embedding(embedding, open->info.hidden_size);
  free(ids);
}

static void embed_lines(engine *open, float *embedding) {
  bytes input = {0}, line = {0};
  while (read_line(&input, &line) == LINE_READ) {
    if (has_nul(&line)) fail("a text contains a NUL character");
    if (line.size && line.data[line.size - 1] == '\r') line.data[line.size - 1] = 0;
    embed_text(open, line.data, embedding);
  }
  bytes_free(&input);
  bytes_free(&line);
}

int embed(engine *open, const options *chosen) {
  if (chosen->raw || chosen->system || chosen->max_tokens || chosen->stop_count || chosen->stats ||
      chosen->no_speculation || chosen->sampling.temperature > 0)
    fail_usage("this model makes embeddings: options of answers are not for it");
  float *embedding = grown(NULL, (size_t)open->info.hidden_size, sizeof *embedding);
  if (chosen->prompt)
    embed_text(open, chosen->prompt, embedding);
  else
    embed_lines(open, embedding);
  free(embedding);
  return EXIT_FINE;
}
