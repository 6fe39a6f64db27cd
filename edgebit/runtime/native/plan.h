/* plan.h: what the compiler generates and the executor walks.
 *
 * A plan is three lists of steps. All threads walk a list together with a barrier after each step:
 *   decode   one token                        (token count = 1)
 *   prefill  1..chunk tokens of a prompt      (token count = n)
 *   head     hidden state of one token of the pass, normalised for the lm_head, or pooled into an embedding
 *            (row = its index in the pass; token count = 1, position = its own); the logits are head.c's, the
 *            embedding is embed.c's
 *   run      a graph of fixed shapes, from its inputs to its outputs: the only list of a model that has one
 * A step is one kernel over `units` of work, given to threads in contiguous runs of whole grains. A step that is done
 * everywhere is cheaper to repeat than to wait for: each thread does all of it into its own scratch, and no barrier
 * follows.
 * Everything is constant data: generated C tables, compiled into libmodel.so beside the kernels.
 */
#ifndef EB_PLAN_H
#define EB_PLAN_H

#include "edgebit.h"

#include <stdint.h>

#define EB_PLAN_FORMAT 4
#define EB_WEIGHTS_FORMAT 1
#define EB_WEIGHTS_MAGIC "EDGEBITW"
#define EB_BUFFERS 8
#define EB_MOST_TENSORS 1024 /* inputs, and outputs */
#define EB_SCALARS 8
#define EB_KEY_CHUNK 128 /* keys that attention takes together, whatever the number of threads */
#define EB_QUERY_TILE 8  /* tokens of a prompt that attention takes together */

/* Every kernel has this type; parameters it does not use are passed as 0. */
typedef void (*eb_kernel)(void *b0, void *b1, void *b2, void *b3, void *b4, void *b5, void *b6, void *b7,
                          int32_t s0, int32_t s1, int32_t s2, int32_t s3, int32_t s4, int32_t s5, int32_t s6,
                          int32_t s7);

enum eb_space {
  EB_WEIGHTS, /* weights.bin, read-only; offsets count from the start of the file */
  EB_ARENA,   /* activations of the session */
  EB_CACHE,   /* KV cache of the session */
  EB_SCRATCH, /* scratch_bytes of each thread's own */
  EB_TOKENS,  /* int32 [chunk]: the tokens of the pass */
  EB_SPACES,
  EB_NONE = 255 /* no buffer: a null pointer */
};

/* address = base(space) + offset + begin * unit_stride + row * row_stride, in bytes. row is 0 outside head. */
typedef struct eb_argument {
  uint64_t offset;
  uint32_t space;
  uint32_t unit_stride;
  uint32_t row_stride;
} eb_argument;

enum eb_value {
  EB_CONSTANT,    /* `value` */
  EB_COUNT,       /* units this thread does */
  EB_BEGIN,       /* first unit this thread does */
  EB_TOKEN_COUNT, /* tokens of the pass */
  EB_POSITION,    /* absolute position of the first token of the pass (head: of its token) */
  EB_KEY_CHUNKS,  /* `value` times the chunks of keys up to the last token of the pass */
  EB_QUERY_TILES  /* `value` times the tiles of tokens of the pass */
};

typedef struct eb_scalar {
  uint32_t kind; /* enum eb_value */
  int32_t value; /* of EB_CONSTANT, EB_KEY_CHUNKS and EB_QUERY_TILES; 0 otherwise */
} eb_scalar;

typedef struct eb_step {
  uint32_t kernel; /* index into eb_tier.kernels */
  eb_scalar units; /* EB_CONSTANT, EB_TOKEN_COUNT, EB_KEY_CHUNKS or EB_QUERY_TILES */
  uint32_t grain;  /* >= 1: threads get multiples of it (the last one the rest) */
  uint32_t everywhere; /* 1: every thread does all units, into its own scratch; no barrier follows */
  eb_argument buffers[EB_BUFFERS];
  eb_scalar scalars[EB_SCALARS];
} eb_step;

/* Bits of eb_tier.required_features; the names are those of schedules/tier.py, the table is in cpu.c. */
enum eb_feature {
  EB_AVX2 = 1 << 0,
  EB_FMA = 1 << 1,
  EB_F16C = 1 << 2,
  EB_BMI2 = 1 << 3,
  EB_AVX512F = 1 << 4,
  EB_AVX512BW = 1 << 5,
  EB_AVX512DQ = 1 << 6,
  EB_AVX512VL = 1 << 7,
  EB_AVX512VNNI = 1 << 8,
  EB_NEON = 1 << 9,
  EB_DOTPROD = 1 << 10,
  EB_I8MM = 1 << 11,
  EB_AVXVNNI = 1 << 12,
  EB_SSSE3 = 1 << 13
};

