/* A program of its own, for ThreadSanitizer and emulators: prints the tier, exit 0 when all answers are right. */
#include "edgebit.h"
#include "head_program.h"
#include "port.h"

int32_t eb_probe_barriers(int32_t threads, int32_t steps, int32_t jobs);
int32_t eb_probe_float_modes(uint64_t host_mode, int32_t threads, uint64_t *modes);

enum { LENGTH = 20, STANDARD_OUTPUT = 1 };

/* A mode that no result must depend on: denormals to zero; RISC-V has none, there it is rounding towards zero. */
#if defined(__x86_64__)
enum { SYS_write = 1, HOST_MODE = 0x9FC0 };
#elif defined(__arm__)
enum { SYS_write = 4, HOST_MODE = 1 << 24 };
#elif defined(__riscv)
enum { SYS_write = 64, HOST_MODE = 1 << 5 };
#else
enum { SYS_write = 64, HOST_MODE = 1 << 24 };
#endif

static int wrong_evaluation(eb_model *model, int32_t threads) {
  int32_t tokens[LENGTH];
  for (int32_t i = 0; i < LENGTH; i++) tokens[i] = i * 37 % 320;
  eb_session *session = eb_session_open(model, threads, NULL, 0);
  int wrong = eb_evaluate(session, tokens, LENGTH);
  float whole = eb_logits(session)[5];
  wrong |= eb_rewind(session, 0);
  for (int32_t i = 0; i < LENGTH; i++) wrong |= eb_evaluate(session, &tokens[i], 1);
  wrong |= eb_logits(session)[5] != whole;
  eb_session_close(session);
  return wrong;
}

static int wrong_float_modes(void) {
  uint64_t modes[5];
  eb_probe_float_modes(HOST_MODE, 3, modes);
  return modes[0] != modes[4] || modes[1] != modes[4] || modes[2] != modes[4] || modes[3] != HOST_MODE;
}

int main(int count, char **arguments) {
  eb_model *model = count == 2 ? eb_open(arguments[1], NULL, 0) : NULL;
  if (!model || wrong_float_modes()) return 1;
  for (int32_t threads = 1; threads <= 4; threads++)
    if (eb_probe_barriers(threads, 50, 20) || wrong_evaluation(model, threads) || wrong_screening(threads)) return 2;
  const char *tier = eb_tier_name(model);
  syscall(SYS_write, (long)STANDARD_OUTPUT, tier, strlen(tier));
  eb_close(model);
  return 0;
}
