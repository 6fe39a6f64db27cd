"""The ternary product as a computation, in whose tiles a micro-kernel of an ISA takes the place of the loops.

One loop nest serves every tier, shape and epilogue: row blocks x tokens in tiles, and for each tile a
reduction over all *lines* (64 bytes of U16 weights: 16 rows by 16 values of k). A tier supplies a tile size
and a micro-kernel, a tensor intrinsic that computes one tile for any number of lines, and, where that pays,
another for many tokens that meet a panel of decoded weights.

Slots: b0 weights, b1 q, b2 sum of q, b3 scale, b4 weight scale (of a block, or of each row), b5 out; s0
count, s1 lines (K/16, a multiple of 4), and for GEMM s2 tokens, s3 out stride. All are dynamic.
"""

from __future__ import annotations

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .epilogue import EPILOGUES, Epilogue, dequantize
from .float_ops import Expr, vector
from .panel import LINE_CODES, PANEL_TOKENS, Panel, part, parts, product_with_panel, tensorize_panel
from .tiles import ROWS, MicroKernel, Tile, code, tensorize_tile, with_variable


def ternary_product(
    tile: Tile, micro_kernel: MicroKernel, epilogue: str, lanes: int = ROWS, panel: Panel | None = None
) -> tirx.PrimFunc:
    """The kernel ``ternary_gemv_<epilogue>`` (tile of one token) or ``ternary_gemm_<epilogue>``.

    ``lanes``: rows that the epilogue takes at a time, those of a block or one. ``panel``: what its ``fewest``
    tokens and more meet.
    """
    lines_of_window = tirx.Var("lines_of_window", "int32")
    function = _loop_nest(tile, EPILOGUES[epilogue], lanes, panel, lines_of_window)
    lines = next(parameter for parameter in function.params if parameter.name == "lines")
    schedule = Schedule(function)
    for tokens in range(1, tile.tokens + 1):
        tensorize_tile(schedule, f"product_{tokens}", _part(tile, tokens), micro_kernel, lines)
    if tile.blocks > EPILOGUES[epilogue].blocks:
        tensorize_tile(schedule, "product_of_rest", Tile(1, 1), micro_kernel, lines)
    if panel is not None:
        tensorize_panel(schedule, panel, lines_of_window)
    product = with_variable(schedule.mod["main"], lines.name, lines)
    return with_variable(product, lines_of_window.name, lines_of_window)


def _part(tile: Tile, tokens: int) -> Tile:
    """The tile of fewer tokens. One token alone meets block after block, as in GEMV."""
    return Tile(tile.blocks if tokens > 1 else 1, tokens)


