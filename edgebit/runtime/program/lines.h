/* lines.h: stdin line by line. */
#ifndef RUN_LINES_H
#define RUN_LINES_H

#include "bytes.h"

enum line { LINE_READ, LINE_INTERRUPTED, LINE_END };

/* One line of stdin without its end; what was read behind it waits in `input`. */
enum line read_line(bytes *input, bytes *line);

/* Whether a line holds a NUL character: texts of C cannot. */
int has_nul(const bytes *line);

#endif
