/* counter.c: a qemu plugin (API version 1) that counts how often every block of guest instructions runs.
 *
 * A guest marks a point by executing "hint #96", which does nothing on any processor. At each mark the plugin writes
 * how often each block ran since the mark before; in the end, what the blocks are:
 *
 *     mark                a line "ID COUNT" for each block that ran, then a line "mark"
 *     block ID CODE       the instructions of a block, 8 hexadecimal digits each
 *
 * Load with -plugin counter.so,out=FILE. The declarations are those of qemu-plugin.h, which Debian does not package.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK (0xd503201fu | 96u << 5)

enum { INLINE_ADD = 0, NO_REGISTERS = 0 };

typedef uint64_t plugin_id;
typedef struct plugin_info plugin_info;
typedef struct translation translation;
typedef struct instruction instruction;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, translation *));
void qemu_plugin_register_vcpu_tb_exec_inline(translation *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_cb(instruction *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const translation *);
instruction *qemu_plugin_tb_get_insn(const translation *, size_t);
const void *qemu_plugin_insn_data(const instruction *);

EXPORT int qemu_plugin_version = 1;

typedef struct block {
  uint64_t runs;
  uint64_t reported;
  size_t length;
  uint32_t *code;
  struct block *next;
} block;

static block *first;
static block **last = &first;
static FILE *out;

static void mark(unsigned cpu, void *unused) {
  (void)cpu, (void)unused;
  uint64_t id = 0;
  for (block *b = first; b; b = b->next, id++) {
    if (b->runs != b->reported) fprintf(out, "%" PRIu64 " %" PRIu64 "\n", id, b->runs - b->reported);
    b->reported = b->runs;
  }
  fputs("mark\n", out);
}

static void translated(plugin_id id, translation *tb) {
  (void)id;
  block *b = calloc(1, sizeof *b);
  if (!b) abort();
  b->length = qemu_plugin_tb_n_insns(tb);
  b->code = malloc(b->length * sizeof *b->code);
  if (!b->code) abort();
  *last = b;
  last = &b->next;
  qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD, &b->runs, 1);
  for (size_t i = 0; i < b->length; i++) {
    instruction *one = qemu_plugin_tb_get_insn(tb, i);
    memcpy(&b->code[i], qemu_plugin_insn_data(one), sizeof *b->code);
    if (b->code[i] == MARK) qemu_plugin_register_vcpu_insn_exec_cb(one, mark, NO_REGISTERS, NULL);
  }
}

static void finish(plugin_id id, void *unused) {
  (void)id, (void)unused;
  uint64_t number = 0;
  for (block *b = first; b; b = b->next, number++) {
    fprintf(out, "block %" PRIu64 " ", number);
    for (size_t i = 0; i < b->length; i++) fprintf(out, "%08" PRIx32, b->code[i]);
    fputc('\n', out);
  }
  fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const plugin_info *info, int count, char **arguments) {
  (void)info;
  if (count != 1 || strncmp(arguments[0], "out=", 4) || !(out = fopen(arguments[0] + 4, "w"))) return -1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return 0;
}
