/* embed.h: texts to vectors, of a model that makes embeddings. As edgebit/runtime/embed.py. */
#ifndef RUN_EMBED_H
#define RUN_EMBED_H

#include "answer.h"
#include "options.h"

/* Prints the embedding of --prompt, or of each line of stdin: a list of numbers in JSON on a line. Gives the exit
 * status. */
int embed(engine *open, const options *chosen);

#endif
