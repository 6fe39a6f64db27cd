/* fail.h: errors are one line on stderr and an exit status, as in the Python programs of a bundle. */
#ifndef RUN_FAIL_H
#define RUN_FAIL_H

enum { EXIT_FINE = 0, EXIT_WRONG = 1, EXIT_USAGE = 2 };

/* "edgebit: ..." on stderr; ends the program with EXIT_WRONG. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for a command line that makes no sense: EXIT_USAGE. */
_Noreturn void fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The line alone. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
