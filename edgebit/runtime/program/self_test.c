#include "self_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

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

static int tokenize(const engine *open, const char *prompt, tokens *found) {
  size_t size = strlen(prompt);
  if (size > INT32_MAX) return 0;
  found->count = eb_tokenize(open->model, prompt, (int32_t)size, EB_ADD_BOS, NULL, 0);
  if (found->count < 0) return 0;
  found->ids = grown(NULL, (size_t)found->count, sizeof *found->ids);
  return eb_tokenize(open->model, prompt, (int32_t)size, EB_ADD_BOS, found->ids, found->count) == found->count;
}

static int run_sample(const engine *open, const char *prompt, const tokens *ids, const tokens *answer,
                      const char *logits, char *error) {
  tokens own = {0};
  int32_t room[LONGEST_ANSWER];
  tokens found = {room, 0};
  char digest[SHA256_TEXT];
  int fine = tokenize(open, prompt, &own);
  if (!fine) snprintf(error, SENTENCE_BYTES, "prompt '%.200s' cannot be tokenized", prompt);
  if (fine) fine = compare(prompt, "prompt", ids, &own, error);
  free(own.ids);
  if (!fine) return 0;
  if (!take_sample(open, ids, &found, digest)) {
    snprintf(error, SENTENCE_BYTES, "%s", eb_session_error(open->session));
    return 0;
  }
  if (!compare(prompt, "answer", answer, &found, error)) return 0;
  if (!strcmp(digest, logits)) return 1;
  snprintf(error, SENTENCE_BYTES, "prompt '%.200s': sha256 of the logits is %s, expected %s", prompt, digest, logits);
  return 0;
}

int self_test_run(const manifest *from, engine *open, char error[SENTENCE_BYTES]) {
  const json *table = &from->table;
  const json_value *each = json_first(table, samples_of(from));
  int fine = 1;
  for (; each && fine; each = json_next(table, each)) {
    tokens ids = {0}, answer = {0};
    const char *prompt = json_text(json_member(table, each, "prompt"));
    const char *logits = json_text(json_member(table, each, "logits_sha256"));
    if (prompt && logits && read_tokens(table, json_member(table, each, "tokens"), &ids) &&
        read_tokens(table, json_member(table, each, "answer"), &answer)) {
      fine = run_sample(open, prompt, &ids, &answer, logits, error);
    } else {
      fine = 0;
      snprintf(error, SENTENCE_BYTES, "manifest.json holds a self-test of another kind: compile the model again");
    }
    free(ids.ids);
    free(answer.ids);
  }
  return fine;
}