def _loop_nest(
    tile: Tile, epilogue: Epilogue, lanes: int, panel: Panel | None, lines_of_window: tirx.Var
) -> tirx.PrimFunc:
    """Groups of ``max(tile.blocks, epilogue.blocks)`` blocks, then the rest one block at a time.

    The weights of a group stay in the cache while all tokens pass. Tokens are split into as few tiles as
    possible, of sizes that differ by one at most, and a branch takes the micro-kernel of the size: 13 tokens
    cost two tiles of 7 and 6, not one of 12 and one of 1 that the loads bound. Tokens that a panel pays for
    have loops of their own.
    """
    unit = epilogue.blocks
    group = max(tile.blocks, unit)
    is_gemv = tile.tokens == 1

    def out_stride(stride: Expr, count: Expr) -> Expr:
        return count * 16 if is_gemv else stride

    def rows(first: Expr) -> Expr:
        """Index of the rows from ``first`` on that the epilogue takes together."""
        return vector(first, lanes) if lanes > 1 else first

    def scale_shape(blocks: Expr) -> tuple[Expr, ...]:
        return (blocks, ROWS) if epilogue.by_row else (blocks,)

    def scale_of(scales: Expr, block: Expr, i: Expr) -> Expr:
        """Of a block, or of its rows from i on."""
        return scales[block, rows(i)] if epilogue.by_row else scales[block]

    def finish(
        acc: Expr,
        before: Expr,
        scales: Expr,
        first: Expr,
        code_sum: Expr,
        scale: Expr,
        k: int,
        m: Expr,
        i: Expr,
    ) -> Expr:
        """What unit k of a group stores for token m of the tile, in the rows from i on."""
        ys = [
            dequantize(
                acc[k * unit + b, m, rows(i)], code_sum, scale_of(scales, first + k * unit + b, i), scale
            )
            for b in range(unit)
        ]
        return epilogue.combine(before, *ys)

    def product(
        name: str, W: Expr, X: Expr, acc: Expr, block: Expr, token: Expr, lines: Expr, size: int, part: Tile
    ) -> None:
        """A tile of ``size`` blocks, in micro-kernel calls of the tile ``part``: the block ``name``.

        Statements by calls of the builder, because there are many: the parser takes 0.1 s for each inline.
        """
        with T.grid(size, part.tokens, 16) as loops, T.sblock(f"zero_{name}"):
            vb, vm, vi = T.axis.remap("SSS", loops)
            T.buffer_store(acc, 0, [vb, vm, vi])
        with (
            T.serial(size // part.blocks) as o,
            T.grid(*part.extents, 16, lines, 4, 4) as loops,
            T.sblock(name),
        ):
            vo = T.axis.spatial(size // part.blocks, o)
            *tile_axes, vi, vl, vg, vj = T.axis.remap("S" * len(part.extents) + "SRRR", loops)
            vb, vm = vo * part.blocks + part.block(tile_axes), part.token(tile_axes)
            q = T.cast(X[token + vm, vl, vg, vj], "int32")
            sum_ = acc[vb, vm, vi] + code(W, block + vb, vi, vl, vg, vj) * q
            T.buffer_store(acc, sum_, [vb, vm, vi])

    def product_of_any_size(
        W: Expr, X: Expr, acc: Expr, block: Expr, token: Expr, lines: Expr, tokens: Expr
    ) -> None:
        """The tile of a group by ``tokens`` tokens: a branch for each size there is a micro-kernel of."""
        for size in range(1, tile.tokens + 1):
            with T.If(tokens == size), T.Then():
                product(f"product_{size}", W, X, acc, block, token, lines, group, _part(tile, size))

    @T.inline
    def announce(Y, block, token, size, tokens):  # type: ignore[no-untyped-def]
        """What ``store`` will write comes from far: it arrives while the product is computed.

        (96 tokens with AVX512-VNNI: 97 % of the peak; 95.6 % into the level-1 cache, 92 % without.)
        """
        with T.sblock("announce"):
            T.reads()
            T.writes()
            for m in range(tokens):
                for k in T.unroll(size // unit):
                    prefetch(Y[token + m, (block // unit + k) * 16], Cache.L2, write=True)

    @T.inline
    def store(S, D, A, Y, acc, block, token, size, tokens):  # type: ignore[no-untyped-def]
        with T.sblock("epilogue"):
            T.reads(acc[0:size, 0:tokens, 0:16])
            T.writes(Y[token : token + tokens, 0:16])
            for m in range(tokens):
                for k in T.unroll(size // unit):
                    for i in range(ROWS // lanes):
                        Y[token + m, rows((block // unit + k) * ROWS + i * lanes)] = finish(
                            acc,
                            Y[token + m, rows((block // unit + k) * ROWS + i * lanes)],
                            A,
                            block,
                            S[token + m],
                            D[token + m],
                            k,
                            m,
                            i * lanes,
                        )

    @T.prim_func(s_tir=True)
    def main(
        weights: T.handle,
        q: T.handle,
        code_sum: T.handle,
        scale: T.handle,
        weight_scale: T.handle,
        out: T.handle,
        count: T.int32,
        lines: T.int32,
        n: T.int32,
        stride: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        tokens = T.meta_var(1 if is_gemv else n)
        meets_panel = T.meta_var(0 if panel is None else T.cast(tokens >= panel.fewest, "int32"))
        tiles = T.meta_var(T.ceildiv(tokens, tile.tokens) * (1 - meets_panel))
        W = T.match_buffer(weights, (count * unit, lines, 16, 4), "uint8")
        X = T.match_buffer(q, (tokens, lines, 4, 4), "int8")
        S = T.match_buffer(code_sum, (tokens,), "int32")
        D = T.match_buffer(scale, (tokens,), "float32")
        A = T.match_buffer(weight_scale, scale_shape(count * unit), "float32")
        Y = T.match_buffer(out, (tokens, out_stride(stride, count)), "float32")
        with T.sblock("root"):
            acc = T.sblock_alloc_buffer((group, tile.tokens, 16), "int32")
            # Positions are let variables: of an axis bound to `a * i + b` TVM's tensorize forgets the b.
            for c, t in T.grid(count * unit // group, tiles):
                block: T.let = c * group
                first: T.let = t * (tokens // tiles) + T.min(t, tokens % tiles)
                size: T.let = tokens // tiles + T.cast(t < tokens % tiles, "int32")
                announce(Y, block, first, group, size)
                product_of_any_size(W, X, acc, block, first, lines, size)
                store(S, D, A, Y, acc, block, first, group, size)
            if group > unit:
                for c, t in T.grid(count % group, tokens):
                    rest: T.let = count // group * group + c
                    token: T.let = t
                    product("product_of_rest", W, X, acc, rest, token, lines, 1, Tile(1, 1))
                    store(S, D, A, Y, acc, rest, token, 1, 1)
            if panel is not None:
                sums = T.alloc_buffer((unit, PANEL_TOKENS, 16), "int32", scope="global")
                room = T.alloc_buffer((panel.window * LINE_CODES,), "uint8", scope="global")
                # As a view: of a buffer TVM would allocate the lines of the window, which are no constant.
                codes = T.decl_buffer((panel.window, 4, 16, 4), "uint8", data=room.data)
                for c, p in T.grid(count, parts(tokens, PANEL_TOKENS) * meets_panel):
                    unit_: T.let = c * unit
                    start: T.let = part(p, tokens, PANEL_TOKENS)[0]
                    some: T.let = part(p, tokens, PANEL_TOKENS)[1]
                    announce(Y, unit_, start, unit, some)
                    product_with_panel(
                        panel, unit, lines_of_window, W, X, sums, codes, unit_, start, lines, some
                    )
                    store(S, D, A, Y, sums, unit_, start, unit, some)

    return main
