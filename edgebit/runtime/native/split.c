/* split.c: cutting text into words exactly as the pre-tokenizers do, one stage after the other.
 *
 * Each alternative of a pattern is a scanner that returns the end of its match or -1; the first that matches wins, as in
 * a backtracking engine. Backtracking inside an alternative only ever happens over white space, where its outcome can be
 * said directly (see spaces()). Classes \p{L}, \p{N} and \s are tables of tokenizer.bin.
 *
 *   GPT-2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   Llama-3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   Qwen2    Llama-3 with \p{N} for \p{N}{1,3}
 *
 * Falcon has four stages: runs of punctuation, GPT-2, then, in the byte-level spelling of the words, runs of digits (with
 * the bytes that are spelled as such: ² ³ ¹ ¼ ½ ¾) and three digits at a time.
 */
#include "text_table.h"

enum { OTHER = EB_OTHER, LETTER = EB_LETTER, NUMBER = EB_NUMBER, SPACE = EB_SPACE, END = EB_CLASS };

typedef struct {
  const eb_text *text;
  const uint8_t *utf8;
  int32_t end;
} scanner;

uint32_t eb_class_of(const eb_text *text, uint32_t code) {
  const uint32_t *starts = eb_section(text, EB_SECTION_CLASSES);
  uint32_t low = 0, high = EB_COUNT(text, EB_SECTION_CLASSES, uint32_t); /* starts[low] <= code < starts[high] */
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (starts[middle] >> 4 <= code)
      low = middle;
    else
      high = middle;
  }
  return high ? starts[low] & 15u : EB_OTHER;
}

/* Class of the character at `at`, as the patterns have it; END at the end. *next is where the following one begins. */
static uint32_t look(const scanner *s, int32_t at, int32_t *next) {
  *next = at;
  if (at >= s->end) return END;
  uint32_t code = eb_utf8_next(s->utf8, next);
  if (code - 'a' < 26 || code - 'A' < 26) return LETTER;
  uint32_t class = eb_class_of(s->text, code) & EB_CLASS;
  return class > SPACE ? OTHER : class;
}

/* End of the run of one class from `at` on, at most `limit` characters. */
static int32_t run(const scanner *s, int32_t at, uint32_t class, int32_t limit) {
  int32_t next;
  for (int32_t i = 0; i < limit && look(s, at, &next) == class; i++) at = next;
  return at;
}

static int newline(uint8_t byte) { return byte == '\r' || byte == '\n'; }

static int32_t newlines(const scanner *s, int32_t at) {
  while (at < s->end && newline(s->utf8[at])) at++;
  return at;
}

static int is_letter(const scanner *s, int32_t at, char lower, int any_case) {
  if (at >= s->end) return 0;
  return s->utf8[at] == lower || (any_case && s->utf8[at] == lower - 32);
}

/* 's|'t|'re|'ve|'m|'ll|'d ; with any_case also upper case, and U+017F, which folds to s. */
static int32_t contraction(const scanner *s, int32_t at, int any_case) {
  static const char ends[7][2] = {{'s', 0}, {'t', 0}, {'r', 'e'}, {'v', 'e'}, {'m', 0}, {'l', 'l'}, {'d', 0}};
  if (s->utf8[at] != '\'') return -1;
  for (int i = 0; i < 7; i++) {
    if (!is_letter(s, at + 1, ends[i][0], any_case)) continue;
    if (!ends[i][1]) return at + 2;
    if (is_letter(s, at + 2, ends[i][1], any_case)) return at + 3;
  }
  int long_s = any_case && at + 2 < s->end && s->utf8[at + 1] == 0xc5 && s->utf8[at + 2] == 0xbf;
  return long_s ? at + 3 : -1;
}

/* ` ?X+` for one class X. */
static int32_t spaced_run(const scanner *s, int32_t at, uint32_t class) {
  int32_t begin = at + (s->utf8[at] == ' '), end = run(s, begin, class, INT32_MAX);
  return end > begin ? end : -1;
}

/* [^\r\n\p{L}\p{N}]?\p{L}+ */
static int32_t prefixed_letters(const scanner *s, int32_t at) {
  int32_t begin = at, next;
  uint32_t class = look(s, at, &next);
  if (class == NUMBER || newline(s->utf8[at])) return -1;
  if (class != LETTER) begin = next;
  int32_t end = run(s, begin, LETTER, INT32_MAX);
  return end > begin ? end : -1;
}

