"""Embeddings and heads as bfloat16, the one type the engine keeps them in."""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError, CheckpointWarning
from edgebit.model.tensor_files import StoredTensor
from edgebit.model.ternary import row_blocks


def bfloat16_table(stored: StoredTensor) -> npt.NDArray[Any]:
    """A matrix as bfloat16: a view of its file, or of a nameless temporary file with the rounded values, so
    that a table of many hundred megabytes is never in memory as a whole.
    """
    if stored.dtype == "BF16":
        return stored.map()
    rows, columns = stored.shape
    changed = 0
    try:
        with tempfile.TemporaryFile(prefix="edgebit-table-") as file:
            for begin, end in row_blocks((rows, columns)):
                wide = stored.float_rows(begin, end)
                narrow = wide.astype(ml_dtypes.bfloat16)
                changed += int(np.count_nonzero(narrow.astype(np.float32) != wide))
                file.write(narrow.view(np.uint8).data)
            file.flush()
            table = np.memmap(file, ml_dtypes.bfloat16, "r", shape=(rows, columns))
    except OSError as reason:
        raise CheckpointError(
            f"{stored.file}: no room for a copy of {stored.name} in {tempfile.gettempdir()} "
            f"({reason.strerror or reason}); set TMPDIR to a folder with {2 * rows * columns} bytes free"
        ) from None
    if changed:
        warnings.warn(
            f"{stored.file}: {stored.name} is {stored.dtype} and was rounded to bfloat16, "
            f"which changed {changed} of its {rows * columns} values",
            CheckpointWarning,
            stacklevel=3,
        )
    return table
