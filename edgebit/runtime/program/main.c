/* edgebit-run: a bundle without Python. One static executable with the kernels of every tier, the runtime, and this
 * program, which uses edgebit.h and libc alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "bytes.h"
#include "doctor.h"
#include "fail.h"
#include "manifest.h"
#include "options.h"
#include "talk.h"

/* The folder this executable lies in: where a bundle is that nobody named. Without /proc: of the name it was called
 * by, which has no folder when the shell looked it up. */
static char *own_folder(const char *called) {
  size_t room = 4096;
  char *path = grown(NULL, room, 1);
  ssize_t size = readlink("/proc/self/exe", path, room - 1);
  if (size <= 0) {
    if (!strchr(called, '/')) fail_usage("which bundle? /proc does not tell where this program lies");
    size = (ssize_t)strlen(called);
    path = grown(path, (size_t)size + 1, 1);
    memcpy(path, called, (size_t)size);
  }
  path[size] = 0;
  char *slash = strrchr(path, '/');
  if (slash == path) slash++;
  if (slash) *slash = 0;
  return path;
}

static int is_set(const char *variable) {
  const char *value = getenv(variable);
  return value && *value && strcmp(value, "0");
}

int main(int count, char **arguments) {
  options chosen = options_parse(count, arguments);
  if (chosen.command == COMMAND_HELP) {
    fputs(OPTIONS_HELP, stdout);
    return EXIT_FINE;
  }
  if (chosen.command == COMMAND_VERSION) {
    printf("edgebit-run, API %s\n", eb_version());
    return EXIT_FINE;
  }
  if (chosen.tier && setenv("EDGEBIT_TIER", chosen.tier, 1)) fail("no memory");
  char *own = chosen.bundle ? NULL : own_folder(arguments[0]);
  const char *bundle = own ? own : chosen.bundle;
  if (chosen.command != COMMAND_DOCTOR && (chosen.verify || is_set("EDGEBIT_VERIFY"))) manifest_verify(bundle);
  int (*const commands[])(const char *, const options *) = {
      [COMMAND_TALK] = talk, [COMMAND_BENCH] = bench, [COMMAND_DOCTOR] = doctor};
  int status = commands[chosen.command](bundle, &chosen);
  free(own);
  return status;
}
