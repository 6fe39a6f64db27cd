"""Tensors of GGUF files: every codec against what the gguf package wrote, I2_S against a plain writer."""

from __future__ import annotations

from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from edgebit.errors import CheckpointError
from edgebit.model import unpack_codes
from edgebit.model.gguf.container import GgufTensor, read_gguf
from edgebit.model.gguf.trits import FloatTrits, HeadPermutedRows, ternary_tensor
from tests.builders import absmean
from tests.gguf_files import I2_S, Kinds, i2s, interleave

TERNARY = [Kinds.TQ1_0, Kinds.TQ2_0, I2_S]
Floats = npt.NDArray[np.float32]


def stored(path: Path, values: Floats, kind: int, block: int = 128, raw: object = None) -> GgufTensor:
    """The one tensor of a file with ``values``, or with the bytes ``raw`` in their place."""
    writer = gguf.GGUFWriter(path, "bitnet")
    data = raw if raw is not None else i2s(values, block) if kind == I2_S else gguf.quantize(values, kind)
    writer.add_tensor("a.weight", np.asarray(data).view(np.int8), raw_shape=values.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_gguf(path).tensors["a.weight"]


def ternary(rows: int, columns: int, scale: float, seed: int = 0) -> tuple[npt.NDArray[np.int8], Floats]:
    trits = np.random.default_rng(seed).integers(-1, 2, (rows, columns)).astype(np.int8)
    return trits, trits * np.float32(scale)


@pytest.mark.parametrize("kind", TERNARY)
@pytest.mark.parametrize(("rows", "columns"), [(1, 256), (7, 512), (12, 1280)])
def test_ternary_matrices_are_read_as_written(kind: int, rows: int, columns: int, tmp_path: Path) -> None:
    trits, values = ternary(rows, columns, 0.75)
    matrix = ternary_tensor(stored(tmp_path / "a.gguf", values, kind), 128)
    assert matrix.scale == np.float32(0.75)
    assert (unpack_codes(matrix.packed()) == trits).all()
    for begin in range(rows):
        assert (unpack_codes(matrix.rows(begin, rows)) == trits[begin:]).all()
        assert (unpack_codes(matrix.rows(begin, begin + 1)) == trits[begin : begin + 1]).all()


@pytest.mark.parametrize("columns", [4, 36, 192])
def test_blocks_of_i2s_pay_no_attention_to_rows(columns: int, tmp_path: Path) -> None:
    trits, values = ternary(32, columns, 1.25)
    matrix = ternary_tensor(stored(tmp_path / "a.gguf", values, I2_S), 128)
    for begin, end in [(0, 32), (1, 2), (5, 31), (31, 32)]:
        assert (unpack_codes(matrix.rows(begin, end)) == trits[begin:end]).all()


def test_i2s_of_arm_has_blocks_of_64_and_the_other_size_gives_other_weights(tmp_path: Path) -> None:
    trits, values = ternary(8, 256, 0.5)
    tensor = stored(tmp_path / "a.gguf", values, I2_S, block=64)
    assert (unpack_codes(ternary_tensor(tensor, 64).packed()) == trits).all()
    assert (unpack_codes(ternary_tensor(tensor, 128).packed()) != trits).any()


@pytest.mark.parametrize("kind", TERNARY)
def test_multipliers_of_bfloat16_checkpoints_stay_bit_for_bit(kind: int, tmp_path: Path) -> None:
    """I2_S holds float32; float16 holds every bfloat16 from 2^-14 to 65280, real ones are 0.005 to 5."""
    scales = np.random.default_rng(1).uniform(0.005, 5, 20).astype(ml_dtypes.bfloat16)
    for scale in scales.astype(np.float32):
        tensor = stored(tmp_path / "a.gguf", ternary(2, 256, scale)[1], kind)
        assert ternary_tensor(tensor, 128).scale == scale


def test_float16_rounds_the_multiplier_of_a_float32_master(tmp_path: Path) -> None:
    scale = np.float32(0.1234567)
    values = ternary(2, 256, float(scale))[1]
    assert ternary_tensor(stored(tmp_path / "a.gguf", values, I2_S), 128).scale == scale
    for kind in (Kinds.TQ1_0, Kinds.TQ2_0):
        assert ternary_tensor(stored(tmp_path / "b.gguf", values, kind), 128).scale == np.float16(scale)


@pytest.mark.parametrize("kind", [Kinds.TQ1_0, Kinds.TQ2_0])
def test_a_block_of_zeros_may_have_no_multiplier(kind: int, tmp_path: Path) -> None:
    trits, values = ternary(3, 512, 0.25)
    trits[1, :256] = values[1, :256] = 0
    matrix = ternary_tensor(stored(tmp_path / "a.gguf", values, kind), 128)
    assert matrix.scale == np.float32(0.25)
    assert (unpack_codes(matrix.packed()) == trits).all()
    nothing = ternary_tensor(stored(tmp_path / "b.gguf", values * 0, kind), 128)
    assert not unpack_codes(nothing.packed()).any()
    assert nothing.scale == 1


@pytest.mark.parametrize("kind", [Kinds.TQ1_0, Kinds.TQ2_0])
def test_blocks_of_different_multipliers_are_refused_with_their_spread(kind: int, tmp_path: Path) -> None:
    values = ternary(3, 512, 0.25)[1]
    values[2, 256:] *= 2
    matrix = ternary_tensor(stored(tmp_path / "a.gguf", values, kind), 128)
    with pytest.raises(CheckpointError, match=r"a\.weight: .* from 0\.25 to 0\.5 \(a spread of 100\.00%\)"):
        _ = matrix.scale


@pytest.mark.parametrize("kind", [Kinds.TQ1_0, Kinds.TQ2_0])
@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_a_multiplier_that_is_no_positive_number_is_refused(kind: int, scale: float, tmp_path: Path) -> None:
    values = ternary(1, 256, 1)[1]
    raw = gguf.quantize(values, kind)
    raw[0, -2:] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    with pytest.raises(CheckpointError, match="expected positive numbers"):
        _ = ternary_tensor(stored(tmp_path / "a.gguf", values, kind, raw=raw), 128).scale


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0, 0.0, 1e-9, 1e9])
def test_an_i2s_multiplier_that_is_implausible_is_refused(scale: float, tmp_path: Path) -> None:
    values = ternary(1, 256, 1)[1]
    raw = i2s(values)
    raw[64:68] = np.frombuffer(np.float32(scale).tobytes(), np.uint8)
    with pytest.raises(CheckpointError, match=r"has the multiplier .*; take the model's official I2_S file"):
        _ = ternary_tensor(stored(tmp_path / "a.gguf", values, I2_S, raw=raw), 128).scale


