#include "message.h"

#include <stdarg.h>

typedef struct {
  char *out;
  int32_t size, used;
} sink;

static void put_text(sink *to, const char *text) {
  while (*text && to->used + 1 < to->size) to->out[to->used++] = *text++;
}

static void put_number(sink *to, unsigned long long number) {
  char digits[21];
  int i = (int)sizeof digits - 1;
  digits[i] = 0;
  do {
    digits[--i] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  put_text(to, digits + i);
}

static void put_signed(sink *to, int number) {
  if (number < 0) put_text(to, "-");
  put_number(to, number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number);
}

void eb_message(char *out, int32_t size, const char *format, ...) {
  if (!out || size < 1) return;
  sink to = {out, size, 0};
  va_list arguments;
  va_start(arguments, format);
  for (const char *f = format; *f; f++) {
    char literal[2] = {*f, 0};
    if (*f != '%') {
      put_text(&to, literal);
    } else if (f[1] == 's') {
      put_text(&to, va_arg(arguments, const char *));
      f += 1;
    } else if (f[1] == 'd') {
      put_signed(&to, va_arg(arguments, int));
      f += 1;
    } else { /* %llu */
      put_number(&to, va_arg(arguments, unsigned long long));
      f += 3;
    }
  }
  va_end(arguments);
  out[to.used] = 0;
}
