/* text.h: tokenizer and chat format, read in place from a mapped tokenizer.bin (written by edgebit/bundle/text_table.py).
 *
 * tokenizer.bin, little endian: the header below, then sections, each 8-byte aligned. Opening it is O(1): the bounds of
 * every section are checked once. What the sections *contain* is never trusted: an index or offset read from a section
 * is compared with the size of what it points into where it is used, so a damaged file gives wrong tokens, not a crash.
 *
 * All functions are reentrant; an eb_text is constant after eb_text_open.
 */
#ifndef EB_TEXT_H
#define EB_TEXT_H

#include "port.h"

enum { EB_TEXT_FORMAT = 5 };

/* Results below zero. */
enum {
  EB_TEXT_INVALID = -1, /* an argument out of range */
  EB_TEXT_MEMORY = -2,  /* malloc failed */
  EB_TEXT_REFUSED = -3  /* the chat template does not allow this conversation, or there is none; see `error` */
};

/* A stage that cuts pieces of text; up to four follow one another, the last gives words. Those that come after the
 * byte-level spelling of Hugging Face tokenizers read bytes. */
enum {
  EB_SPLIT_GPT2 = 1,
  EB_SPLIT_LLAMA3,
  EB_SPLIT_QWEN2,
  EB_SPLIT_PUNCTUATION,       /* runs of it and of the rest */
  EB_SPLIT_PUNCTUATION_ALONE, /* each character of it */
  EB_SPLIT_DIGITS,
  EB_SPLIT_DIGITS_ALONE,
  EB_SPLIT_BYTE_DIGITS,
  EB_SPLIT_BYTE_DIGITS_ALONE,
  EB_SPLIT_THREE_DIGITS,
  EB_SPLIT_BEFORE_SPACE,
  EB_SPLIT_BEFORE_SPACES, /* before a run of spaces */
  EB_SPLIT_COUNT
};

/* Flags of the header. Without CHARACTERS and without PIECES merging begins with bytes. U+2581 is the space of
 * SentencePiece: text and tokens are spelled with the space it stands for. */
enum {
  EB_TEXT_IGNORE_MERGES = 1,
  EB_TEXT_NFC = 2,
  EB_TEXT_CHARACTERS = 4,     /* merging begins with characters */
  EB_TEXT_BYTE_FALLBACK = 8,  /* what has no token becomes its bytes, otherwise `unknown` */
  EB_TEXT_FUSE_UNKNOWN = 16,
  EB_TEXT_SPACES = 32,        /* U+2581 is read as a space: by the normalizer */
  EB_TEXT_SPACES_LATE = 64,   /* after the search for added tokens */
  EB_TEXT_PREFIX = 128,       /* the normalizer puts a space in front */
  EB_TEXT_PREFIX_FIRST = 256, /* one in front of what the input begins with, unless that is a space */
  EB_TEXT_PREFIX_ALWAYS = 512,/* the same between any two added tokens */
  EB_TEXT_FIRST_SPACE = 1024, /* decoding drops one space where a text begins */
  EB_TEXT_FIRST_TOKEN_SPACES = 2048 /* all spaces that its first token begins with */
};

/* Flags of one token. */
enum {
  EB_TOKEN_SPECIAL = 1,
  EB_TOKEN_STOP = 2,
  EB_TOKEN_BYTE = 4, /* "<0x41>" stands for that byte */
  EB_TOKEN_LSTRIP = 8, /* takes the white space before it */
  EB_TOKEN_RSTRIP = 16,
  EB_TOKEN_SINGLE_WORD = 32 /* not found beside a character of a word */
};

/* Flags of eb_text_tokenize. */
enum { EB_TOKENIZE_BOS = 1, EB_TOKENIZE_SPECIAL = 2, EB_TOKENIZE_EOS = 4 };

enum {
  EB_SECTION_TOKEN_OFFSETS,    /* u32[token_count + 1]: token i is bytes [offset[i], offset[i+1]) of TOKEN_BYTES */
  EB_SECTION_TOKEN_BYTES,      /* u8[] */
  EB_SECTION_TOKEN_FLAGS,      /* u8[token_count] */
  EB_SECTION_BYTE_TOKENS,      /* u32[256]: the token of each single byte; or empty */
  EB_SECTION_MERGES,           /* eb_merge[]: index = rank, but see MERGE_RANKS */
  EB_SECTION_MERGE_SLOTS,      /* u32[2^n]: index of a merge + 1 or 0, open addressing, hash_pair of merge.c */
  EB_SECTION_WORD_SLOTS,       /* u32[2^n]: token + 1 or 0, open addressing, hash eb_text_hash_bytes; empty unless IGNORE_MERGES */
  EB_SECTION_CLASSES,          /* u32[]: sorted (first code point << 4 | class) */
  EB_SECTION_ADDED_RAW,        /* u32[]: added tokens searched in the raw text, sorted by their pattern */
  EB_SECTION_RAW_OFFSETS,      /* u32[count + 1]: the patterns of ADDED_RAW in RAW_BYTES */
  EB_SECTION_RAW_BYTES,        /* u8[] */
  EB_SECTION_ADDED_NORMALIZED, /* u32[]: added tokens searched in the normalized text, sorted by their pattern */
  EB_SECTION_NORMALIZED_OFFSETS, /* u32[count + 1]: the patterns of ADDED_NORMALIZED in NORMALIZED_BYTES */
  EB_SECTION_NORMALIZED_BYTES, /* u8[] */
  EB_SECTION_DECOMPOSITIONS,   /* eb_decomposition[], sorted; empty unless NFC */
  EB_SECTION_COMPOSITIONS,     /* eb_composition[], sorted; empty unless NFC */
  EB_SECTION_CHARACTER_SLOTS,  /* u32[2^n]: tokens of one character, as WORD_SLOTS; empty unless CHARACTERS */
  EB_SECTION_PIECES,           /* u32[]: tokens of a unigram model, sorted by their bytes; empty: not one */
  EB_SECTION_SCORES,           /* double[count + 1]: log probability of each piece, of an unknown character */
  EB_SECTION_MERGE_RANKS,      /* u32[]: the rank of each merge, where some are equal; empty: its index */
  EB_SECTION_CHAT_ROLES,       /* eb_chat_text[role_count]; empty: no chat template */
  EB_SECTION_CHAT_CELLS,       /* eb_chat_cell[(role_count + 1) * (role_count + 2)] */
  EB_SECTION_CHAT_ITEMS,       /* eb_chat_item[] */
  EB_SECTION_CHAT_BYTES,       /* u8[] */
  EB_SECTION_COUNT
};

