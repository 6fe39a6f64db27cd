#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

typedef struct {
  json *out;
  const char *at, *begin, *end;
  char *next_text; /* in out->texts: what is read is never longer than what was written */
  int depth;
  const char *fault;
} reader;

/* ---- characters ------------------------------------------------------------------------------------------- */

static int refuse(reader *r, const char *fault) {
  if (!r->fault) r->fault = fault;
  return 0;
}

static void skip_blanks(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static int take(reader *r, char character) {
  if (r->at == r->end || *r->at != character) return 0;
  r->at++;
  return 1;
}

static int is_digit(const reader *r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

/* Length of the UTF-8 character at `at`, 0 where there is none: no long forms, no surrogates, up to U+10FFFF. */
static int utf8_length(const reader *r) {
  const uint8_t *c = (const uint8_t *)r->at;
  int length = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
  if (length > r->end - r->at) return 0;
  for (int i = 1; i < length; i++)
    if ((c[i] & 0xc0) != 0x80) return 0;
  if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f)) return 0;
  if ((c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f)) return 0;
  return length;
}

static void put_utf8(reader *r, uint32_t code) {
  char *to = r->next_text;
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  r->next_text = to;
}

/* ---- texts ------------------------------------------------------------------------------------------------ */

/* The four digits of \uXXXX; -1 where there are none. */
static int32_t hex4(reader *r) {
  int32_t code = 0;
  if (r->end - r->at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    static const char DIGITS[] = "0123456789abcdefABCDEF";
    const char *digit = *r->at ? strchr(DIGITS, *r->at) : NULL;
    if (!digit) return -1;
    r->at++;
    code = code * 16 + (int32_t)(digit - DIGITS < 16 ? digit - DIGITS : digit - DIGITS - 6);
  }
  return code;
}

static int unicode_escape(reader *r) {
  int32_t code = hex4(r);
  if (code < 0) return refuse(r, "\\u needs four hexadecimal digits");
  if (code >= 0xdc00 && code < 0xe000) return refuse(r, "half of a surrogate pair");
  if (code >= 0xd800 && code < 0xdc00) {
    int32_t low = take(r, '\\') && take(r, 'u') ? hex4(r) : -1;
    if (low < 0xdc00 || low > 0xdfff) return refuse(r, "half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  put_utf8(r, (uint32_t)code);
  return 1;
}

static int escape(reader *r) {
  static const char NAMES[] = "\"\\/bfnrt", MEANT[] = "\"\\/\b\f\n\r\t";
  if (r->at == r->end) return refuse(r, "a text without an end");
  char name = *r->at++;
  if (name == 'u') return unicode_escape(r);
  const char *found = name ? strchr(NAMES, name) : NULL;
  if (!found) return refuse(r, "an unknown \\ in a text");
  *r->next_text++ = MEANT[found - NAMES];
  return 1;
}

/* A text behind its first quote. */
static int text(reader *r, const char **begin, size_t *size) {
  char *start = r->next_text;
  while (!take(r, '"')) {
    if (r->at == r->end) return refuse(r, "a text without an end");
    if (take(r, '\\')) {
      if (!escape(r)) return 0;
      continue;
    }
    if ((uint8_t)*r->at < 0x20) return refuse(r, "a control character in a text");
    int length = utf8_length(r);
    if (!length) return refuse(r, "a text that is not UTF-8");
    memcpy(r->next_text, r->at, (size_t)length);
    r->next_text += length;
    r->at += length;
  }
  *begin = start;
  *size = (size_t)(r->next_text - start);
  *r->next_text++ = 0;
  return 1;
}

/* ---- values ----------------------------------------------------------------------------------------------- */

static int32_t add_value(reader *r) {
  json *out = r->out;
  if (out->count == INT32_MAX) return -1;
  if (out->count == out->room) {
    out->room = out->room < INT32_MAX / 2 ? 2 * out->room + 64 : INT32_MAX;
    out->values = grown(out->values, (size_t)out->room, sizeof *out->values);
  }
  out->values[out->count] = (json_value){.first = -1, .next = -1};
  return out->count++;
}

static int digits(reader *r) {
  if (!is_digit(r)) return refuse(r, "a number without digits");
  while (is_digit(r)) r->at++;
  return 1;
}

static int number(reader *r, int32_t index) {
  const char *begin = r->at;
  take(r, '-');
  if (!take(r, '0') && !digits(r)) return 0;
  if (take(r, '.') && !digits(r)) return 0;
  if (take(r, 'e') || take(r, 'E')) {
    if (!take(r, '+')) take(r, '-');
    if (!digits(r)) return 0;
  }
  json_value *value = r->out->values + index;
  value->kind = JSON_NUMBER;
  value->size = (size_t)(r->at - begin);
  value->text = memcpy(r->next_text, begin, value->size);
  r->next_text += value->size;
  *r->next_text++ = 0;
  return 1;
}

static int word(reader *r, int32_t index) {
  static const struct {
    const char *name;
    enum json_kind kind;
  } WORDS[] = {{"null", JSON_NULL}, {"false", JSON_FALSE}, {"true", JSON_TRUE}};
  for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
    size_t size = strlen(WORDS[i].name);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, WORDS[i].name, size)) continue;
    r->at += size;
    r->out->values[index].kind = WORDS[i].kind;
    return 1;
  }
  return refuse(r, r->at == r->end ? "it ends too early" : "a value is expected");
}

