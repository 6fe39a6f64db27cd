#include "speculate.h"

#include "port.h"

static const double FIRST_HIT_RATE = 0.5; /* before anything is known */
static const double RATE_STEP = 1.0 / 16;
static const double TIME_STEP = 1.0 / 8;
static const double FIRST_SLOPE = 0.04; /* a token more in a pass, in passes of one: tried before it is known */
static const double FORGETTING = 1.0 / 512;

void eb_speculation_open(eb_speculation *speculation) {
  for (int i = 0; i < EB_MATCH_CLASSES; i++) speculation->hit_rate[i] = FIRST_HIT_RATE;
}

static int32_t match_class(int32_t match) { return (match < EB_MATCH_CLASSES ? match : EB_MATCH_CLASSES) - 1; }

/* Length of the common end of history[..at] and history[..position-1] followed by `token`, at most EB_MATCH_CLASSES. */
static int32_t match_length(const int32_t *history, int32_t at, int32_t token, int32_t position) {
  if (history[at] != token) return 0;
  int32_t length = 1;
  while (length < EB_MATCH_CLASSES && at - length >= 0 && history[at - length] == history[position - length])
    length++;
  return length;
}

static double assumed_pass(const eb_speculation *s, int32_t tokens) {
  double known = s->pass_seconds[tokens];
  return known > 0 ? known : s->pass_seconds[1] * (1 + FIRST_SLOPE * (tokens - 1));
}

/* The number of guesses with most tokens a second. */
static int32_t worthwhile(const eb_speculation *s, const eb_draft *draft, int32_t most) {
  double rate = s->hit_rate[match_class(draft->match)], expected = 1, likelihood = 1, best = 0;
  int32_t chosen = 0;
  if (s->pass_seconds[1] <= 0) return 0;
  for (int32_t count = 0; count <= most; count++) {
    double speed = expected / (assumed_pass(s, count + 1) + expected * s->sample_seconds);
    if (speed > best) best = speed, chosen = count;
    likelihood = likelihood * rate;
    expected = expected + likelihood;
  }
  return chosen;
}

void eb_guess(const eb_speculation *s, int32_t token, int32_t position, int32_t most, eb_draft *draft) {
  int32_t best = -1;
  draft->count = draft->guessed = draft->match = 0;
  for (int32_t at = position - 1; at >= 0 && draft->match < EB_MATCH_CLASSES; at--) {
    int32_t length = match_length(s->history, at, token, position);
    if (length > draft->match) draft->match = length, best = at;
  }
  if (most > EB_MOST_DRAFTS) most = EB_MOST_DRAFTS;
  if (best < 0 || most < 1) return;
  for (int32_t i = best + 1; draft->guessed < most; i++) /* what repeats goes on: behind `token` come guesses */
    draft->tokens[draft->guessed++] = i < position    ? s->history[i]
                                      : i == position ? token
                                                      : draft->tokens[i - position - 1];
  draft->count = worthwhile(s, draft, draft->guessed);
}

static void approach(double *average, double value, double step) {
  *average = *average > 0 ? *average + (value - *average) * step : value;
}

void eb_speculation_learn(eb_speculation *s, const eb_draft *draft, const int32_t *sampled, int32_t count,
                          double pass_seconds, double sample_seconds) {
  int32_t right = 0;
  while (right < count && right < draft->guessed && sampled[right] == draft->tokens[right]) right++;
  int32_t judged = right < count && right < draft->guessed ? right + 1 : right;
  for (int32_t i = 0; i < judged; i++) {
    double *rate = &s->hit_rate[match_class(draft->match + i)];
    *rate += ((i < right) - *rate) * RATE_STEP;
  }
  approach(&s->pass_seconds[draft->count + 1], pass_seconds, TIME_STEP);
  approach(&s->sample_seconds, sample_seconds / count, TIME_STEP);
  for (int32_t i = 2; i <= EB_MOST_DRAFTS + 1; i++) /* what was slow once is tried again some time */
    if (i != draft->count + 1) s->pass_seconds[i] -= s->pass_seconds[i] * FORGETTING;
  s->stats.passes += 1;
  s->stats.tokens += (uint64_t)count;
  s->stats.drafted += (uint64_t)draft->count;
  s->stats.accepted += (uint64_t)(count - 1);
}
