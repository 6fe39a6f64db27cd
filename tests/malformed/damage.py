"""Ways to damage a file, named; a case is a function that changes the folder it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Case = Callable[[Path], None]
Cases = Mapping[str, Case]

DEEP = 100_000  # nested arrays
# What stands where something else is expected, by the name it gives a case.
WRONG: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "text": "seven",
    "number": 7,
    "negative": -1,
    "zero": 0,
    "fraction": 0.5,
    "huge": 10**30,
    "infinite": float("inf"),
    "list": [],
    "lists": [[7]],
    "object": {},
    "objects": {"a": {}},
}


def change_bytes(name: str, change: Callable[[bytes], bytes]) -> Case:
    """Replace the content of a file by a function of it."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def change_tree(name: str, change: Callable[[Any], Any]) -> Case:
    """Change a JSON file by a function that changes its tree, or returns another."""

    def damage(folder: Path) -> None:
        tree = json.loads((folder / name).read_bytes())
        changed = change(tree)
        (folder / name).write_text(json.dumps(tree if changed is None else changed), encoding="utf-8")

    return damage


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    """Sets the entry of a tree that ``path`` leads to."""

    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        tree[path[-1]] = value

    return change


def remove(*path: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        del tree[path[-1]]

    return change


def broken_text(name: str) -> dict[str, Case]:
    """What can be wrong with any JSON file: not JSON, not an object, deeper or other than it looks."""
    contents: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _: b"",
        "zeros": lambda whole: bytes(len(whole)),
        "half": lambda whole: whole[: len(whole) // 2],
        "last byte missing": lambda whole: whole.rstrip()[:-1],
        "not UTF-8": lambda whole: whole[:1] + b'"\xff\xfe": 1, ' + whole[1:],
        "UTF-16": lambda whole: whole.decode().encode("utf-16-le"),
        "twice": lambda whole: whole + whole,
        "array": lambda _: b"[1, 2]",
        "null": lambda _: b"null",
        "text": lambda _: b'"text"',
        "number": lambda _: b"1e400",
        "deep arrays": lambda _: b"[" * DEEP + b"]" * DEEP,
        "deep objects": lambda _: b'{"a":' * DEEP + b"0" + b"}" * DEEP,
        "deep inside": lambda whole: whole[:1] + b'"x": ' + b"[" * DEEP + b"]" * DEEP + b", " + whole[1:],
        "long number": lambda whole: whole[:1] + b'"x": ' + b"9" * 100_000 + b", " + whole[1:],
        "key twice": lambda whole: whole.rstrip()[:-1] + b', "k": 1, "k": 2}',
        "key twice inside": lambda whole: whole.rstrip()[:-1] + b', "k": {"k": 1, "k": 2}}',
    }
    return {f"{name}: {kind}": change_bytes(name, change) for kind, change in contents.items()}


def too_much_text(name: str) -> dict[str, Case]:
    """Files of some megabytes that would be gigabytes of Python's objects, and one that is too long."""
    contents: dict[str, Callable[[bytes], bytes]] = {
        "many arrays": lambda whole: whole[:1] + b'"x": [' + b"[]," * 8_000_000 + b"0], " + whole[1:],
        "many objects": lambda whole: whole[:1] + b'"x": [' + b'{"":0},' * 4_000_000 + b"0], " + whole[1:],
        "many texts": lambda whole: whole[:1] + b'"x": [' + b'"ab",' * 12_000_000 + b"0], " + whole[1:],
        "too long": lambda whole: whole + b" " * (80 << 20),
    }
    return {f"{name}: {kind}": change_bytes(name, change) for kind, change in contents.items()}
