#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "bench_call.h"
#include "fail.h"
#include "figures.h"
#include "manifest.h"
#include "system.h"

enum { BLOCK = 8, OWN_MEMORY_READS = 5 };
static const double READ_SECONDS = 0.005; /* a read takes at least so long */
static const uint64_t OWN_MEMORY_LEAST = 64 << 20;

/* What decoding reads, as manifest.json says (edgebit/compiler/summary.py). */
typedef struct {
  uint64_t streamed_offset, streamed_bytes;
  double body_bytes, cache_bytes_per_token, logits_bytes, screen_bytes, row_bytes, refine_bytes;
} plan_facts;

typedef struct {
  engine open;
  plan_facts plan;
  int32_t prefill, decode, repeat;
  int32_t *prompt;
  int32_t first, token;
  int32_t rounds; /* of a read */
  double load_seconds;
  series prefill_speed, first_token, decode_speed, guessed_speed, read_rate, bytes, fraction;
} run;

/* ---- the plan --------------------------------------------------------------------------------------------- */

/* Bytes of "kernel bytes label". */
static double kind_bytes(const manifest *from, long index) {
  const json *table = &from->table;
  const json_value *kind = json_first(table, manifest_value(from, "plan", "kinds"));
  while (kind && index--) kind = json_next(table, kind);
  const char *text = kind ? json_text(kind) : NULL;
  const char *size = text ? strchr(text, ' ') : NULL;
  return size ? strtod(size, NULL) : NAN;
}

static plan_facts read_plan(const char *bundle) {
  char error[SENTENCE_BYTES];
  manifest from;
  if (!manifest_open(&from, bundle, error)) fail("%s", error);
  plan_facts plan = {
      .streamed_offset = (uint64_t)manifest_integer(&from, "plan", "streamed_offset"),
      .streamed_bytes = (uint64_t)manifest_integer(&from, "plan", "streamed_bytes"),
      .cache_bytes_per_token = (double)manifest_integer(&from, "plan", "cache_bytes_per_token"),
      .logits_bytes = (double)manifest_integer(&from, "plan", "logits_bytes"),
      .screen_bytes = (double)manifest_integer(&from, "plan", "screen_bytes"),
      .row_bytes = (double)manifest_integer(&from, "plan", "row_bytes"),
      .refine_bytes = (double)manifest_integer(&from, "plan", "refine_bytes"),
  };
  const char *steps = json_text(manifest_value(&from, "plan", "decode"));
  for (char *end; steps && *steps; steps = end) {
    long kind = strtol(steps, &end, 10);
    if (end == steps) break;
    plan.body_bytes += kind_bytes(&from, kind);
  }
  manifest_close(&from);
  if (!plan.streamed_bytes || !(plan.body_bytes >= 0))
    fail("manifest.json does not say what the steps of the model read: compile it again to measure it");
  return plan;
}

/* ---- work ------------------------------------------------------------------------------------------------- */

static void check(const run *r, int64_t code) {
  if (code < 0) fail("%s", eb_session_error(r->open.session));
}

/* What was asked for; by default 128 and 64 tokens, or what the context holds. */
static void choose_work(run *r, const options *chosen) {
  int32_t context = r->open.info.context;
  r->repeat = chosen->repeat;
  r->prefill = context - (chosen->decode ? chosen->decode : context / 2);
  if (r->prefill > 128) r->prefill = 128;
  if (r->prefill < 1) r->prefill = 1;
  if (chosen->prefill) r->prefill = chosen->prefill;
  r->decode = context - r->prefill < 64 ? context - r->prefill : 64;
  if (r->decode < 1) r->decode = 1;
  if (chosen->decode) r->decode = chosen->decode;
  if ((int64_t)r->prefill + r->decode > context)
    fail("--prefill %d and --decode %d need %lld tokens, the context holds %d: ask for less, or compile the model "
         "with a longer context", (int)r->prefill, (int)r->decode, (long long)r->prefill + r->decode, (int)context);
}

