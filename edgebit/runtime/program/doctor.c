#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "self_test.h"
#include "system.h"

static const char FORCED[] = "EDGEBIT_TIER";

typedef struct {
  const char *bundle, *tier; /* the only one to test, NULL: all */
  int32_t threads;           /* asked for, 0: the CPUs worth using */
  manifest facts;
  int faults;
  char first_fault[SENTENCE_BYTES];
  bytes tested; /* names of tiers */
} examination;

enum state { RIGHT, NOTE, WRONG };

static void note_fault(examination *e, const char *text) {
  if (!e->faults++) snprintf(e->first_fault, sizeof e->first_fault, "%s", text);
}

static void find(examination *e, const char *subject, enum state state, const char *text) {
  static const char *const STATES[] = {"right", "note", "wrong"};
  printf("%-9s  %-5s  %s\n", subject, STATES[state], text);
  fflush(stdout);
  if (state == WRONG) note_fault(e, text);
}

/* ---- files and machine ------------------------------------------------------------------------------------ */

static void check_files(examination *e) {
  char text[SENTENCE_BYTES], size[SIZE_TEXT];
  const json *table = &e->facts.table;
  const json_value *each = json_first(table, json_member(table, e->facts.root, "files"));
  int count = 0, damaged = 0;
  double total = 0;
  for (; each; each = json_next(table, each), count++) {
    int64_t bytes = 0;
    json_integer(json_member(table, each, "size"), &bytes);
    total += (double)bytes;
    if (manifest_check_file(e->bundle, &e->facts, each, text)) continue;
    damaged++;
    find(e, "files", WRONG, text);
  }
  snprintf(text, sizeof text, "%d files, %s: sizes and sha256 as in manifest.json", count, size_text(size, total));
  if (!damaged) find(e, "files", RIGHT, text);
}

static void check_machine(examination *e) {
  char text[SENTENCE_BYTES];
  const char *architecture = json_text(manifest_value(&e->facts, "target", "architecture"));
  const char *target = json_text(manifest_value(&e->facts, "target", "name"));
  int same = !strcmp(architecture, SYSTEM_ARCHITECTURE);
  snprintf(text, sizeof text, same ? "%s, as the bundle (%s)" : "this program is for %s, the bundle for %s",
           SYSTEM_ARCHITECTURE, same && target ? target : architecture);
  find(e, "machine", same ? RIGHT : WRONG, text);
  snprintf(text, sizeof text, "%ld bytes", sysconf(_SC_PAGESIZE));
  find(e, "pages", RIGHT, text);
}

static void check_memory(examination *e, int32_t threads) {
  char text[SENTENCE_BYTES], sizes[5][SIZE_TEXT];
  const manifest *facts = &e->facts;
  double mapped = (double)manifest_integer(facts, "memory", "weights");
  double cache = (double)manifest_integer(facts, "memory", "cache");
  double own = (double)manifest_integer(facts, "memory", "activations") +
               (double)manifest_integer(facts, "memory", "logits") +
               (double)threads * (double)manifest_integer(facts, "memory", "scratch_per_thread");
  double all = mapped + cache + own, free = (double)system_free_memory();
  int used = snprintf(text, sizeof text, "needs %s (weights %s, full context %s, the rest %s)",
                      size_text(sizes[0], all), size_text(sizes[1], mapped), size_text(sizes[2], cache),
                      size_text(sizes[3], own));
  char *rest = text + used;
  size_t room = sizeof text - (size_t)used;
  if (free <= 0)
    snprintf(rest, room, "; this system does not say what is free");
  else
    snprintf(rest, room, ", %s can be had%s", size_text(sizes[4], free),
             own > free   ? ": end other programs"
             : all > free ? ": weights will be read from storage again and again, slowly"
                          : "");
  find(e, "memory", free <= 0 || all <= free ? RIGHT : own > free ? WRONG : NOTE, text);
}

/* ---- self-test -------------------------------------------------------------------------------------------- */

/* The self-test with these kernels and threads, a row of the table; 1 where it is right. */
static int test_tier(examination *e, const char *tier, int32_t threads) {
  char error[SENTENCE_BYTES] = "", text[SENTENCE_BYTES + 100];
  double start = now();
  setenv(FORCED, tier, 1);
  engine open = engine_open(e->bundle, threads);
  int right = self_test_run(&e->facts, &open, error);
  engine_close(&open);
  printf("%-10s  %7d  %7.1f  %s\n", tier, (int)threads, now() - start, right ? "right" : error);
  fflush(stdout);
  snprintf(text, sizeof text, "%s, %d thread%s: %s", tier, (int)threads, threads > 1 ? "s" : "", error);
  if (!right) note_fault(e, text);
  return right;
}

