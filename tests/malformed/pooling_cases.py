"""modules.json of sentence-transformers and the configuration of pooling it names."""

from __future__ import annotations

from pathlib import Path

from tests.builders import Shape, write_checkpoint, write_json
from tests.malformed.damage import WRONG, Cases, broken_text, change_tree, put

MODULES = "modules.json"
POOLING = "1_Pooling/config.json"


def write(folder: Path) -> None:
    write_checkpoint(folder, "packed", Shape(hidden_size=64, intermediate_size=96, layers=1, vocab_size=320))
    (folder / "1_Pooling").mkdir()
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    write_json(folder / MODULES, modules)
    write_json(folder / POOLING, {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True})


def cases() -> Cases:
    return {
        **broken_text(MODULES),
        **broken_text(POOLING),
        **{
            f"module {kind}": change_tree(MODULES, put(1, value=value))
            for kind, value in WRONG.items()
            if kind not in ("object", "objects")
        },
        **{
            f"path {kind}": change_tree(MODULES, put(1, "path", value=value))
            for kind, value in WRONG.items()
            if kind != "absent"
        },
        "path outside": change_tree(MODULES, put(1, "path", value="../..")),
        "path absolute": change_tree(MODULES, put(1, "path", value="/etc")),
        "path with a NUL": change_tree(MODULES, put(1, "path", value="a\0b")),
        "path of a long name": change_tree(MODULES, put(1, "path", value="a" * 5000)),
        "module unknown": change_tree(MODULES, put(1, "type", value="sentence_transformers.models.Dense")),
        "mode unknown": change_tree(POOLING, put("pooling_mode_cls_token", value=True)),
        "two modes": change_tree(POOLING, put("pooling_mode_mean_tokens", value=True)),
        "mode a number": change_tree(POOLING, put("pooling_mode_lasttoken", value=1)),
        "no mode": change_tree(POOLING, put("pooling_mode_lasttoken", value=False)),
        "file missing": lambda folder: (folder / POOLING).unlink(),
    }
