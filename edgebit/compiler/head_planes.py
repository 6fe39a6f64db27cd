"""An embedding table as two lossless planes: what the exact lm_head screens, and what it decodes rows from.

An entry e of a row with step S (a power of two) has the 16-bit code ``256 e / S + 32768``. Plane 1 holds its
top 6 bits, plane 2 the other 10. Codes are exact for S / 2 ≤ |e| < 128 S; the rest (*escapes*: small entries,
and a few large ones that are clipped) and 16 outlier columns are kept as bfloat16 beside them. Beside plane 1
a row has 64 coefficients and five numbers that bound what it leaves out.

Columns are padded to a multiple of 256 (*plane width*), rows to a multiple of 16. Sections, little-endian:

* ``plane1`` u8 [V][128 + width · 3/4]: high bytes, then low bytes of the coefficients + 32768; then for each
  group of 256 columns three lines of 64 bytes: nibbles ``u6 >> 2`` of columns j and 64 + j, of 128 + j and
  192 + j, and the crumbs ``u6 & 3`` of all four.
* ``plane2`` u8 [V][width · 5/4]: low bytes of the codes, then for each group 64 bytes with bits 8 and 9 of
  columns j, 64 + j, 128 + j, 192 + j.
* ``bounds`` f32 [V/16][5][16]: S, sa, N, A, K of 16 rows side by side.
* ``escape_index`` u32 [V + 1], ``escapes`` u16 [E][2]: column and bfloat16 bits.
* ``outliers`` u16 [16 + 16 V]: the columns, then the bfloat16 bits of each row.
* ``components`` f32 [width][64] and ``sigma`` f64 [64]: P and σ of `Components`.

**Bounds.** With ê of plane 1, δ = e - ê and c = Pᵀδ: N ≥ ‖δ - Pc‖, c∘σ = sa q + α with integers q and A ≥
‖α‖, K ≥ max(‖e‖, ‖ê‖, ‖c‖). δ is split into δ̃, a vector of small integers in units of S / 256 (plane 2 and
what was clipped), and ρ, what rounding loses. P has integers in units of 2⁻²⁰, so that c̃ = Pᵀδ̃ is exact in
float64 in any order of summation, and

    ‖δ̃ - Pc̃‖² = ‖δ̃‖² - 2 ‖c̃‖² + c̃ᵀ(PᵀP)c̃,   ‖Pᵀρ‖ ≤ p ‖ρ‖,   ‖ρ - PPᵀρ‖ ≤ max(1, p² - 1) ‖ρ‖

with p² the largest row sum of |PᵀP|, at least its largest eigenvalue. What float64 loses is far below the
2⁻¹² by which bounds are rounded up, to few bits: then another order of summation gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from edgebit.compiler.head_bounds import (
    BOUNDS,
    GROUP,
    LOST,
    ROW_COEFFICIENTS,
    U8,
    bounds_section,
    coefficient_bytes,
    quantise,
    round_up,
    squares,
    whole,
)
from edgebit.compiler.head_codes import (
    F32,
    I32,
    U16,
    Escapes,
    codes_of,
    escapes_of,
    screened_steps,
    step_exponents,
    values_of,
)
from edgebit.compiler.head_components import COMPONENTS, OUTLIERS, Components, Floats
from edgebit.compiler.head_survivors import SurvivorCount
from edgebit.compiler.memory import align
from edgebit.compiler.weights import ROWS, Array, Chunks, bfloat16_rows
from edgebit.errors import CompileError

_MOST_ESCAPES = 1 / 8  # of the entries: beyond, the planes are larger than the table by half
_ROW_BLOCK = 256  # rows worked on at a time: they stay in the cache
_INDEXABLE = 2**31  # bytes of a section that kernels can index


class PlanesDoNotPay(CompileError):
    """The table is stored better as it is; the message says why."""


class PlanePacker:
    """Sections of a table [V][H], which ``data`` maps; reads it once here and again while sections are
    written.

    Raises CompileError (values that are no finite bfloat16) and PlanesDoNotPay.
    """

    def __init__(
        self,
        name: str,
        rows: int,
        columns: int,
        data: Callable[[], Array],
        components: Components,
        count: SurvivorCount | None = None,
    ) -> None:
        """``count`` is told how every row is screened."""
        self.name, self.rows, self.columns = name, rows, columns
        self.width = align(columns, GROUP)
        self._data = data
        self._components = components
        self._count = count
        if columns < COMPONENTS:
            raise PlanesDoNotPay(f"tensor {name}: {columns} columns, planes need at least {COMPONENTS}")
        if self._padded_rows * self._plane2_bytes >= _INDEXABLE:
            raise PlanesDoNotPay(f"tensor {name}: {rows} × {columns} values are more than planes can index")
        self._coefficients = np.zeros((rows, COMPONENTS), np.int16)
        self._bounds = np.zeros((self._padded_rows, BOUNDS), np.float32)
        self._exponents = np.zeros(rows, np.int32)
        self._outliers = np.zeros((rows, OUTLIERS), np.uint16)
        self._escapes: list[U16] = []
        self._escape_counts = np.zeros(rows, np.int64)
        self._analyse()

    @property
    def screened_bytes(self) -> int:
        """What screening reads for each hidden state."""
        return self._padded_rows * (self._plane1_bytes + self._bounds.itemsize * BOUNDS)

    @property
    def escape_count(self) -> int:
        return int(self._escape_counts.sum())

    def sections(self) -> dict[str, tuple[int, Chunks]]:
        """Size and producer of every section, by the names of plan.h (``eb_head``)."""
        components = np.zeros((self.width, COMPONENTS), np.float32)
        components[: self.columns] = self._components.matrix
        index = np.concatenate([[0], np.cumsum(self._escape_counts)])
        outliers = np.concatenate([self._components.outliers.astype(np.uint16), self._outliers.reshape(-1)])
        return {
            "plane1": (self._padded_rows * self._plane1_bytes, self._plane1),
            "plane2": (self.rows * self._plane2_bytes, self._plane2),
            "bounds": bounds_section(self._bounds),
            "escape_index": whole(index.astype("<u4")),
            "escapes": (self.escape_count * 4, lambda: (e.astype("<u2").tobytes() for e in self._escapes)),
            "outliers": whole(outliers.astype("<u2")),
            "components": whole(components.astype("<f4")),
            "sigma": whole(self._components.sigma.astype("<f8")),
        }

    @property
    def _padded_rows(self) -> int:
        return align(self.rows, ROWS)

    @property
    def _plane1_bytes(self) -> int:
        return ROW_COEFFICIENTS + self.width * 3 // 4

    @property
    def _plane2_bytes(self) -> int:
        return self.width * 5 // 4

    def _blocks(self) -> Iterator[tuple[slice, U16]]:
        """Bits of the rows, some at a time."""
        table = self._data()
        for first in range(0, self.rows, _ROW_BLOCK):
            rows = slice(first, min(first + _ROW_BLOCK, self.rows))
            yield rows, bfloat16_rows(self.name, np.asarray(table[rows]), first)

    def _analyse(self) -> None:
        bound = _Bound(self._components)
        outliers = self._components.outliers
        found = 0
        for rows, bits in self._blocks():
            self._exponents[rows] = exponents = step_exponents(bits, outliers)
            codes = codes_of(bits, exponents)
            escapes = escapes_of(bits, codes, exponents, outliers)
            found += len(escapes.rows)
            if found > _MOST_ESCAPES * self.rows * self.columns:
                raise PlanesDoNotPay(
                    f"tensor {self.name}: more than an eighth of its values are below 1/255 of the largest "
                    "of their row, too many to be kept apart"
                )
            escaped = bits[escapes.rows, escapes.columns]
            self._escapes.append(np.stack([escapes.columns.astype(np.uint16), escaped], axis=1))
            self._escape_counts[rows] = np.bincount(escapes.rows, minlength=len(bits))
            self._outliers[rows] = bits[:, outliers]
            screened = screened_steps(codes)
            measured = bound.measure(bits, codes, screened, exponents, escapes)
            self._coefficients[rows], self._bounds[rows] = measured
            if self._count is not None:
                screened *= np.ldexp(np.float32(1.0), exponents)[:, None]
                self._count.add(rows, screened, *measured)

    def _plane1(self) -> Iterator[bytes]:
        for rows, bits in self._blocks():
            codes = self._codes(rows, bits)
            top = (codes >> np.uint16(10)).astype(np.uint8).reshape(len(bits), -1, 4, 64)
            packed = np.empty((len(bits), self._plane1_bytes), np.uint8)
            packed[:, :ROW_COEFFICIENTS] = coefficient_bytes(self._coefficients[rows])
            lines = packed[:, ROW_COEFFICIENTS:].reshape(len(bits), -1, 3, 64)
            nibbles = top >> np.uint8(2)
            lines[:, :, :2] = nibbles[:, :, 0::2] | nibbles[:, :, 1::2] << np.uint8(4)
            lines[:, :, 2] = _crumbs(top & np.uint8(3))
            yield packed.tobytes()
        yield bytes((self._padded_rows - self.rows) * self._plane1_bytes)

    def _plane2(self) -> Iterator[bytes]:
        for rows, bits in self._blocks():
            codes = self._codes(rows, bits)
            packed = np.empty((len(bits), self._plane2_bytes), np.uint8)
            packed[:, : self.width] = codes  # the low byte
            middle = (codes >> np.uint16(8)).astype(np.uint8) & np.uint8(3)
            packed[:, self.width :] = _crumbs(middle.reshape(len(bits), -1, 4, 64)).reshape(len(bits), -1)
            yield packed.tobytes()

    def _codes(self, rows: slice, bits: U16) -> U16:
        """Codes of rows, padding columns included."""
        codes = codes_of(bits, self._exponents[rows])
        if self.width == self.columns:
            return codes
        return np.pad(codes, ((0, 0), (0, self.width - self.columns)), constant_values=32768)


class _Bound:
    """Coefficients and bounds of coded rows."""

    def __init__(self, components: Components) -> None:
        self.outliers = components.outliers
        self.principal = np.asfortranarray(components.principal)
        self.sigma = components.sigma
        self.gram = self.principal.T @ self.principal
        largest = max(1.0, float(np.abs(self.gram).sum(axis=1).max())) * (1 + LOST)
        self.norm = np.sqrt(largest)  # p
        self.complement = max(1.0, largest - 1.0)

    def measure(
        self, bits: U16, codes: U16, first: F32, exponents: I32, escapes: Escapes
    ) -> tuple[npt.NDArray[np.int16], F32]:
        """q [n][64] and S, sa, N, A, K [n][5] of rows; ``first``: ê in steps."""
        step = np.ldexp(1.0, exponents)
        rest = (codes & np.uint16(1023)).astype(np.float64)  # δ̃ in steps / 256
        rest -= 512.0
        rest[escapes.rows, escapes.columns] = escapes.rest
        rest[:, self.outliers] = 0.0
        rho = np.sqrt(np.bincount(escapes.rows, weights=escapes.lost**2, minlength=len(bits)))
        principal = rest @ self.principal
        energy = squares(rest)
        remaining = energy - 2.0 * squares(principal) + _squares_in(principal, self.gram)
        remaining = np.sqrt(np.maximum(remaining, 0.0) + LOST * energy) * (step / 256.0)

        coefficients = np.empty((len(step), COMPONENTS))
        values = values_of(bits).astype(np.float64)
        coefficients[:, :OUTLIERS] = values[:, self.outliers] - first[:, self.outliers] * step[:, None]
        coefficients[:, OUTLIERS:] = principal * (step / 256.0)[:, None]
        scaled = coefficients * self.sigma
        unit, q = quantise(scaled)
        alpha = np.sqrt(squares(scaled - q * unit[:, None].astype(np.float64)))
        norms = [
            np.sqrt(squares(values)),
            np.sqrt(squares(first)) * step,
            np.sqrt(squares(coefficients)) + self.norm * rho,
        ]
        bounds = [
            remaining + self.complement * rho,
            alpha + self.sigma.max() * self.norm * rho,
            np.max(norms, axis=0),
        ]
        rounded = [round_up(np.asarray(bound) * (1 + LOST)) for bound in bounds]
        return q, np.stack([step.astype(np.float32), unit, *rounded], axis=1)


def _crumbs(fields: U8) -> U8:
    """Two bits of four columns [..., 4, 64] in one byte."""
    low = fields[..., 0, :] | fields[..., 1, :] << np.uint8(2)
    return np.asarray(low | fields[..., 2, :] << np.uint8(4) | fields[..., 3, :] << np.uint8(6))


def _squares_in(x: Floats, gram: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", x @ gram, x))
