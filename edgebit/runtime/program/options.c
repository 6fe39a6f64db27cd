#include "options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

const char OPTIONS_HELP[] =
    "edgebit-run [BUNDLE] [OPTIONS]: runs the model of a bundle folder, by default the one this program lies in.\n"
    "\n"
    "  (nothing else)        a conversation; /help shows its commands\n"
    "  -p, --prompt TEXT     answer this message and leave\n"
    "                        (a model that makes embeddings: print that of TEXT, or of each line of stdin)\n"
    "      --raw             continue the text of --prompt, without the chat format\n"
    "      --bench           measure the speed of the model and of the memory\n"
    "      --doctor          check the files and let the model answer its recorded prompts\n"
    "      --version         version of the C API\n"
    "  -h, --help            this list\n"
    "\n"
    "Answers:\n"
    "      --system TEXT     instruction in front of the conversation\n"
    "      --max-tokens N    longest answer; default: no limit\n"
    "      --temperature T   default 0: no chance\n"
    "      --top-k K         default 0: all tokens\n"
    "      --top-p P         default 1: all tokens\n"
    "      --min-p P         default 0: all tokens\n"
    "      --seed S          default 0\n"
    "      --stop TEXT       end the answer before this text; may be repeated\n"
    "      --no-speculation  never try several tokens at once; the text is the same\n"
    "      --stats           show tokens per second after each answer\n"
    "\n"
    "Everywhere:\n"
    "      --threads N       default: the CPUs worth using\n"
    "      --tier NAME       use these kernels, as EDGEBIT_TIER does\n"
    "      --verify          check every byte of the bundle first, as EDGEBIT_VERIFY=1 does\n"
    "\n"
    "Of --bench:\n"
    "      --prefill N       tokens of the prompt, or of a text to embed; default 128\n"
    "      --decode N        tokens after a prompt; default 64\n"
    "      --repeat N        repetitions; default 5\n"
    "\n"
    "Exit status: 0 fine, 1 something is wrong, 2 the command line makes no sense.\n";

enum kind { FLAG, TEXT, COUNT, POSITIVE_FRACTION, FRACTION, TEMPERATURE, SEED, STOP, BENCH, DOCTOR, VERSION, HELP };

typedef struct {
  const char *name;
  enum kind kind;
  size_t place; /* in `options` */
} option;

static const option OPTIONS[] = {
    {"--prompt", TEXT, offsetof(options, prompt)},
    {"--raw", FLAG, offsetof(options, raw)},
    {"--bench", BENCH, 0},
    {"--doctor", DOCTOR, 0},
    {"--version", VERSION, 0},
    {"--help", HELP, 0},
    {"--system", TEXT, offsetof(options, system)},
    {"--max-tokens", COUNT, offsetof(options, max_tokens)},
    {"--temperature", TEMPERATURE, offsetof(options, sampling.temperature)},
    {"--top-k", COUNT, offsetof(options, sampling.top_k)},
    {"--top-p", POSITIVE_FRACTION, offsetof(options, sampling.top_p)},
    {"--min-p", FRACTION, offsetof(options, sampling.min_p)},
    {"--seed", SEED, offsetof(options, sampling.seed)},
    {"--stop", STOP, 0},
    {"--no-speculation", FLAG, offsetof(options, no_speculation)},
    {"--stats", FLAG, offsetof(options, stats)},
    {"--threads", COUNT, offsetof(options, threads)},
    {"--tier", TEXT, offsetof(options, tier)},
    {"--verify", FLAG, offsetof(options, verify)},
    {"--prefill", COUNT, offsetof(options, prefill)},
    {"--decode", COUNT, offsetof(options, decode)},
    {"--repeat", COUNT, offsetof(options, repeat)},
};
enum { OPTION_COUNT = sizeof OPTIONS / sizeof OPTIONS[0] };

