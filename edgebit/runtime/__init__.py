"""Runs an edgebit bundle: standard-library Python over libmodel.so, nothing to install.

    from edgebit_runtime import load

    with load("my-bundle") as model:
        for piece in model.chat([{"role": "user", "content": "Turn on the kitchen light"}]):
            print(piece, end="", flush=True)
        print(model.stats)

In a bundle this package is called `edgebit_runtime`; on a workstation it is `edgebit.runtime`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, Union

from .engine import ModelInfo
from .errors import ContextFullError, IntegrityError, RuntimeModelError
from .integrity import check_bundle
from .model import Model
from .stats import HeadStats, Stats

__all__ = [
    "ContextFullError",
    "HeadStats",
    "IntegrityError",
    "Model",
    "ModelInfo",
    "RuntimeModelError",
    "Stats",
    "load",
]


def load(path: Union[str, "os.PathLike[str]"], threads: Optional[int] = None, verify: bool = False) -> Model:
    """Opens a bundle folder. threads None: one for each CPU worth using.

    verify (or EDGEBIT_VERIFY=1) checks the sha256 of the largest files too. Raises IntegrityError where the
    folder is damaged or for another machine, RuntimeModelError where the model cannot run.
    """
    folder = Path(path)
    manifest = check_bundle(folder, verify)
    return Model(folder, threads, manifest)
