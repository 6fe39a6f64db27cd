"""Hand-written kernels: tensor intrinsics and schedules. Knows TVM and nothing of models.

``tier`` says what a CPU can do, ``catalogue`` which schedule computes which kernel on which tier,
``lowering`` turns scheduled kernels into object code. The other modules are the schedules: one file per ISA
for the ternary products, one per family of float kernels. A schedule's name tells operands, packing, tile and
CPU feature: ``ternary_gemm_u16_32x12_avx512vnni`` multiplies ternary weights packed as U16 in tiles of 32
rows by 12 tokens.

**U16**, the one weight packing of all tiers: bytes ``[N/16][K/16][16 rows][4]``; bits 2g..2g+1 of byte (i, j)
hold ``w[row i, k = 16 kb + 4 g + j] + 1``. A 64-byte line is one zmm, two ymm or four q registers and meets
16 consecutive activation bytes. The product is ``sum(code * q) - sum(q)``.
"""