@pytest.mark.parametrize("kind", [Kinds.TQ2_0, I2_S])
def test_code_three_is_refused_with_its_place(kind: int, tmp_path: Path) -> None:
    values = ternary(4, 512, 1)[1]
    raw = (i2s(values) if kind == I2_S else gguf.quantize(values, kind)).copy()
    raw.reshape(-1)[(3 * 512 + 256) // 4 if kind == I2_S else 7 * 66] |= 0b11
    matrix = ternary_tensor(stored(tmp_path / "a.gguf", values, kind, raw=raw), 128)
    place = "code 3 in weights 1792" if kind == I2_S else "code 3 in row 3, columns 256 to 511"
    with pytest.raises(CheckpointError, match=place):
        matrix.packed()
    assert len(matrix.rows(0, 3)) == 3


def test_interleaved_heads_are_put_back(tmp_path: Path) -> None:
    trits, values = ternary(48, 256, 0.5)
    tensor = stored(tmp_path / "a.gguf", interleave(values, 16), Kinds.TQ2_0)
    matrix = HeadPermutedRows(ternary_tensor(tensor, 128), 16)
    assert matrix.scale == np.float32(0.5)
    assert (unpack_codes(ternary_tensor(tensor, 128).packed()) != trits).any()
    for begin, end in [(0, 48), (3, 5), (15, 33), (47, 48)]:
        assert (unpack_codes(matrix.rows(begin, end)) == trits[begin:end]).all()


@pytest.mark.parametrize("kind", [Kinds.F32, Kinds.F16, Kinds.BF16, Kinds.Q8_0], ids=lambda kind: kind.name)
def test_tables_are_read_as_the_gguf_package_reads_them(kind: Kinds, tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal((9, 512)).astype(np.float32)
    tensor = stored(tmp_path / "a.gguf", values, kind)
    expected = gguf.dequantize(gguf.quantize(values, kind), kind)
    assert (tensor.map().astype(np.float32) == expected).all()
    assert (tensor.float_rows(4, 7) == expected[4:7]).all()


def test_q6_k_is_read_as_the_gguf_package_reads_it(tmp_path: Path) -> None:
    """The package cannot write it: any bytes are a matrix, but for scales that are no numbers."""
    raw = np.random.default_rng(3).integers(0, 256, (9, 2 * 210), np.uint8)
    raw.reshape(-1, 210)[:, 208:] = np.random.default_rng(4).random((18, 1)).astype("<f2").view(np.uint8)
    tensor = stored(tmp_path / "a.gguf", np.zeros((9, 512), np.float32), Kinds.Q6_K, raw=raw)
    expected = gguf.dequantize(raw, Kinds.Q6_K)
    assert (tensor.map() == expected).all()
    assert (tensor.float_rows(4, 7) == expected[4:7]).all()


@pytest.mark.parametrize("kind", [Kinds.F32, Kinds.F16, Kinds.BF16], ids=lambda kind: kind.name)
def test_ternary_values_written_as_floats_keep_their_multiplier(kind: Kinds, tmp_path: Path) -> None:
    trits, values = ternary(8, 256, 0.75)
    matrix = FloatTrits(stored(tmp_path / "a.gguf", values, kind), takes_masters=False)
    assert matrix.scale == np.float32(0.75)
    assert (unpack_codes(matrix.packed()) == trits).all()


def test_other_floats_are_masters_of_a_bitnet_and_refused_for_a_llama(tmp_path: Path) -> None:
    values = np.random.default_rng(5).standard_normal((8, 256)).astype(np.float32)
    tensor = stored(tmp_path / "a.gguf", values, Kinds.F32)
    matrix, (trits, mean) = FloatTrits(tensor, takes_masters=True), absmean(values)
    assert matrix.scale == mean
    assert (unpack_codes(matrix.packed()) == trits).all()
    with pytest.raises(
        CheckpointError, match="holds more than three values; edgebit compiles ternary models"
    ):
        FloatTrits(tensor, takes_masters=False).packed()
