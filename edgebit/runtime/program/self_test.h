/* self_test.h: prompts whose tokens, answers and logits, or embeddings, were recorded when the bundle was made. As in
 * edgebit/runtime/self_test.py. */
#ifndef RUN_SELF_TEST_H
#define RUN_SELF_TEST_H

#include "answer.h"
#include "manifest.h"

/* Prompts in the manifest; 0 where it has no self-test. */
int self_test_count(const manifest *from);

/* Lets the model answer them; 0 and a sentence at the first place where it departs from what was recorded. */
int self_test_run(const manifest *from, engine *open, char error[SENTENCE_BYTES]);

#endif
