#include "manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "fail.h"
#include "sha256.h"
#include "system.h"

enum { FORMAT = 2, MOST_BYTES = 64 << 20, PATH_BYTES = 4096, BLOCK_BYTES = 1 << 18 };

static const char NO_DIGEST[] = "0000000000000000000000000000000000000000000000000000000000000000";

/* ---- the manifest ----------------------------------------------------------------------------------------- */

static int is_digest(const char *text) { return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64; }

/* The manifest carries the sha256 of its own bytes, with zeros in that place. */
static int check_digest(const char *path, const bytes *content, const char *digest, char *error) {
  char found[SHA256_TEXT] = "";
  const char *place = is_digest(digest) ? memmem(content->data, content->size, digest, 64) : NULL;
  if (place) {
    sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, content->data, (size_t)(place - content->data));
    sha256_add(&hash, NO_DIGEST, 64);
    sha256_add(&hash, place + 64, content->size - (size_t)(place + 64 - content->data));
    sha256_end(&hash, found);
  }
  if (place && !memcmp(found, digest, 64)) return 1;
  snprintf(error, SENTENCE_BYTES, "%s is damaged: its sha256 is another; copy the bundle again", path);
  return 0;
}

static int check_content(manifest *found, const char *path, const bytes *content, char *error) {
  char reason[200];
  int64_t format;
  if (!json_read(&found->table, content->data, content->size, reason, sizeof reason)) {
    snprintf(error, SENTENCE_BYTES, "%s is damaged: %s; copy the bundle again", path, reason);
    return 0;
  }
  const json *table = &found->table;
  found->root = table->values;
  if (!json_member(table, found->root, "edgebit")) {
    snprintf(error, SENTENCE_BYTES, "%s is not the manifest of an edgebit bundle", path);
    return 0;
  }
  if (!json_integer(json_member(table, found->root, "format"), &format) || format != FORMAT) {
    snprintf(error, SENTENCE_BYTES, "%s has another format, this program reads format %d", path, FORMAT);
    return 0;
  }
  if (!check_digest(path, content, json_text(json_member(table, found->root, "sha256")), error)) return 0;
  const json_value *files = json_member(table, found->root, "files");
  if (files && files->kind == JSON_TABLE && json_text(manifest_value(found, "target", "architecture"))) return 1;
  snprintf(error, SENTENCE_BYTES, "%s lacks a field or has one of the wrong kind: compile the model again", path);
  return 0;
}

int manifest_open(manifest *found, const char *bundle, char error[SENTENCE_BYTES]) {
  char path[PATH_BYTES];
  *found = (manifest){0};
  if ((size_t)snprintf(path, sizeof path, "%s/manifest.json", bundle) >= sizeof path) {
    snprintf(error, SENTENCE_BYTES, "the name of the bundle folder is too long");
    return 0;
  }
  bytes content = {0};
  int whole = system_read_file(path, MOST_BYTES, &content);
  if (whole)
    whole = check_content(found, path, &content, error);
  else if (errno == ENOENT)
    snprintf(error, SENTENCE_BYTES, "%s is missing: %s is not a bundle", path, bundle);
  else
    snprintf(error, SENTENCE_BYTES, "%s cannot be read: %s", path, strerror(errno));
  bytes_free(&content);
  return whole;
}

void manifest_close(manifest *found) {
  json_free(&found->table);
  found->root = NULL;
}

const json_value *manifest_value(const manifest *from, const char *table, const char *name) {
  return json_member(&from->table, json_member(&from->table, from->root, table), name);
}

int64_t manifest_integer(const manifest *from, const char *table, const char *name) {
  int64_t number = 0;
  return json_integer(manifest_value(from, table, name), &number) ? number : 0;
}

/* ---- files ------------------------------------------------------------------------------------------------ */

/* Inside the bundle: no way out through "..", and nothing absolute. */
static int is_inside(const json_value *file) {
  if (!file->name_size || strlen(file->name) != file->name_size || file->name[0] == '/') return 0;
  for (const char *part = file->name; part; part = strchr(part, '/')) {
    part += *part == '/';
    if (!strncmp(part, "..", 2) && (!part[2] || part[2] == '/')) return 0;
  }
  return 1;
}

/* Bytes and sha256 of a file; 0 and errno where it cannot be read. */
static int measure(const char *path, int64_t *size, char digest[SHA256_TEXT]) {
  static char block[BLOCK_BYTES];
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  sha256 hash;
  ssize_t got;
  *size = 0;
  sha256_begin(&hash);
  while ((got = read(file, block, sizeof block)) > 0) {
    sha256_add(&hash, block, (size_t)got);
    *size += got;
  }
  int failure = got < 0 ? errno : 0;
  close(file);
  sha256_end(&hash, digest);
  errno = failure;
  return !failure;
}

int manifest_check_file(const char *bundle, const manifest *from, const json_value *file, char error[SENTENCE_BYTES]) {
  char path[PATH_BYTES], digest[SHA256_TEXT];
  int64_t size, expected;
  const char *expected_digest = json_text(json_member(&from->table, file, "sha256"));
  if (!is_inside(file) || !is_digest(expected_digest) ||
      !json_integer(json_member(&from->table, file, "size"), &expected) ||
      (size_t)snprintf(path, sizeof path, "%s/%s", bundle, file->name) >= sizeof path) {
    snprintf(error, SENTENCE_BYTES, "manifest.json has no name, size and sha256 of one of its files: compile again");
    return 0;
  }
  if (!measure(path, &size, digest)) {
    if (errno == ENOENT)
      snprintf(error, SENTENCE_BYTES, "%s is missing: copy the bundle again", path);
    else
      snprintf(error, SENTENCE_BYTES, "%s cannot be read: %s", path, strerror(errno));
    return 0;
  }
  if (size != expected) {
    snprintf(error, SENTENCE_BYTES, "%s is damaged: %lld bytes, expected %lld; copy the bundle again", path,
             (long long)size, (long long)expected);
    return 0;
  }
  if (!memcmp(digest, expected_digest, 64)) return 1;
  snprintf(error, SENTENCE_BYTES, "%s is damaged: sha256 %s, expected %s; copy the bundle again", path, digest,
           expected_digest);
  return 0;
}

void manifest_verify(const char *bundle) {
  manifest found;
  char error[SENTENCE_BYTES];
  if (!manifest_open(&found, bundle, error)) fail("%s", error);
  const json_value *each = json_first(&found.table, json_member(&found.table, found.root, "files"));
  for (; each; each = json_next(&found.table, each))
    if (!manifest_check_file(bundle, &found, each, error)) fail("%s", error);
  manifest_close(&found);
}
