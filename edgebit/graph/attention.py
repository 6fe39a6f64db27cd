"""Attention between its projections: rotary embedding, the cache of keys and values, masks."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import onnx_ir as ir

from edgebit.graph.assembler import BATCH, FLOAT, PAST, TOTAL, Dims, Output
from edgebit.graph.elements import Elements, dims
from edgebit.graph.masks import causal_masks
from edgebit.graph.rotary import rotary_tables
from edgebit.graph.tensors import small_tensor


class Attention:
    """Of all layers; nodes as `edgebit.graph.builder` lists them. ``presents``: the grown cache, layer by
    layer; none where the model sees whole texts. ``total``: the dimension of tokens that attention sees.
    """

    def __init__(
        self, elements: Elements, attention_mask: ir.Value, position_ids: ir.Value, total: str
    ) -> None:
        self.presents: list[ir.Value] = []
        self._elements = elements
        self._graph = elements.graph
        self._checkpoint = elements.checkpoint
        self._config = elements.config
        self._position_ids = position_ids
        windows = self._config.layer_windows
        self._masks = causal_masks(self._graph, attention_mask, position_ids, total, windows)

    def rotary(self, x: ir.Value, name: str, heads: int, layer: int) -> ir.Value:
        cos, sin = self._rotary_caches(self._config.layer_windows[layer] > 0)
        inputs = [x, cos, sin, self._position_ids]
        return self._elements.elementwise("RotaryEmbedding", inputs, name, num_heads=heads)

    def attend(self, q: ir.Value, k: ir.Value, v: ir.Value, name: str, layer: int) -> ir.Value:
        """Attention over the tokens of a text, or over a cache too."""
        config = self._config
        heads: dict[str, Any] = {
            "q_num_heads": config.num_attention_heads,
            "kv_num_heads": config.num_key_value_heads,
            "scale": config.attention_scale,
        }
        mask = self._masks[config.layer_windows[layer]]
        if self._checkpoint.pooling:
            return self._elements.elementwise("Attention", [q, k, v, mask], name, **heads)
        cached: Dims = [BATCH, config.num_key_value_heads, PAST, config.head_dim]
        grown: Dims = [BATCH, config.num_key_value_heads, TOTAL, config.head_dim]
        past = [
            self._graph.input(f"past_key_values.{layer}.{part}", FLOAT, cached) for part in ("key", "value")
        ]
        outputs: list[Output] = [
            (name, FLOAT, dims(q)),
            (f"present.{layer}.key", FLOAT, grown),
            (f"present.{layer}.value", FLOAT, grown),
        ]
        y, *present = self._graph.nodes("Attention", [q, k, v, mask, *past], name, outputs, **heads)
        self.presents += present
        return y

    def _rotary_caches(self, local: bool) -> tuple[ir.Value, ir.Value]:
        """cos and sin; ``local``: of layers with a window."""
        config = self._config
        shape = (config.max_position_embeddings, config.head_dim // 2)
        sizes = config.head_dim, config.max_position_embeddings
        divisors = self._checkpoint.rotary_divisors()
        tables = cache(  # every layer asks for them
            partial(rotary_tables, *sizes, config.local_rope_theta)
            if local
            else partial(rotary_tables, *sizes, config.rope_theta, config.rope_scaling, divisors)
        )
        suffix = "_local" if local else ""
        cos = self._graph.initializer(small_tensor(f"cos_cache{suffix}", shape, lambda: tables()[0]))
        sin = self._graph.initializer(small_tensor(f"sin_cache{suffix}", shape, lambda: tables()[1]))
        return cos, sin
