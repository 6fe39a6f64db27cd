#include "self_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"
#include "tensors.h"

enum { LONGEST_ANSWER = 8 };

typedef struct {
  int32_t *ids;
  int32_t count;
} tokens;

static const json_value *samples_of(const manifest *from) {
  const json_value *samples = json_member(&from->table, from->root, "self_test");
  return samples && samples->kind == JSON_LIST ? samples : NULL;
}

int self_test_count(const manifest *from) {
  int count = 0;
  const json_value *each = json_first(&from->table, samples_of(from));
  for (; each; each = json_next(&from->table, each)) count++;
  return count;
}

/* Token ids of a list; 0 where it is none. */
static int read_tokens(const json *table, const json_value *list, tokens *to) {
  if (!list || list->kind != JSON_LIST) return 0;
  for (const json_value *each = json_first(table, list); each; each = json_next(table, each)) {
    int64_t id;
    if (!json_integer(each, &id) || id < 0 || id > INT32_MAX) return 0;
    to->ids = grown(to->ids, (size_t)to->count + 1, sizeof *to->ids);
    to->ids[to->count++] = (int32_t)id;
  }
  return to->count > 0;
}

static int say_token(const char *prompt, const char *part, int32_t index, const tokens *expected, const tokens *found,
                     char *error) {
  char texts[2][20] = {"missing", "missing"};
  if (index < expected->count) snprintf(texts[0], sizeof texts[0], "%d", (int)expected->ids[index]);
  if (index < found->count) snprintf(texts[1], sizeof texts[1], "%d", (int)found->ids[index]);
  snprintf(error, SENTENCE_BYTES, "prompt '%.200s': token %d of the %s is %s, expected %s", prompt, (int)index, part,
           texts[1], texts[0]);
  return 0;
}

static int compare(const char *prompt, const char *part, const tokens *expected, const tokens *found, char *error) {
  int32_t same = 0;
  while (same < expected->count && same < found->count && expected->ids[same] == found->ids[same]) same++;
  if (same == expected->count && same == found->count) return 1;
  return say_token(prompt, part, same, expected, found, error);
}

/* The model is little-endian wherever it runs: the bytes of a float in memory are those that were hashed. */
static int add_logits(const engine *open, sha256 *hash) {
  const float *logits = eb_logits(open->session);
  if (logits) sha256_add(hash, logits, (size_t)open->info.vocab_size * sizeof *logits);
  return logits != NULL;
}

/* The greedy answer to a prompt, and the sha256 of the logits behind both; 0 where the model cannot run. */
static int take_sample(const engine *open, const tokens *prompt, tokens *found, char digest[SHA256_TEXT]) {
  const eb_sampling greedy = {0};
  sha256 hash;
  sha256_begin(&hash);
  if (eb_rewind(open->session, 0) || eb_evaluate(open->session, prompt->ids, prompt->count)) return 0;
  int fine = add_logits(open, &hash), stopped = 0;
  int32_t most = open->info.context - prompt->count;
  if (most > LONGEST_ANSWER) most = LONGEST_ANSWER;
  while (fine && !stopped && found->count < most) {
    int32_t token = eb_sample(open->session, &greedy);
    fine = token >= 0 && !eb_evaluate(open->session, &token, 1);
    if (fine) found->ids[found->count++] = token;
    stopped = fine && eb_is_stop(open->model, token);
  }
  fine = fine && add_logits(open, &hash);
  sha256_end(&hash, digest);
  return fine;
}

/* The sha256 of the embedding of a text; 0 where the model cannot run. */
static int hash_embedding(const engine *open, const tokens *text, char digest[SHA256_TEXT]) {
  float *embedding = grown(NULL, (size_t)open->info.hidden_size, sizeof *embedding);
  int fine = !eb_embed(open->session, text->ids, text->count, embedding);
  sha256 hash;
  sha256_begin(&hash);
  if (fine) sha256_add(&hash, embedding, (size_t)open->info.hidden_size * sizeof *embedding);
  sha256_end(&hash, digest);
  free(embedding);
  return fine;
}

