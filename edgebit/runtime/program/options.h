/* options.h: the command line. */
#ifndef RUN_OPTIONS_H
#define RUN_OPTIONS_H

#include <edgebit.h>

enum command { COMMAND_TALK, COMMAND_BENCH, COMMAND_DOCTOR, COMMAND_VERSION, COMMAND_HELP };

enum { MOST_STOPS = 16 };

typedef struct {
  int command;        /* enum command */
  const char *bundle; /* NULL: the folder of the executable */
  const char *prompt; /* NULL: a conversation on stdin */
  const char *system;
  const char *tier;
  const char *stops[MOST_STOPS];
  int stop_count;
  int raw, stats, no_speculation, verify; /* flags */
  int32_t max_tokens;                     /* 0: until the answer is done */
  int32_t threads;                        /* 0: the CPUs worth using */
  int32_t prefill, decode;                /* 0: what the context allows */
  int32_t repeat;
  eb_sampling sampling;
} options;

/* The options of a command line; one that makes no sense ends the program with EXIT_USAGE. */
options options_parse(int count, char **arguments);

/* Text for --help. */
extern const char OPTIONS_HELP[];

#endif
