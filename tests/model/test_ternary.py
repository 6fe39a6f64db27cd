"""Ternary sources: whatever a checkpoint stores, the same trits and multiplier come out, block by block."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from transformers.integrations.bitnet import AutoBitLinear, pack_weights

from edgebit.errors import CheckpointError
from edgebit.model import ternary
from edgebit.model.tensor_files import StoredTensor, read_header
from edgebit.model.ternary import MasterWeights, PackedTrits, UnpackedTrits, pack_codes, unpack_codes
from tests.builders import pack_rows


def random_trits(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, (rows, columns)).astype(np.int8)


def stored(path: Path, **tensors: np.ndarray) -> dict[str, StoredTensor]:
    save_file(tensors, path)
    return read_header(path)


def packed_source(
    folder: Path, trits: np.ndarray, scale: float = 1.5, multiplier: bool = True
) -> PackedTrits:
    scales = np.array([scale], np.float32)
    header = stored(folder / "w.safetensors", weight=pack_rows(trits), weight_scale=scales)
    return PackedTrits(header["weight"], header["weight_scale"], multiplier)


def master_source(folder: Path, weight: np.ndarray) -> MasterWeights:
    return MasterWeights(stored(folder / "w.safetensors", weight=weight)["weight"])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_packing_four_trits_a_byte_is_undone_by_unpacking(rows: int, quads: int, seed: int) -> None:
    trits = random_trits(rows, 4 * quads, seed)
    packed = pack_codes((trits + 1).astype(np.uint8))
    assert packed.shape == (rows, quads)
    assert (unpack_codes(packed) == trits).all()


def test_the_first_trit_is_in_the_low_bits() -> None:
    assert pack_codes(np.array([[2, 0, 1, 0]], np.uint8)).tolist() == [[0b00_01_00_10]]


@settings(max_examples=60)
@given(st.integers(1, 8), st.data())
def test_any_range_of_packed_rows_reads_like_the_whole(
    tmp_path_factory: pytest.TempPathFactory, quarter: int, data: st.DataObject
) -> None:
    trits = random_trits(4 * quarter, 12)
    begin = data.draw(st.integers(0, 4 * quarter - 1))
    end = data.draw(st.integers(begin + 1, 4 * quarter))
    source = packed_source(tmp_path_factory.mktemp("packed"), trits)
    assert source.shape == trits.shape
    assert (unpack_codes(source.rows(begin, end)) == trits[begin:end]).all()


def test_weights_packed_by_transformers_are_read(tmp_path: Path) -> None:
    trits = random_trits(64, 48)
    path = tmp_path / "w.safetensors"
    packed = pack_weights(torch.from_numpy(trits.copy()))
    save_torch_file({"weight": packed, "weight_scale": torch.tensor([1.22]).bfloat16()}, path)
    header = read_header(path)
    source = PackedTrits(header["weight"], header["weight_scale"], scale_is_multiplier=True)
    assert (unpack_codes(source.packed()) == trits).all()
    assert source.scale == np.float32(ml_dtypes.bfloat16(1.22))


def test_parameters_of_an_auto_bit_linear_are_read(tmp_path: Path) -> None:
    layer = AutoBitLinear(24, 16, bias=False, dtype=torch.bfloat16)
    trits = random_trits(16, 24)
    layer.weight.data = torch.from_numpy(trits).bfloat16()
    layer.weight_scale.fill_(0.75)
    save_torch_file(layer.state_dict(), tmp_path / "w.safetensors")
    header = read_header(tmp_path / "w.safetensors")
    source = UnpackedTrits(header["weight"], header["weight_scale"], scale_is_multiplier=True)
    assert (unpack_codes(source.packed()) == trits).all()
    assert source.scale == np.float32(0.75)


def test_the_reciprocal_sense_of_a_scale(tmp_path: Path) -> None:
    trits = random_trits(4, 4)
    assert packed_source(tmp_path, trits, 0.3, multiplier=True).scale == np.float32(0.3)
    assert packed_source(tmp_path, trits, 0.3, multiplier=False).scale == np.float32(1) / np.float32(0.3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_absmean_gives_the_trits_of_torch(tmp_path: Path, dtype: torch.dtype, seed: int) -> None:
    """As WeightQuant in transformers computes it, but for the last bit of the mean."""
    weight = (torch.randn(160, 256, generator=torch.Generator().manual_seed(seed)) * 0.04).to(dtype)
    save_torch_file({"weight": weight}, tmp_path / "w.safetensors")
    scale = 1.0 / weight.float().abs().mean().clamp_(min=1e-5)
    expected = (weight.float() * scale).round().clamp(-1, 1).to(torch.int8).numpy()
    source = MasterWeights(read_header(tmp_path / "w.safetensors")["weight"])
    assert (unpack_codes(source.packed()) == expected).all()
    assert abs(source.scale - np.float32(1 / scale)) <= 2 * np.spacing(source.scale)


def test_absmean_ties_go_to_the_even_trit(tmp_path: Path) -> None:
    row = np.array([[0.5, -0.5, 1.5, -1.5, 0.75, 1.25, 1.0, 1.0]], np.float32)  # mean |w| is exactly 1
    source = master_source(tmp_path, row)
    assert unpack_codes(source.packed()).tolist() == [[0, 0, 1, -1, 1, 1, 1, 1]]
    assert source.scale == 1


def test_absmean_of_zeros_is_zero_with_the_smallest_multiplier(tmp_path: Path) -> None:
    source = master_source(tmp_path, np.zeros((8, 8), ml_dtypes.bfloat16))
    assert not unpack_codes(source.packed()).any()
    assert source.scale == np.float32(1) / (np.float32(1) / np.float32(1e-5))


def test_the_mean_does_not_depend_on_the_block_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(1).standard_normal((96, 64)).astype(np.float32)
    whole = master_source(tmp_path, weight)
    scale, packed = whole.scale, whole.packed()
    monkeypatch.setattr(ternary, "_BLOCK_ELEMENTS", 64 * 5)
    in_blocks = master_source(tmp_path, weight)
    assert len(list(in_blocks.blocks())) == 20
    assert in_blocks.scale == scale
    assert (in_blocks.packed() == packed).all()


def test_code_three_is_refused_with_its_position(tmp_path: Path) -> None:
    packed = pack_rows(random_trits(16, 8))
    packed[1, 5] |= 0b00_11_00_00  # lane 2 of byte row 1: row 1 + 2 * 16/4
    header = stored(tmp_path / "w.safetensors", weight=packed, weight_scale=np.ones(1, np.float32))
    source = PackedTrits(header["weight"], header["weight_scale"], scale_is_multiplier=True)
    with pytest.raises(CheckpointError, match=r"tensor weight: code 3 at row 9, column 5 "):
        source.packed()


def test_a_number_that_is_no_trit_is_refused_with_its_position(tmp_path: Path) -> None:
    weight = random_trits(8, 4).astype(np.float32)
    weight[6, 2] = 0.5
    header = stored(tmp_path / "w.safetensors", weight=weight, weight_scale=np.ones(1, np.float32))
    with pytest.raises(CheckpointError, match=r"holds 0\.5 at row 6, column 2"):
        UnpackedTrits(header["weight"], header["weight_scale"], scale_is_multiplier=True).packed()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0])
@pytest.mark.parametrize("multiplier", [True, False])
def test_a_scale_that_is_not_positive_and_finite_is_refused(
    tmp_path: Path, value: float, multiplier: bool
) -> None:
    source = packed_source(tmp_path, random_trits(4, 4), value, multiplier)
    with pytest.raises(CheckpointError, match=r"weight_scale: is .*, expected a positive finite scale"):
        _ = source.scale


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_master_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    weight = np.ones((8, 8), np.float32)
    weight[3, 3] = value
    with pytest.raises(CheckpointError, match="tensor weight: holds NaN, infinity"):
        _ = master_source(tmp_path, weight).scale
