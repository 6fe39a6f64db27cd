#include "talk.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "embed.h"
#include "fail.h"
#include "lines.h"
#include "tensors.h"

static const char HELP[] =
    "/reset  forget the conversation\n"
    "/help   this list\n"
    "/exit   leave (or Ctrl-D)\n"
    "Ctrl-C stops an answer; twice leaves.\n";

typedef struct {
  engine open;
  const options *chosen;
  answer_settings settings;
  char **roles, **contents; /* [count]: copies */
  int32_t count;
  bytes said; /* the answer so far */
} conversation;

/* ---- Ctrl-C ----------------------------------------------------------------------------------------------- */

/* The handler goes after one signal: a second Ctrl-C, before the first was seen, ends the program as everywhere. */
static void on_interrupt(int signal) {
  (void)signal;
  interrupted = 1;
}

static void listen_for_interrupts(void) {
  struct sigaction action = {.sa_flags = (int)SA_RESETHAND};
  action.sa_handler = on_interrupt;
  interrupted = 0;
  sigaction(SIGINT, &action, NULL);
}

/* ---- messages --------------------------------------------------------------------------------------------- */

static char *copy_of(const char *text) { return strcpy(grown(NULL, strlen(text) + 1, 1), text); }

static void add_message(conversation *c, const char *role, const char *content) {
  c->roles = grown(c->roles, (size_t)c->count + 1, sizeof *c->roles);
  c->contents = grown(c->contents, (size_t)c->count + 1, sizeof *c->contents);
  c->roles[c->count] = copy_of(role);
  c->contents[c->count++] = copy_of(content);
}

static void take_message_back(conversation *c) {
  c->count--;
  free(c->roles[c->count]);
  free(c->contents[c->count]);
}

static void reset(conversation *c) {
  while (c->count) take_message_back(c);
  if (c->chosen->system) add_message(c, "system", c->chosen->system);
}

/* Tokens of the conversation; NULL and a sentence where the chat template refuses it. */
static int32_t *chat_tokens(const conversation *c, int32_t *count, char *error) {
  int32_t *ids = NULL;
  for (int32_t room = 256;; room = *count) {
    ids = grown(ids, (size_t)room, sizeof *ids);
    *count = eb_chat_tokens(c->open.model, (const char *const *)c->roles, (const char *const *)c->contents, c->count, 1,
                            ids, room, error, MESSAGE_BYTES);
    if (*count >= 0 && *count <= room) return ids;
    if (*count < 0) break;
  }
  free(ids);
  return NULL;
}

/* ---- answers ---------------------------------------------------------------------------------------------- */

/* To stdout at once, and whole: Ctrl-C interrupts a write that waits for the terminal, too. */
static void put(const char *text, size_t size) {
  while (size) {
    ssize_t done = write(STDOUT_FILENO, text, size);
    if (done < 0 && errno != EINTR) fail("the answer cannot be written: %s", strerror(errno));
    text += done > 0 ? done : 0;
    size -= done > 0 ? (size_t)done : 0;
  }
}

static void show(void *user, const char *text, size_t size) {
  bytes_add(user, text, size);
  put(text, size);
}

static double rate(int32_t tokens, double seconds) { return tokens > 0 && seconds > 0 ? tokens / seconds : 0; }

static void show_figures(const answer_figures *f) {
  char cached[40] = "";
  if (f->cached_tokens) snprintf(cached, sizeof cached, " (%d cached)", (int)f->cached_tokens);
  fprintf(stderr, "prompt %d tokens%s at %.1f tokens/s, answer %d tokens at %.1f tokens/s, first after %.3f s\n",
          (int)f->prompt_tokens, cached, rate(f->prompt_tokens - f->cached_tokens, f->prefill_seconds),
          (int)f->generated_tokens, rate(f->generated_tokens - 1, f->decode_seconds), f->first_token_seconds);
}

