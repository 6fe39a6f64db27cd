/* plan.h: what the compiler generates and the executor walks.
 *
 * A plan is three lists of steps. All threads walk a list together with a barrier after each step:
 *   decode   one token                        (token count = 1)
 *   prefill  1..chunk tokens of a prompt      (token count = n)
 *   head     logits of one token of the pass  (row = its index in the pass; token count = 1, position = its own)
 * A step is one kernel over `units` of work, given to threads in contiguous runs of whole grains.
 * Everything is constant data: generated C tables, compiled into libmodel.so beside the kernels.
 */
#ifndef EB_PLAN_H
#define EB_PLAN_H

#include <stdint.h>

#define EB_PLAN_FORMAT 1
#define EB_WEIGHTS_FORMAT 1
#define EB_WEIGHTS_MAGIC "EDGEBITW"
#define EB_BUFFERS 8
#define EB_SCALARS 8

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
  EB_LOGITS,  /* float [vocab_size] */
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
  EB_POSITION     /* absolute position of the first token of the pass (head: of its token) */
};

typedef struct eb_scalar {
  uint32_t kind; /* enum eb_value */
  int32_t value; /* of EB_CONSTANT; 0 otherwise */
} eb_scalar;

typedef struct eb_step {
  uint32_t kernel; /* index into eb_tier.kernels */
  eb_scalar units; /* EB_CONSTANT or EB_TOKEN_COUNT */
  uint32_t grain;  /* >= 1: threads get multiples of it (the last one the rest) */
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
  EB_I8MM = 1 << 11
};

typedef struct eb_tier {
  const char *name;
  uint64_t required_features; /* EB_AVX2 | EB_FMA ...; 0 = any CPU of the architecture */
  const eb_kernel *kernels;   /* [kernel_count] */
} eb_tier;

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
  const eb_tier *tiers; /* best first; the last requires nothing */
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
