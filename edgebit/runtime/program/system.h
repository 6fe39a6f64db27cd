/* system.h: what the system tells about itself; on Android and in containers often less than elsewhere. */
#ifndef RUN_SYSTEM_H
#define RUN_SYSTEM_H

#include <stdint.h>

#include "bytes.h"

/* Architecture of this program, as target files call it. */
extern const char SYSTEM_ARCHITECTURE[];

/* Appends the content of a file of at most `most` bytes; 0 and errno where it cannot be read, or is longer. */
int system_read_file(const char *path, size_t most, bytes *to);

/* Name of the processor; of ARM cores the number. Ends with a zero. */
void system_cpu_name(char *name, size_t size);

/* Processors this process may run on. */
int system_cpu_count(void);

/* Bytes that programs can still have; 0: the system does not say. */
uint64_t system_free_memory(void);

/* Bytes of the largest cache of the first processor; 0: the system does not say. */
uint64_t system_last_cache(void);

enum { SIZE_TEXT = 32 };

/* "1.22 GB" into text[SIZE_TEXT]; gives text. */
const char *size_text(char *text, double size);

#endif
