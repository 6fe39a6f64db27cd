#include "utf8.h"

enum { LONGEST = 4 };

static size_t length_of(unsigned char lead) {
  return lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t utf8_whole(const char *bytes, size_t size) {
  for (size_t back = 1; back < LONGEST && back <= size; back++) {
    unsigned char byte = (unsigned char)bytes[size - back];
    if ((byte & 0xc0) == 0x80) continue;
    return length_of(byte) > back ? size - back : size;
  }
  return size;
}
