/* manifest.h: manifest.json of a bundle, and its files against it. Written by edgebit/bundle/manifest.py. */
#ifndef RUN_MANIFEST_H
#define RUN_MANIFEST_H

#include "json.h"

enum { SENTENCE_BYTES = 1024 };

typedef struct {
  json table;
  const json_value *root;
} manifest;

/* Reads BUNDLE/manifest.json and checks its format and its own digest; 0 and a sentence where it cannot be used.
 * manifest_close afterwards in both cases. */
int manifest_open(manifest *found, const char *bundle, char error[SENTENCE_BYTES]);
void manifest_close(manifest *found);

/* What `table.name` of the manifest is; NULL where it has none. */
const json_value *manifest_value(const manifest *from, const char *table, const char *name);

/* The whole number `table.name`; 0 where there is none. */
int64_t manifest_integer(const manifest *from, const char *table, const char *name);

/* Checks the size and sha256 of one member of manifest.files; 0 and a sentence where the file is not as it was. */
int manifest_check_file(const char *bundle, const manifest *from, const json_value *file, char error[SENTENCE_BYTES]);

/* Checks all of them and the manifest; ends the program at the first that is not as it was. */
void manifest_verify(const char *bundle);

#endif
