"""How a folder of sentence-transformers makes one vector of a text: modules.json and the files it names.

modules.json           [{"path": "", "type": "sentence_transformers.models.Transformer"},
                        {"path": "1_Pooling", "type": "….Pooling"},
                        {"path": "2_Normalize", "type": "….Normalize"}]
1_Pooling/config.json  {"pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true, …}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebit.errors import ConfigError
from edgebit.model.jsonfile import quoted, read_json, read_json_value

MODULES_FILE = "modules.json"
POOLINGS = ("last", "mean")
_MODE = "pooling_mode_"
_LONGEST_NAME = 255
_NAMES = {"lasttoken": "last", "mean_tokens": "mean"}  # of sentence-transformers, behind _MODE


def read_pooling(folder: Path) -> str | None:
    """ "last" or "mean", None where the folder does not say. Raises ConfigError for what edgebit lacks."""
    path = folder / MODULES_FILE
    if not path.is_file():
        return None
    pooling = None
    for module in _modules(path):
        kind = str(module.get("type")).rpartition(".")[2]
        if kind == "Pooling":
            name = str(module.get("path"))
            if Path(name).name != name or len(name) > _LONGEST_NAME:
                raise ConfigError(f"{path}: {quoted(name)} is no name of a folder beside it")
            pooling = _pooling(folder / name / "config.json")
        elif kind not in ("Transformer", "Normalize"):
            raise ConfigError(
                f"{path}: module {kind} is not supported; supported are Transformer, Pooling and Normalize"
            )
    return pooling


def _modules(path: Path) -> list[dict[str, Any]]:
    modules = read_json_value(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ConfigError(f"{path}: expected a list of modules, as sentence-transformers writes it")
    return modules


def _pooling(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"{path}: is missing, {MODULES_FILE} names it; download the whole model")
    modes = [key for key, value in read_json(path).items() if key.startswith(_MODE) and value is True]
    names = [_NAMES.get(mode.removeprefix(_MODE)) for mode in modes]
    if len(names) == 1 and names[0] is not None:
        return names[0]
    found = " and ".join(modes) or "no pooling_mode_*"
    known = " or ".join(_MODE + name for name in _NAMES)
    raise ConfigError(f"{path}: {found} is true, expected {known}")
