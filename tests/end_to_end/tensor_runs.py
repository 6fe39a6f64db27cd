"""What the bundle of a graph of tensors computes in another process, under any Python."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

# Prints the tier and the bits of all outputs.
_PROGRAM = """
import json, sys; sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
with load(sys.argv[1], threads=int(sys.argv[2])) as model:
    outputs = model.run({name: bytes.fromhex(data) for name, data in json.loads(sys.argv[3]).items()})
    print(model.info.tier, b"".join(value.tobytes() for value in outputs.values()).hex())
"""


def bits(
    python: str | Path, bundle: Path, inputs: Mapping[str, Array], threads: int, **environment: str
) -> tuple[str, str]:
    """(tier, bits of all outputs one after the other in hexadecimal digits)."""
    given = json.dumps({name: value.tobytes().hex() for name, value in inputs.items()})
    command = [str(python), "-c", _PROGRAM, str(bundle), str(threads), given]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tier, said = done.stdout.split()
    return tier, said