int32_t *bench_tokens(const engine *open, int32_t count) {
  uint64_t state = 1;
  int32_t *ids = grown(NULL, (size_t)count, sizeof *ids);
  for (int32_t i = 0; i < count;) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    int32_t token = (int32_t)((state >> 33) % (uint64_t)open->info.vocab_size);
    if (!eb_is_special(open->model, token) && !eb_is_stop(open->model, token)) ids[i++] = token;
  }
  return ids;
}

static const eb_sampling GREEDY = {0};

/* Seconds for the prompt; *first: until its first token was there. */
static double time_prefill(run *r, double *first) {
  eb_rewind(r->open.session, 0);
  double start = now();
  check(r, eb_evaluate(r->open.session, r->prompt, r->prefill));
  double evaluated = now() - start;
  r->token = r->first = eb_sample(r->open.session, &GREEDY);
  check(r, r->token);
  *first = now() - start;
  return evaluated;
}

/* Seconds for `count` more tokens; stop tokens do not stop. */
static double time_decode(run *r, int32_t count) {
  double start = now();
  while (count--) check(r, eb_generate(r->open.session, r->token, &GREEDY, 0, &r->token, 1));
  return now() - start;
}

/* Seconds for the tokens behind the prompt once more, with guesses. */
static double time_guessing(run *r) {
  check(r, eb_rewind(r->open.session, r->prefill));
  int32_t token = r->first, tokens[BLOCK];
  double start = now();
  for (int32_t left = r->decode, count; left; left -= count) {
    count = eb_generate(r->open.session, token, &GREEDY, 1, tokens, left < BLOCK ? left : BLOCK);
    check(r, count);
    token = tokens[count - 1];
  }
  return now() - start;
}

/* Seconds for reading what decoding streams, some rounds. */
static double time_read(run *r) {
  int64_t nanoseconds =
      eb_read_weights(r->open.session, r->plan.streamed_offset, r->plan.streamed_bytes, r->rounds);
  check(r, nanoseconds);
  return (double)nanoseconds * 1e-9;
}

static void warm_up(run *r) {
  double first;
  time_prefill(r, &first);
  time_decode(r, r->decode);
  time_guessing(r);
  r->rounds = 1;
  time_read(r);
  double once = time_read(r);
  r->rounds = (int32_t)fmax(1, round(READ_SECONDS / fmax(once, 1e-6)));
}

/* Bytes that decoding one token reads, by the counters of the head. */
static double token_bytes(const run *r, const eb_head_stats *before) {
  eb_head_stats stats;
  eb_session_head_stats(r->open.session, &stats);
  double queries = (double)(stats.queries - before->queries);
  double passes = (double)(stats.full_passes - before->full_passes);
  double rows = (double)(stats.computed_rows - before->computed_rows);
  double found = queries + passes - (double)(stats.fallbacks - before->fallbacks);
  double again = (double)(stats.refined_rows - before->refined_rows);
  double screened = r->plan.screen_bytes * queries + r->plan.refine_bytes * again;
  double head = screened + r->plan.row_bytes * rows + r->plan.logits_bytes * passes;
  return r->plan.body_bytes + head / found + r->plan.cache_bytes_per_token * (r->prefill + (r->decode + 1) / 2.0);
}

/* Prompt, decoding and reads in turn, so that each meets the same machine. */
static void repeat(run *r) {
  eb_head_stats before;
  eb_session_head_stats(r->open.session, &before);
  double first, prefill = time_prefill(r, &first), decoding = 0, reading = time_read(r);
  int reads = 1;
  for (int32_t done = 0; done < r->decode; done += BLOCK, reads++) {
    decoding += time_decode(r, r->decode - done < BLOCK ? r->decode - done : BLOCK);
    reading += time_read(r);
  }
  double rate = (double)reads * r->rounds * (double)r->plan.streamed_bytes / reading;
  double bytes = token_bytes(r, &before);
  series_add(&r->prefill_speed, r->prefill / prefill);
  series_add(&r->first_token, first);
  series_add(&r->decode_speed, r->decode / decoding);
  series_add(&r->read_rate, rate);
  series_add(&r->bytes, bytes);
  series_add(&r->fraction, r->decode / decoding * bytes / rate);
  series_add(&r->guessed_speed, r->decode / time_guessing(r));
}