/* The option that `name` (`size` bytes of it) calls. */
static const option *find(const char *name, size_t size) {
  if (size == 2 && !memcmp(name, "-p", 2)) return find("--prompt", 8);
  if (size == 2 && !memcmp(name, "-h", 2)) return find("--help", 6);
  for (int i = 0; i < OPTION_COUNT; i++)
    if (strlen(OPTIONS[i].name) == size && !memcmp(name, OPTIONS[i].name, size)) return OPTIONS + i;
  fail_usage("%.*s is not an option", (int)size, name);
}

static int needs_value(enum kind kind) { return kind != FLAG && kind < BENCH; }

static int32_t read_count(const char *name, const char *value) {
  char *end;
  errno = 0;
  long long number = strtoll(value, &end, 10);
  if (!*value || *end || errno || number < 0 || number > INT32_MAX)
    fail_usage("%s %s: expected a whole number from 0 up", name, value);
  return (int32_t)number;
}

static uint64_t read_seed(const char *name, const char *value) {
  char *end;
  errno = 0;
  unsigned long long number = strtoull(value, &end, 10);
  if (!*value || *end || errno) fail_usage("%s %s: expected a whole number", name, value);
  return number;
}

static float read_fraction(const option *option, const char *value) {
  char *end;
  double number = strtod(value, &end);
  if (!*value || *end || !isfinite(number)) fail_usage("%s %s: expected a number", option->name, value);
  if (option->kind == TEMPERATURE && number < 0) fail_usage("%s %s: expected a number from 0 up", option->name, value);
  if (option->kind == FRACTION && (number < 0 || number > 1))
    fail_usage("%s %s: expected a number from 0 (all tokens) to 1", option->name, value);
  if (option->kind == POSITIVE_FRACTION && (number <= 0 || number > 1))
    fail_usage("%s %s: expected a number above 0, up to 1", option->name, value);
  return (float)number;
}

static void add_stop(options *chosen, const char *text) {
  if (chosen->stop_count == MOST_STOPS) fail_usage("--stop more than %d times", MOST_STOPS);
  if (*text) chosen->stops[chosen->stop_count++] = text;
}

static void take(options *chosen, const option *option, const char *value) {
  char *place = (char *)chosen + option->place;
  switch (option->kind) {
    case FLAG: *(int *)(void *)place = 1; break;
    case TEXT: *(const char **)(void *)place = value; break;
    case COUNT: *(int32_t *)(void *)place = read_count(option->name, value); break;
    case SEED: *(uint64_t *)(void *)place = read_seed(option->name, value); break;
    case TEMPERATURE:
    case FRACTION:
    case POSITIVE_FRACTION: *(float *)(void *)place = read_fraction(option, value); break;
    case STOP: add_stop(chosen, value); break;
    case BENCH: chosen->command = COMMAND_BENCH; break;
    case DOCTOR: chosen->command = COMMAND_DOCTOR; break;
    case VERSION: chosen->command = COMMAND_VERSION; break;
    case HELP: chosen->command = COMMAND_HELP; break;
  }
}

options options_parse(int count, char **arguments) {
  options chosen = {.repeat = 5, .sampling = {.top_p = 1}};
  for (int i = 1; i < count; i++) {
    const char *text = arguments[i];
    if (text[0] != '-' || !text[1]) {
      if (chosen.bundle) fail_usage("one bundle at a time: %s or %s", chosen.bundle, text);
      chosen.bundle = text;
      continue;
    }
    const char *equals = text[1] == '-' ? strchr(text, '=') : NULL;
    const option *option = find(text, equals ? (size_t)(equals - text) : strlen(text));
    const char *value = equals ? equals + 1 : NULL;
    if (value && !needs_value(option->kind)) fail_usage("%s takes no value", option->name);
    if (!value && needs_value(option->kind)) {
      if (++i == count) fail_usage("%s: a value is missing", option->name);
      value = arguments[i];
    }
    take(&chosen, option, value);
  }
  if (chosen.raw && !chosen.prompt) fail_usage("--raw continues the text of --prompt, which is missing");
  if (chosen.command == COMMAND_BENCH && !chosen.repeat) fail_usage("--repeat 0: expected at least 1");
  return chosen;
}