/* What was recorded of one prompt. */
typedef struct {
  const char *prompt;
  const char *digest; /* of logits, or of the embedding */
  tokens ids, answer;
} sample;

/* The digest of what the model makes of a prompt with the tokens it should have; 0 and a sentence where it makes
 * something else. */
static int run_tokens(const engine *open, const sample *expected, char digest[SHA256_TEXT], char *error) {
  int32_t room[LONGEST_ANSWER];
  tokens found = {room, 0};
  const int embeds = open->info.task == EB_TASK_EMBED;
  if (embeds ? hash_embedding(open, &expected->ids, digest) : take_sample(open, &expected->ids, &found, digest))
    return embeds || compare(expected->prompt, "answer", &expected->answer, &found, error);
  snprintf(error, SENTENCE_BYTES, "%s", eb_session_error(open->session));
  return 0;
}

static int run_sample(const engine *open, const sample *expected, char *error) {
  tokens own = {0};
  char digest[SHA256_TEXT];
  own.ids = engine_tokens(open, expected->prompt, &own.count);
  int fine = own.ids != NULL;
  if (!fine) snprintf(error, SENTENCE_BYTES, "prompt '%.200s' cannot be tokenized", expected->prompt);
  if (fine) fine = compare(expected->prompt, "prompt", &expected->ids, &own, error);
  free(own.ids);
  if (!fine || !run_tokens(open, expected, digest, error)) return 0;
  if (!strcmp(digest, expected->digest)) return 1;
  snprintf(error, SENTENCE_BYTES, "prompt '%.200s': sha256 of the %s is %s, expected %s", expected->prompt,
           open->info.task == EB_TASK_EMBED ? "embedding" : "logits", digest, expected->digest);
  return 0;
}

static int say_other_kind(char *error) {
  snprintf(error, SENTENCE_BYTES, "manifest.json holds a self-test of another kind: compile the model again");
  return 0;
}

/* One member of manifest.self_test; 0 where it is of another kind than the task of the model has. */
static int read_sample(const json *table, const json_value *from, int32_t task, sample *to) {
  to->prompt = json_text(json_member(table, from, "prompt"));
  to->digest = json_text(json_member(table, from, task == EB_TASK_EMBED ? "embedding_sha256" : "logits_sha256"));
  return to->prompt && to->digest && read_tokens(table, json_member(table, from, "tokens"), &to->ids) &&
         (task == EB_TASK_EMBED || read_tokens(table, json_member(table, from, "answer"), &to->answer));
}

/* One member of manifest.self_test of a graph of tensors. */
static int run_tensors(const json *table, const json_value *from, const engine *open, char *error) {
  int64_t seed;
  char digest[SHA256_TEXT];
  const char *expected = json_text(json_member(table, from, "outputs_sha256"));
  if (!expected || !json_integer(json_member(table, from, "seed"), &seed)) return say_other_kind(error);
  if (!tensors_hash(open, (uint32_t)seed, digest)) {
    snprintf(error, SENTENCE_BYTES, "%s", eb_session_error(open->session));
    return 0;
  }
  if (!strcmp(digest, expected)) return 1;
  snprintf(error, SENTENCE_BYTES, "prompt 'inputs of seed %d': sha256 of the outputs is %s, expected %s", (int)seed,
           digest, expected);
  return 0;
}

int self_test_run(const manifest *from, engine *open, char error[SENTENCE_BYTES]) {
  const json *table = &from->table;
  const json_value *each = json_first(table, samples_of(from));
  int fine = 1;
  for (; each && fine; each = json_next(table, each)) {
    sample expected = {0};
    if (open->info.task == EB_TASK_RUN) {
      fine = run_tensors(table, each, open, error);
      continue;
    }
    fine = read_sample(table, each, open->info.task, &expected);
    if (fine)
      fine = run_sample(open, &expected, error);
    else
      say_other_kind(error);
    free(expected.ids.ids);
    free(expected.answer.ids);
  }
  return fine;
}