/* ---- figures ---------------------------------------------------------------------------------------------- */

static void print_speed(const char *name, int32_t tokens, const series *of) {
  char title[40];
  snprintf(title, sizeof title, tokens ? "%s, %d tokens" : "%s", name, (int)tokens);
  double median = series_median(of);
  printf("%-24s  %10.1f  %10.1f  %8.1f  %8.2f\n", title, median, series_mean(of), series_std(of), 1e3 / median);
}

static double own_memory_rate(run *r) {
  uint64_t size = 8 * system_last_cache(), available = system_free_memory();
  if (size < OWN_MEMORY_LEAST) size = OWN_MEMORY_LEAST;
  if (available && size > available / 4) size = available / 4;
  series rates = {0};
  for (int i = 0; i < OWN_MEMORY_READS; i++) {
    int64_t nanoseconds = eb_read_memory(r->open.session, size, 1);
    check(r, nanoseconds);
    series_add(&rates, (double)size / ((double)nanoseconds * 1e-9));
  }
  double rate = series_median(&rates);
  free(rates.values);
  return rate;
}

static void print_report(run *r) {
  char cpu[120], size[SIZE_TEXT];
  double rate = series_median(&r->read_rate), own = own_memory_rate(r);
  double per_token = series_median(&r->bytes);
  int cached = r->plan.streamed_bytes < system_last_cache();
  system_cpu_name(cpu, sizeof cpu);
  printf("%-24s  %10s  %10s  %8s  %8s\n", "", "tokens/s", "mean", "std", "ms/token");
  print_speed("prefill", r->prefill, &r->prefill_speed);
  print_speed("decode", r->decode, &r->decode_speed);
  print_speed("  with guesses", 0, &r->guessed_speed);
  printf("\n%-20s  %.3f s\n", "time to first token", series_median(&r->first_token));
  printf("%-20s  %.1f ms\n", "load", r->load_seconds * 1e3);
  printf("%-20s  %s\n", "bytes per token", size_text(size, per_token));
  printf("%-20s  %.1f GB/s%s; other memory %.1f GB/s\n", "read speed", rate / 1e9,
         cached ? " (the weights fit into the last cache)" : "", own / 1e9);
  printf("%-20s  %.1f tokens/s; decode reaches %.1f%%\n", "roofline", rate / per_token, 100 * series_median(&r->fraction));
  printf("\n%-20s  %s, %d usable; %s, %d thread%s\n", "CPU", cpu, system_cpu_count(), eb_tier_name(r->open.model),
         (int)eb_threads(r->open.session), eb_threads(r->open.session) > 1 ? "s" : "");
}

static void bench_answers(run *r, const options *chosen) {
  choose_work(r, chosen);
  r->prompt = bench_tokens(&r->open, r->prefill);
  warm_up(r);
  for (int32_t i = 0; i < r->repeat; i++) repeat(r);
  print_report(r);
  series *all[] = {&r->prefill_speed, &r->first_token, &r->decode_speed, &r->guessed_speed,
                   &r->read_rate,     &r->bytes,       &r->fraction};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]->values);
  free(r->prompt);
}

int bench(const char *bundle, const options *chosen) {
  double start = now();
  run r = {.open = engine_open(bundle, chosen->threads)};
  r.load_seconds = now() - start;
  int status = EXIT_FINE;
  if (r.open.info.task == EB_TASK_GENERATE) {
    r.plan = read_plan(bundle);
    bench_answers(&r, chosen);
  } else {
    status = bench_calls(&r.open, chosen, r.load_seconds);
  }
  engine_close(&r.open);
  return status;
}
