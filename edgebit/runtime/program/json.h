/* json.h: a strict reader of JSON (RFC 8259) that is whole in memory.
 *
 * Refused beside what the grammar refuses: tables with a name twice, halves of surrogate pairs, text that is no UTF-8,
 * more than JSON_DEEPEST lists and tables inside each other.
 */
#ifndef RUN_JSON_H
#define RUN_JSON_H

#include <stddef.h>
#include <stdint.h>

enum { JSON_DEEPEST = 64 };

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_TABLE };

typedef struct {
  enum json_kind kind;
  const char *text; /* of a text: its UTF-8; of a number: as it was written; zero-terminated */
  size_t size;      /* of it; a text may hold zeros */
  const char *name; /* in a table */
  size_t name_size;
  int32_t first, next; /* first member of a list or table, next one of the same; -1: none. Indices of `values` */
} json_value;

typedef struct {
  json_value *values; /* [0]: the whole */
  int32_t count, room;
  char *texts;
} json;

/* Reads `size` bytes; 0 and a sentence in `error` where they are no JSON. json_free afterwards in both cases. */
int json_read(json *out, const char *data, size_t size, char *error, size_t error_size);
void json_free(json *from);

/* First member of a list or table, and the one behind a member; NULL where there is none. */
const json_value *json_first(const json *from, const json_value *in);
const json_value *json_next(const json *from, const json_value *value);

/* Member of a table; NULL where it has none of this name, or `table` is none (or NULL). */
const json_value *json_member(const json *from, const json_value *table, const char *name);

/* A text without zeros, NULL where the value is something else (or NULL). */
const char *json_text(const json_value *value);

/* 1 and the number where the value is a whole one of 64 bits, written without point and exponent. */
int json_integer(const json_value *value, int64_t *number);

#endif