/* Why the CPU cannot run a tier; "" where it can. */
static void find_refusal(const char *bundle, const char *tier, char error[MESSAGE_BYTES]) {
  error[0] = 0;
  setenv(FORCED, tier, 1);
  eb_close(eb_open(bundle, error, MESSAGE_BYTES));
}

static void test_tiers(examination *e, const char *chosen, int32_t threads) {
  const json *table = &e->facts.table;
  const json_value *each = json_first(table, manifest_value(&e->facts, "target", "tiers"));
  printf("\n%-10s  threads  seconds\n", "self-test");
  for (; each; each = json_next(table, each)) {
    char refusal[MESSAGE_BYTES];
    const char *tier = json_text(each);
    if (!tier || (e->tier && strcmp(e->tier, tier))) continue;
    find_refusal(e->bundle, tier, refusal);
    if (refusal[0]) continue;
    int right = strcmp(tier, chosen) || threads == 1 || test_tier(e, tier, 1);
    if (!test_tier(e, tier, threads) || !right) continue;
    if (e->tested.size) bytes_add_text(&e->tested, ", ");
    bytes_add_text(&e->tested, tier);
  }
}

/* ---- processor -------------------------------------------------------------------------------------------- */

static void add_refusals(examination *e, bytes *text) {
  const json *table = &e->facts.table;
  const json_value *each = json_first(table, manifest_value(&e->facts, "target", "tiers"));
  for (; each; each = json_next(table, each)) {
    char refusal[MESSAGE_BYTES];
    const char *tier = json_text(each);
    if (!tier) continue;
    find_refusal(e->bundle, tier, refusal);
    if (!refusal[0]) continue;
    bytes_add_text(text, "; not ");
    bytes_add_text(text, tier);
  }
}

/* Opens the model as everybody does; then what it was opened with. */
static void check_model(examination *e) {
  char error[MESSAGE_BYTES], cpu[120], text[300];
  eb_model *model = eb_open(e->bundle, error, sizeof error);
  eb_session *session = model ? eb_session_open(model, e->threads, error, sizeof error) : NULL;
  if (!session) {
    eb_close(model);
    find(e, "model", WRONG, error);
    return;
  }
  char chosen[64];
  snprintf(chosen, sizeof chosen, "%s", eb_tier_name(model));
  int32_t threads = eb_threads(session);
  eb_session_close(session);
  eb_close(model);
  system_cpu_name(cpu, sizeof cpu);
  int cpus = system_cpu_count();
  snprintf(text, sizeof text, "%s, %d CPU%s for this process; takes %s with %d thread%s", cpu, cpus,
           cpus > 1 ? "s" : "", chosen, (int)threads, threads > 1 ? "s" : "");
  bytes all = {0};
  bytes_add_text(&all, text);
  add_refusals(e, &all);
  find(e, "processor", RIGHT, all.data);
  bytes_free(&all);
  check_memory(e, threads);
  if (self_test_count(&e->facts))
    test_tiers(e, chosen, threads);
  else
    find(e, "self-test", NOTE, "no self-test in this bundle");
}

static void print_verdict(const examination *e) {
  if (!e->faults && e->tested.size)
    printf("\nright: the model computes here, bit for bit, what it did when it was compiled (%s)\n", e->tested.data);
  else if (!e->faults)
    puts("\nright: the model opens, and its files are whole");
  else if (e->faults == 1)
    printf("\nwrong: %s\n", e->first_fault);
  else
    printf("\nwrong: %s (and %d more, see above)\n", e->first_fault, e->faults - 1);
}

int doctor(const char *bundle, const options *chosen) {
  char error[SENTENCE_BYTES] = "";
  examination e = {.bundle = bundle, .tier = chosen->tier, .threads = chosen->threads};
  if (manifest_open(&e.facts, bundle, error)) {
    check_files(&e);
    check_machine(&e);
    check_model(&e);
  } else {
    find(&e, "files", WRONG, error);
  }
  print_verdict(&e);
  manifest_close(&e.facts);
  bytes_free(&e.tested);
  return e.faults ? EXIT_WRONG : EXIT_FINE;
}
