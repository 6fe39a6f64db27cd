/* total.c: a qemu plugin (API version 1) that counts the instructions a program executes, on any architecture.
 *
 * Load with -plugin total.so,out=FILE; the number is in FILE when the program has ended. The declarations are those of
 * qemu-plugin.h, which Debian does not package.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { INLINE_ADD = 0 };

typedef uint64_t plugin_id;
typedef struct plugin_info plugin_info;
typedef struct translation translation;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, translation *));
void qemu_plugin_register_vcpu_tb_exec_inline(translation *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const translation *);

EXPORT int qemu_plugin_version = 1;

static uint64_t executed;
static FILE *out;

static void translated(plugin_id id, translation *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD, &executed, qemu_plugin_tb_n_insns(block));
}

static void finish(plugin_id id, void *unused) {
  (void)id, (void)unused;
  fprintf(out, "%" PRIu64 "\n", executed);
  fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const plugin_info *info, int count, char **arguments) {
  (void)info;
  if (count != 1 || strncmp(arguments[0], "out=", 4) || !(out = fopen(arguments[0] + 4, "w"))) return -1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return 0;
}