static int value(reader *r, int32_t index);

static int is_named_twice(const reader *r, int32_t table, int32_t member) {
  const json_value *values = r->out->values, *last = values + member;
  for (int32_t i = values[table].first; i != member; i = values[i].next)
    if (values[i].name_size == last->name_size && !memcmp(values[i].name, last->name, last->name_size)) return 1;
  return 0;
}

/* One member; its index, or -1. `last`: the one before, -1 for the first. */
static int32_t member(reader *r, int32_t in, int32_t last, int named) {
  const char *name = NULL;
  size_t name_size = 0;
  skip_blanks(r);
  if (named && !take(r, '"')) return refuse(r, r->at == r->end ? "it ends too early" : "a name is expected") - 1;
  if (named && !text(r, &name, &name_size)) return -1;
  if (named) skip_blanks(r);
  if (named && !take(r, ':')) return refuse(r, "a colon is expected") - 1;
  int32_t index = add_value(r);
  if (index < 0) return refuse(r, "too many values") - 1;
  r->out->values[index].name = name;
  r->out->values[index].name_size = name_size;
  if (last < 0)
    r->out->values[in].first = index;
  else
    r->out->values[last].next = index;
  if (named && is_named_twice(r, in, index)) return refuse(r, "a name stands twice in a table") - 1;
  return value(r, index) ? index : -1;
}

/* The members of a list or table, behind its bracket. */
static int members(reader *r, int32_t index, enum json_kind kind) {
  char close = kind == JSON_TABLE ? '}' : ']';
  r->out->values[index].kind = kind;
  if (++r->depth > JSON_DEEPEST) return refuse(r, "lists and tables too deep inside each other");
  skip_blanks(r);
  int32_t last = -1;
  while (last >= 0 || !take(r, close)) {
    last = member(r, index, last, kind == JSON_TABLE);
    if (last < 0) return 0;
    skip_blanks(r);
    if (take(r, close)) break;
    if (!take(r, ',')) return refuse(r, r->at == r->end ? "it ends too early" : "a comma is expected");
  }
  r->depth--;
  return 1;
}

static int value(reader *r, int32_t index) {
  skip_blanks(r);
  if (take(r, '{')) return members(r, index, JSON_TABLE);
  if (take(r, '[')) return members(r, index, JSON_LIST);
  if (take(r, '"')) {
    const char *begin;
    size_t size;
    if (!text(r, &begin, &size)) return 0;
    r->out->values[index].kind = JSON_TEXT;
    r->out->values[index].text = begin;
    r->out->values[index].size = size;
    return 1;
  }
  return is_digit(r) || (r->at < r->end && *r->at == '-') ? number(r, index) : word(r, index);
}

/* ---- interface -------------------------------------------------------------------------------------------- */

int json_read(json *out, const char *data, size_t size, char *error, size_t error_size) {
  *out = (json){.texts = grown(NULL, size + 2, 1)};
  reader r = {.out = out, .at = data, .begin = data, .end = data + size, .next_text = out->texts};
  int whole = value(&r, add_value(&r));
  if (whole) skip_blanks(&r);
  if (whole && r.at < r.end) whole = refuse(&r, "more than one value");
  if (whole) return 1;
  size_t line = 1;
  for (const char *at = data; at < r.at; at++) line += *at == '\n';
  snprintf(error, error_size, "line %zu: %s", line, r.fault);
  return 0;
}

void json_free(json *from) {
  free(from->values);
  free(from->texts);
  *from = (json){0};
}

const json_value *json_first(const json *from, const json_value *in) {
  return in && in->first >= 0 ? from->values + in->first : NULL;
}

const json_value *json_next(const json *from, const json_value *value) {
  return value->next >= 0 ? from->values + value->next : NULL;
}

const json_value *json_member(const json *from, const json_value *table, const char *name) {
  if (!table || table->kind != JSON_TABLE) return NULL;
  const json_value *each = json_first(from, table);
  while (each && (each->name_size != strlen(name) || memcmp(each->name, name, each->name_size)))
    each = json_next(from, each);
  return each;
}

const char *json_text(const json_value *value) {
  return value && value->kind == JSON_TEXT && strlen(value->text) == value->size ? value->text : NULL;
}

int json_integer(const json_value *value, int64_t *number) {
  if (!value || value->kind != JSON_NUMBER || strpbrk(value->text, ".eE")) return 0;
  errno = 0;
  *number = strtoll(value->text, NULL, 10);
  return !errno;
}
