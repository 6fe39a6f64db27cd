"""The key and the value cache of one layer: layout, element type, size.

keys [KV][context / 16][D][16] (16 keys side by side: a lane is a key), values [KV][context][D]; context is a
multiple of 16. Elements are float16 held in uint16 (kv "f16"), or int8 codes (kv "int8") with a float32 scale
for each key head and token, [KV][context], behind the codes in the same buffer: x ≈ code · scale.
"""

from __future__ import annotations

from tvm.script import tirx as T

from .float_ops import Expr, f16_to_f32, lanes_of

KEY_BLOCK = 16
"""Keys that lie side by side in the key cache."""

EXACT_BITS = 13
"""Significant bits of what meets a cache element: products with float16 (11 bits) or int8 are exact."""

_ELEMENTS = {"f16": ("uint16", 2), "int8": ("int8", 1)}
KV_TYPES = tuple(_ELEMENTS)


def cache_bytes(kv: str, kv_heads: int, context: int, head_dim: int) -> int:
    """Size of the keys, and of the values, of a layer."""
    return kv_heads * context * (head_dim * element_bytes(kv) + (4 if kv == "int8" else 0))


def element_type(kv: str) -> str:
    return _ELEMENTS[kv][0]


def element_bytes(kv: str) -> int:
    return _ELEMENTS[kv][1]


def scales_of(cache: Expr, kv_heads: Expr, context: Expr, head_dim: int) -> Expr:
    """The scales behind the codes of a buffer of keys or values: float32 [KV][context]."""
    return T.decl_buffer(
        (kv_heads, context), "float32", cache.data, elem_offset=kv_heads * context * (head_dim // 4)
    )


def widen(x: Expr, native_f16: bool) -> Expr:
    """Cache elements → float32, exact; codes without their scale."""
    if str(x.ty.dtype).startswith("uint16"):
        return f16_to_f32(x, native_f16)
    lanes = lanes_of(x)
    return T.cast(T.cast(x, f"int32x{lanes}"), f"float32x{lanes}")