typedef struct eb_tier {
  const char *name;
  uint64_t required_features; /* EB_AVX2 | EB_FMA ...; 0 = any CPU of the architecture */
  const eb_kernel *kernels;   /* [kernel_count] */
} eb_tier;

/* How logits come from hidden states. Kernels are indices into eb_tier.kernels, 0xffffffff where the kind has none;
 * places are offsets into weights.bin, 0 where the kind has none. */
enum eb_head_kind {
  EB_HEAD_FULL,  /* a bfloat16 table */
  EB_HEAD_EXACT, /* the same table as two lossless planes, of which certified screening reads the first */
  EB_HEAD_INT8,  /* an int8 table: lossy */
  EB_HEAD_S4,    /* planes as EB_HEAD_EXACT has them, and codes of 4 bits that are screened before the first */
  EB_HEAD_NONE   /* no logits: the model makes embeddings */
};

typedef struct eb_head {
  uint32_t kind;
  uint32_t width;       /* floats of a hidden state and of a row, a multiple of 64 */
  uint32_t plane_width; /* columns of the planes, a multiple of 256 */
  uint32_t lm_head;     /* FULL: kernel lm_head; EXACT, S4: lm_head_rows; INT8: lm_head_int8 */
  uint32_t rows;        /* EXACT, S4: kernel head_rows */
  uint32_t screen;      /* EXACT, S4: kernel head_screen */
  uint32_t screen_codes; /* S4: kernel head_screen_u4 */
  uint32_t quantize;    /* INT8: kernel quantize */
  uint64_t hidden;      /* arena: float [chunk][width], the state of row r of a pass behind the head steps */
  uint64_t table;       /* FULL: bfloat16 [vocab_size][width]; INT8: codes u8 [vocab_size][width] */
  uint64_t scales;      /* INT8: float [vocab_size] */
  uint64_t plane1;      /* EXACT, S4, from here on: the sections of edgebit/compiler/head_planes.py */
  uint64_t plane2;
  uint64_t bounds;
  uint64_t escape_index;
  uint64_t escapes;
  uint64_t outliers;
  uint64_t components; /* float [plane_width][64] */
  uint64_t sigma;      /* double [64] */
  uint64_t codes;      /* S4: the sections of edgebit/compiler/head_s4.py */
  uint64_t code_bounds;
} eb_head;

/* How the hidden states of a text become one vector. */
enum eb_pooling_kind {
  EB_POOL_NONE, /* they do not: the model has logits */
  EB_POOL_LAST, /* the head steps take the state of the last token */
  EB_POOL_MEAN  /* the head steps add up the states of all tokens, in their order */
};

typedef struct eb_pooling {
  uint32_t kind;
  uint32_t width;     /* floats of a hidden state, a multiple of 64 */
  uint32_t normalize; /* kernel normalize, an index into eb_tier.kernels */
  uint64_t state;     /* arena: float [2][width]: what the head steps pooled, and behind it the embedding */
} eb_pooling;

/* An input or output of a graph: dense, little-endian, in the arena; an output may be one of the weights. */
typedef struct eb_tensor {
  eb_tensor_info info;
  eb_argument place;
} eb_tensor;

typedef struct eb_plan {
  uint32_t format;       /* EB_PLAN_FORMAT */
  uint32_t vocab_size;
  uint32_t hidden_size;
  uint32_t num_layers;
  uint32_t context;      /* a multiple of 16 */
  uint32_t chunk;        /* tokens of a prefill pass at most */
  uint64_t weights_bytes; /* size of weights.bin, header included */
  uint64_t arena_bytes;
  uint64_t cache_bytes;
  uint64_t scratch_bytes; /* per thread */
  uint8_t weights_id[32]; /* sha256 of weights.bin after its header */
  const eb_step *decode;
  uint32_t decode_steps;
  const eb_step *prefill;
  uint32_t prefill_steps;
  const eb_step *head;
  uint32_t head_steps;
  eb_head logits;
  eb_pooling pooling;
  const eb_step *run; /* of a graph; then the lists above are empty */
  uint32_t run_steps;
  const eb_tensor *inputs, *outputs;
  uint32_t input_count, output_count;
  const eb_tier *tiers; /* best first; the last requires nothing that a CPU the target serves may lack */
  uint32_t tier_count;
  uint32_t kernel_count; /* of every tier */
} eb_plan;

/* The first 64 bytes of weights.bin, little-endian; 64-byte aligned sections follow. */
typedef struct eb_weights_header {
  char magic[8]; /* EB_WEIGHTS_MAGIC */
  uint32_t format;
  uint32_t zero;
  uint64_t file_bytes;
  uint8_t id[32];
  uint8_t padding[8];
} eb_weights_header;

extern const eb_plan eb_model_plan;

#endif
