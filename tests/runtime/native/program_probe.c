/* The parts of edgebit-run for tests: each record of stdin (int32 size, bytes) gets an answer on stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fail.h"
#include "json.h"
#include "manifest.h"
#include "sha256.h"
#include "stream.h"

/* One record, in a block of exactly its size so that sanitizers see every step beyond it; NULL at the end. */
static char *read_record(int32_t *size) {
  if (fread(size, sizeof *size, 1, stdin) != 1) return NULL;
  size_t count = *size > 0 ? (size_t)*size : 0;
  char *data = malloc(count + (count == 0));
  if (!data || fread(data, 1, count, stdin) != count) fail("a record is cut off");
  return data;
}

static void print_text(const char *text, size_t size) {
  putchar('"');
  for (size_t i = 0; i < size; i++) printf("%02x", (unsigned char)text[i]);
  putchar('"');
}

/* The value as JSON again: texts and names as hexadecimal UTF-8, numbers as they were written, in quotes. */
static void print_value(const json *table, const json_value *value) {
  static const char *const WORDS[] = {"null", "false", "true"};
  int list = value->kind == JSON_LIST;
  if (value->kind < JSON_NUMBER) fputs(WORDS[value->kind], stdout);
  if (value->kind == JSON_NUMBER) printf("\"#%s\"", value->text);
  if (value->kind == JSON_TEXT) print_text(value->text, value->size);
  if (value->kind < JSON_LIST) return;
  putchar(list ? '[' : '{');
  for (const json_value *each = json_first(table, value); each; each = json_next(table, each)) {
    if (each != json_first(table, value)) putchar(',');
    if (!list) print_text(each->name, each->name_size);
    if (!list) putchar(':');
    print_value(table, each);
  }
  putchar(list ? ']' : '}');
}

static void probe_json(const char *data, int32_t size) {
  json table;
  char error[200];
  if (json_read(&table, data, (size_t)size, error, sizeof error))
    print_value(&table, table.values);
  else
    printf("! %s", error);
  putchar('\n');
  json_free(&table);
}

/* In pieces whose sizes go through all residues of the block. */
static void probe_sha256(const char *data, int32_t size) {
  sha256 hash;
  char text[SHA256_TEXT];
  sha256_begin(&hash);
  for (int32_t done = 0, piece = 1; done < size; done += piece, piece = piece % 131 + 1) {
    if (piece > size - done) piece = size - done;
    sha256_add(&hash, data + done, (size_t)piece);
  }
  sha256_end(&hash, text);
  puts(text);
}

/* Each record is the bytes of a token; one of size -1 is the end of the answer. */
static void probe_stream(stream *text, const char *data, int32_t size) {
  int reached = 0;
  if (size < 0)
    stream_finish(text);
  else
    reached = stream_feed(text, data, (size_t)size);
  print_text(text->held.data, text->certain);
  puts(reached ? " stop" : "");
  if (size >= 0 && !reached) return;
  const stream fresh = {.stops = text->stops, .stop_count = text->stop_count};
  stream_free(text);
  *text = fresh;
}

/* Each record is a manifest.json of the folder. */
static void probe_manifest(const char *folder, const char *data, int32_t size) {
  char path[4096], error[SENTENCE_BYTES] = "";
  snprintf(path, sizeof path, "%s/manifest.json", folder);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(data, 1, (size_t)size, file) != (size_t)size || fclose(file)) fail("%s cannot be written", path);
  manifest found;
  int fine = manifest_open(&found, folder, error);
  const json_value *files = fine ? json_member(&found.table, found.root, "files") : NULL;
  for (const json_value *each = json_first(&found.table, files); each && fine; each = json_next(&found.table, each))
    fine = manifest_check_file(folder, &found, each, error);
  puts(fine ? "fine" : error);
  manifest_close(&found);
}

int main(int count, char **arguments) {
  stream text = {.stops = (const char *const *)arguments + 2, .stop_count = count - 2};
  char *data;
  for (int32_t size; (data = read_record(&size)); free(data)) {
    if (!strcmp(arguments[1], "json")) probe_json(data, size);
    if (!strcmp(arguments[1], "sha256")) probe_sha256(data, size);
    if (!strcmp(arguments[1], "stream")) probe_stream(&text, data, size);
    if (!strcmp(arguments[1], "manifest")) probe_manifest(arguments[2], data, size);
  }
  stream_free(&text);
  return 0;
}
