#include "cpu.h"

#include "memory.h"
#include "message.h"
#include "port.h"

/* ---- features --------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  uint64_t bit;
} FEATURES[] = {
    {"avx2", EB_AVX2},         {"fma", EB_FMA},           {"f16c", EB_F16C},         {"bmi2", EB_BMI2},
    {"avx512f", EB_AVX512F},   {"avx512bw", EB_AVX512BW}, {"avx512dq", EB_AVX512DQ}, {"avx512vl", EB_AVX512VL},
    {"avx512vnni", EB_AVX512VNNI}, {"neon", EB_NEON},     {"dotprod", EB_DOTPROD},   {"i8mm", EB_I8MM},
    {"avxvnni", EB_AVXVNNI},   {"ssse3", EB_SSSE3},
};
enum { FEATURE_COUNT = sizeof FEATURES / sizeof FEATURES[0] };

#if defined(__x86_64__)

typedef struct {
  uint32_t a, b, c, d;
} registers;

static registers cpuid(uint32_t leaf, uint32_t subleaf) {
  registers r;
  __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(subleaf));
  return r;
}

/* XCR0: the register states that the operating system saves; without them the instructions fault. */
static uint32_t enabled_states(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

uint64_t eb_cpu_features(void) {
  const uint32_t osxsave = 1u << 27, ymm_states = 0x06, zmm_states = 0xE6;
  uint32_t last_leaf = cpuid(0, 0).a;
  registers one = cpuid(1, 0);
  uint64_t features = 0;
  if (one.c & 1u << 9) features |= EB_SSSE3; /* its registers are those of SSE2, always saved */
  if (last_leaf < 7 || !(one.c & osxsave)) return features;
  registers seven = cpuid(7, 0);
  uint32_t states = enabled_states();
  if ((states & ymm_states) != ymm_states) return features;
  if (one.c & 1u << 12) features |= EB_FMA;
  if (one.c & 1u << 29) features |= EB_F16C;
  if (seven.b & 1u << 5) features |= EB_AVX2;
  if (seven.b & 1u << 8) features |= EB_BMI2;
  if (seven.a >= 1 && cpuid(7, 1).a & 1u << 4) features |= EB_AVXVNNI; /* seven.a: the last subleaf */
  if ((states & zmm_states) != zmm_states) return features;
  if (seven.b & 1u << 16) features |= EB_AVX512F;
  if (seven.b & 1u << 17) features |= EB_AVX512DQ;
  if (seven.b & 1u << 30) features |= EB_AVX512BW;
  if (seven.b & 1u << 31) features |= EB_AVX512VL;
  if (seven.c & 1u << 11) features |= EB_AVX512VNNI;
  return features;
}

#elif defined(__aarch64__) || defined(__arm__)

enum { AT_HWCAP = 16, AT_HWCAP2 = 26 };

/* /proc/self/auxv holds the same pairs as getauxval, for loaders that lose them. */
static unsigned long auxiliary(unsigned long type) {
  unsigned long value = getauxval(type);
  if (value) return value;
  unsigned long pairs[128];
  long bytes = eb_read_file("/proc/self/auxv", pairs, sizeof pairs);
  for (long i = 0; bytes > 0 && i + 1 < bytes / (long)sizeof pairs[0]; i += 2)
    if (pairs[i] == type) return pairs[i + 1];
  return 0;
}

uint64_t eb_cpu_features(void) {
  uint64_t features = 0;
#if defined(__aarch64__)
  unsigned long hwcap = auxiliary(AT_HWCAP), hwcap2 = auxiliary(AT_HWCAP2);
  if (hwcap & 1ul << 1) features |= EB_NEON;
  if (hwcap & 1ul << 20) features |= EB_DOTPROD;
  if (hwcap2 & 1ul << 13) features |= EB_I8MM;
#else
  if (auxiliary(AT_HWCAP) & 1ul << 12) features |= EB_NEON;
#endif
  return features;
}

#else

uint64_t eb_cpu_features(void) { return 0; }

#endif

/* ---- tier ------------------------------------------------------------------------------------------------- */

enum { LIST_SIZE = 160 };

/* "a, b, c" of the tiers that `features` can run (of all tiers for ~0). */
static void list_tiers(const eb_plan *plan, uint64_t features, char *out) {
  int32_t used = 0;
  out[0] = 0;
  for (uint32_t i = 0; i < plan->tier_count; i++) {
    if (plan->tiers[i].required_features & ~features) continue;
    eb_message(out + used, LIST_SIZE - used, "%s%s", used ? ", " : "", plan->tiers[i].name);
    used += (int32_t)strlen(out + used);
  }
  if (!used) eb_message(out, LIST_SIZE, "none");
}

static void list_features(uint64_t features, char *out) {
  int32_t used = 0;
  out[0] = 0;
  for (int i = 0; i < FEATURE_COUNT; i++) {
    if (!(features & FEATURES[i].bit)) continue;
    eb_message(out + used, LIST_SIZE - used, "%s%s", used ? ", " : "", FEATURES[i].name);
    used += (int32_t)strlen(out + used);
  }
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static const eb_tier *forced_tier(const eb_plan *plan, uint64_t features, const char *name, char *error,
                                  int32_t error_size) {
  char tiers[LIST_SIZE], missing[LIST_SIZE];
  for (uint32_t i = 0; i < plan->tier_count; i++) {
    const eb_tier *tier = &plan->tiers[i];
    if (!same(tier->name, name)) continue;
    if (!(tier->required_features & ~features)) return tier;
    list_features(tier->required_features & ~features, missing);
    list_tiers(plan, features, tiers);
    eb_message(error, error_size, "EDGEBIT_TIER=%s: this CPU lacks %s; it can run: %s", name, missing, tiers);
    return NULL;
  }
  list_tiers(plan, ~0ull, tiers);
  eb_message(error, error_size, "EDGEBIT_TIER=%s: this library has no such tier; it has: %s", name, tiers);
  return NULL;
}

const eb_tier *eb_choose_tier(const eb_plan *plan, uint64_t features, const char *forced, char *error,
                              int32_t error_size) {
  if (forced && *forced) return forced_tier(plan, features, forced, error, error_size);
  for (uint32_t i = 0; i < plan->tier_count; i++)
    if (!(plan->tiers[i].required_features & ~features)) return &plan->tiers[i];
  char tiers[LIST_SIZE];
  list_tiers(plan, ~0ull, tiers);
  eb_message(error, error_size, "this CPU can run none of the tiers this library was compiled for: %s", tiers);
  return NULL;
}

/* ---- threads ---------------------------------------------------------------------------------------------- */

enum { MOST_CPUS = 1024, WORD_BITS = 8 * sizeof(unsigned long) };

/* Relative speed of a CPU as the kernel states it on machines with unequal cores; 1024 where it says nothing. */
static int32_t cpu_capacity(int cpu) {
  char path[80], text[16];
  eb_message(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", cpu);
  long bytes = eb_read_file(path, text, sizeof text);
  int32_t capacity = 0;
  for (long i = 0; i < bytes && i < 6 && text[i] >= '0' && text[i] <= '9'; i++)
    capacity = capacity * 10 + (text[i] - '0');
  return capacity > 0 ? capacity : 1024;
}

/* Work is cut into equal parts, so the slowest thread sets the pace: take the CPUs at least as fast as some c such
 * that c * count is largest. */
static int32_t worthwhile(const int32_t *capacity, int32_t count) {
  int64_t best = 0;
  int32_t threads = 1;
  for (int32_t i = 0; i < count; i++) {
    int32_t as_fast = 0;
    for (int32_t j = 0; j < count; j++) as_fast += capacity[j] >= capacity[i];
    int64_t speed = (int64_t)as_fast * capacity[i];
    if (speed > best) best = speed, threads = as_fast;
  }
  return threads;
}

int32_t eb_default_threads(void) {
  unsigned long mask[MOST_CPUS / WORD_BITS];
  int32_t capacity[MOST_CPUS], count = 0;
  memset(mask, 0, sizeof mask);
  long bytes = syscall(EB_SYS_getaffinity, 0L, sizeof mask, mask);
  if (bytes <= 0) return 1;
  for (int cpu = 0; cpu < MOST_CPUS; cpu++)
    if (mask[(size_t)cpu / WORD_BITS] >> ((size_t)cpu % WORD_BITS) & 1) capacity[count++] = cpu_capacity(cpu);
  return count ? worthwhile(capacity, count) : 1;
}