typedef struct {
  uint32_t offset, bytes; /* offset from the start of the file */
} eb_text_section;

typedef struct {
  char magic[8]; /* "EDGEBITT" */
  uint32_t format, header_bytes;
  uint64_t file_bytes;
  uint32_t stages, flags, token_count; /* stages: one in each byte, the first in the lowest; 0: no more */
  int32_t bos; /* -1: the tokenizer puts nothing in front */
  int32_t eos; /* -1: the tokenizer puts nothing behind a text */
  int32_t unknown; /* -1: none */
  eb_text_section sections[EB_SECTION_COUNT];
} eb_text_header;

typedef struct {
  uint32_t left, right, result;
} eb_merge;

/* `code << 8 | combining class`, then the canonical decomposition: two code points, the second may be 0. */
typedef struct {
  uint32_t key, first, second;
} eb_decomposition;

typedef struct {
  uint32_t first, second, result;
} eb_composition;

typedef struct {
  uint32_t offset, bytes; /* in CHAT_BYTES */
} eb_chat_text;

/* What the template prints between a message of one role and the next: see chat.c. */
enum {
  EB_CHAT_ALLOWED = 1,
  EB_CHAT_TRIM_LEFT = 2,
  EB_CHAT_TRIM_RIGHT = 4,
  EB_CHAT_DROP_THOUGHT = 8 /* the content begins behind its last "</think>" and the line ends after it */
};
typedef struct {
  uint32_t flags, first_item, item_count;
  eb_chat_text reason; /* why the template refuses, where ALLOWED is not set */
} eb_chat_cell;

enum { EB_CHAT_NO_TOKEN = 0xffffffffu };
typedef struct {
  uint32_t token; /* a special token, or EB_CHAT_NO_TOKEN: the text */
  eb_chat_text text;
} eb_chat_item;

typedef struct {
  const uint8_t *data;
  const eb_text_header *header;
  uint32_t token_count;
  uint32_t role_count; /* 0: no chat template */
} eb_text;

/* Check `data` (8-byte aligned, alive as long as `text`) and open it. 0, or EB_TEXT_INVALID with a sentence in `error`. */
int eb_text_open(eb_text *text, const uint8_t *data, uint64_t size, char *error, int32_t error_size);

/* Token ids of `bytes` bytes of UTF-8: equal to Hugging Face tokenizers. Bytes that are not UTF-8 are read as Python's
 * errors="replace" reads them. Without EB_TOKENIZE_SPECIAL the text of a special token is ordinary text.
 * Writes at most `capacity` ids; returns the number there are, or an error below zero. */
int32_t eb_text_tokenize(const eb_text *text, const char *utf8, int32_t bytes, int32_t flags, int32_t *ids,
                         int32_t capacity);

/* The bytes of one token (not always whole UTF-8 characters). Writes at most `capacity`, returns the number there are:
 * 0 for an id of the model's padding beyond the vocabulary, EB_TEXT_INVALID below zero. */
int32_t eb_text_token_bytes(const eb_text *text, int32_t id, char *out, int32_t capacity);

/* The same for the token that a text begins with: without the space that was put in front of it. */
int32_t eb_text_first_token_bytes(const eb_text *text, int32_t id, char *out, int32_t capacity);

int32_t eb_text_is_stop(const eb_text *text, int32_t id);
int32_t eb_text_is_special(const eb_text *text, int32_t id);
int32_t eb_text_bos(const eb_text *text); /* -1: none */
int32_t eb_text_has_chat(const eb_text *text);

/* Token ids of a conversation (roles and contents are NUL-terminated UTF-8), as the model's chat template prints it.
 * Special tokens come from the template only: the text of one inside a message stays text. */
int32_t eb_text_chat_tokens(const eb_text *text, const char *const *roles, const char *const *contents, int32_t messages,
                            int32_t add_generation_prompt, int32_t *ids, int32_t capacity, char *error,
                            int32_t error_size);

#endif