/* Prints the answer to tokens as it comes; 0 and a sentence on an error. Takes the tokens. */
static int answer_tokens(conversation *c, int32_t *ids, int32_t count, char *error) {
  if (!ids) return 0;
  answer_figures figures;
  answer_sink sink = {show, &c->said};
  fflush(stdout);
  c->said.size = 0;
  enum answer_end end = answer(&c->open, ids, count, &c->settings, sink, &figures, error);
  free(ids);
  if (end == ANSWER_INTERRUPTED) put(" ...", 4);
  if (end != ANSWER_FAILED || c->said.size) put("\n", 1);
  if (end == ANSWER_FAILED) return 0;
  if (c->chosen->stats) show_figures(&figures);
  return 1;
}

/* The answer to a message; an error takes the message back. */
static int answer_message(conversation *c, const char *text, char *error) {
  int32_t count = 0;
  add_message(c, "user", text);
  int32_t *ids = chat_tokens(c, &count, error);
  if (!answer_tokens(c, ids, count, error)) {
    take_message_back(c);
    return 0;
  }
  add_message(c, "assistant", c->said.size ? c->said.data : "");
  return 1;
}

/* ---- the conversation ------------------------------------------------------------------------------------- */

static char *without_blanks(char *text) {
  size_t size = strlen(text);
  while (size && strchr(" \t\r\f\v", text[size - 1])) text[--size] = 0;
  return text + strspn(text, " \t\r\f\v");
}

/* An error: ends the program, unless somebody is there to read it and to go on. */
static void refuse(const char *error, int terminal) {
  if (!terminal) fail("%s", error);
  fprintf(stderr, "%s (/reset begins again)\n", error);
}

/* Does what a line says; 0 when it says to leave. */
static int take_line(conversation *c, const char *text, int terminal) {
  char error[MESSAGE_BYTES] = "";
  if (!strcmp(text, "/exit")) return 0;
  if (!strcmp(text, "/reset")) {
    reset(c);
  } else if (!strcmp(text, "/help")) {
    fputs(HELP, stdout);
  } else if (text[0] == '/' && !strchr(text, ' ')) {
    fprintf(stderr, "%s is not a command; /help shows them\n", text);
  } else if (*text && !answer_message(c, text, error)) {
    refuse(error, terminal);
  }
  return 1;
}

static void converse(conversation *c) {
  int terminal = isatty(STDIN_FILENO);
  bytes input = {0}, line = {0};
  if (terminal) puts("/help shows the commands.");
  for (;;) {
    if (terminal) {
      fputs("> ", stdout);
      listen_for_interrupts();
    }
    fflush(stdout);
    enum line read = read_line(&input, &line);
    if (read == LINE_END && terminal) putchar('\n');
    if (read == LINE_INTERRUPTED && terminal) putchar('\n');
    if (read == LINE_END) break;
    if (read == LINE_READ && has_nul(&line))
      refuse("a message contains a NUL character", terminal);
    else if (read == LINE_READ && !take_line(c, without_blanks(line.data), terminal))
      break;
  }
  bytes_free(&input);
  bytes_free(&line);
}

int talk(const char *bundle, const options *chosen) {
  char error[MESSAGE_BYTES] = "";
  conversation c = {.chosen = chosen, .open = engine_open(bundle, chosen->threads)};
  if (c.open.info.task != EB_TASK_GENERATE) {
    int status = c.open.info.task == EB_TASK_RUN ? tensors_filter(&c.open) : embed(&c.open, chosen);
    engine_close(&c.open);
    return status;
  }
  c.settings = (answer_settings){chosen->sampling, chosen->max_tokens, !chosen->no_speculation, chosen->stops,
                                 chosen->stop_count, !chosen->raw};
  reset(&c);
  int answered = 1;
  if (chosen->raw) {
    int32_t count = 0;
    int32_t *ids = engine_tokens(&c.open, chosen->prompt, &count);
    if (!ids) snprintf(error, sizeof error, "the text cannot be tokenized: this model has no tokenizer");
    answered = answer_tokens(&c, ids, count, error);
  } else if (chosen->prompt) {
    answered = answer_message(&c, chosen->prompt, error);
  } else {
    converse(&c);
  }
  if (!answered) complain("%s", error);
  while (c.count) take_message_back(&c);
  free(c.roles);
  free(c.contents);
  bytes_free(&c.said);
  engine_close(&c.open);
  return answered ? EXIT_FINE : EXIT_WRONG;
}