/* ` ?[^\s\p{L}\p{N}]+[\r\n]*` */
static int32_t symbols(const scanner *s, int32_t at) {
  int32_t end = spaced_run(s, at, OTHER);
  return end < 0 ? -1 : newlines(s, end);
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ on the whole run of white space, `at` to `end`:
 * - it contains line ends (only with `lines`): \s* gives back until [\r\n]+ matches, so up to the last line end;
 * - it goes to the end of the text: all of it;
 * - otherwise the lookahead makes \s+ give back one character, if there is another: it then begins the next word;
 * - one character is left: \s+. */
static int32_t spaces(const scanner *s, int32_t at, int lines) {
  int32_t end = at, last = at, after_line = -1, next;
  while (look(s, end, &next) == SPACE) {
    if (newline(s->utf8[end])) after_line = next;
    last = end;
    end = next;
  }
  if (lines && after_line >= 0) return after_line;
  return end == s->end || last == at ? end : last;
}

static int32_t gpt2(const scanner *s, int32_t at) {
  int32_t end = contraction(s, at, 0);
  if (end < 0) end = spaced_run(s, at, LETTER);
  if (end < 0) end = spaced_run(s, at, NUMBER);
  if (end < 0) end = spaced_run(s, at, OTHER);
  return end < 0 ? spaces(s, at, 0) : end;
}

static int32_t llama3(const scanner *s, int32_t at, int32_t digits) {
  int32_t end = contraction(s, at, 1);
  if (end < 0) end = prefixed_letters(s, at);
  if (end >= 0) return end;
  end = run(s, at, NUMBER, digits);
  if (end > at) return end;
  end = symbols(s, at);
  return end < 0 ? spaces(s, at, 1) : end;
}

static int is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

/* Whether the character or byte at `at` is what the stage looks for; *next: where the following one begins. */
static int sought(const scanner *s, uint32_t stage, int32_t at, int32_t *next) {
  if (stage == EB_SPLIT_BYTE_DIGITS || stage == EB_SPLIT_BYTE_DIGITS_ALONE) {
    uint8_t byte = s->utf8[at];
    *next = at + 1;
    return is_digit(byte) || byte == 0xb2 || byte == 0xb3 || byte == 0xb9 || (byte >= 0xbc && byte <= 0xbe);
  }
  *next = at;
  uint32_t class = eb_class_of(s->text, eb_utf8_next(s->utf8, next)) & EB_CLASS;
  if (stage == EB_SPLIT_PUNCTUATION || stage == EB_SPLIT_PUNCTUATION_ALONE) return class == EB_PUNCTUATION;
  return class == EB_NUMBER || class == EB_LATE_NUMBER;
}

/* A run of what the stage looks for, or of the rest; or one of what it looks for. */
static int32_t runs(const scanner *s, uint32_t stage, int32_t at, int alone) {
  int32_t next, following;
  int first = sought(s, stage, at, &next);
  if (first && alone) return next;
  while (next < s->end && sought(s, stage, next, &following) == first) next = following;
  return next;
}

static int three_digits(const scanner *s, int32_t at) {
  if (s->end - at < 3) return 0;
  return is_digit(s->utf8[at]) && is_digit(s->utf8[at + 1]) && is_digit(s->utf8[at + 2]);
}

static int32_t digit_triples(const scanner *s, int32_t at) {
  if (three_digits(s, at)) return at + 3;
  do at++;
  while (at < s->end && !three_digits(s, at));
  return at;
}

/* Up to the next space; with `runs_stay` up to the next one behind something else. */
static int32_t before_space(const scanner *s, int32_t at, int runs_stay) {
  do at++;
  while (at < s->end && (s->utf8[at] != ' ' || (runs_stay && s->utf8[at - 1] == ' ')));
  return at;
}

int32_t eb_split_next(const eb_text *text, uint32_t stage, const uint8_t *utf8, int32_t at, int32_t end) {
  scanner s = {text, utf8, end};
  int32_t next;
  switch (stage) {
    case EB_SPLIT_LLAMA3: next = llama3(&s, at, 3); break;
    case EB_SPLIT_QWEN2: next = llama3(&s, at, 1); break;
    case EB_SPLIT_PUNCTUATION:
    case EB_SPLIT_DIGITS:
    case EB_SPLIT_BYTE_DIGITS: next = runs(&s, stage, at, 0); break;
    case EB_SPLIT_PUNCTUATION_ALONE:
    case EB_SPLIT_DIGITS_ALONE:
    case EB_SPLIT_BYTE_DIGITS_ALONE: next = runs(&s, stage, at, 1); break;
    case EB_SPLIT_THREE_DIGITS: next = digit_triples(&s, at); break;
    case EB_SPLIT_BEFORE_SPACE: next = before_space(&s, at, 0); break;
    case EB_SPLIT_BEFORE_SPACES: next = before_space(&s, at, 1); break;
    default: next = gpt2(&s, at); break;
  }
  return next > at ? next : end; /* only a damaged class table leaves a character unmatched */
}

int eb_split_stages_agree(uint32_t stages) {
  int between_bytes = 0;
  for (; stages; stages >>= 8) {
    uint32_t stage = stages & 0xff;
    int reads_bytes = stage >= EB_SPLIT_BYTE_DIGITS;
    if (!stage || stage >= EB_SPLIT_COUNT || (between_bytes && !reads_bytes)) return 0;
    between_bytes |= stage == EB_SPLIT_BYTE_DIGITS || stage == EB_SPLIT_BYTE_DIGITS_ALONE;
  }
  return 1;
}
