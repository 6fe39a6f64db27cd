"""Objects of kernels are kept, found again, made again where they are damaged, and never needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgebit.compiler import kernel_cache
from edgebit.compiler.kernel_cache import MOST_GENERATIONS, kept


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("EDGEBIT_NO_CACHE", raising=False)
    kernel_cache._folder.cache_clear()
    yield tmp_path / "edgebit" / "kernels"
    kernel_cache._folder.cache_clear()


def never() -> bytes:
    raise AssertionError("this object was kept")


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def test_an_object_is_made_once(home: Path) -> None:
    assert kept("a kernel", lambda: b"object") == b"object"
    assert kept("a kernel", never) == b"object"
    assert kept("another", lambda: b"other") == b"other"
    assert len(files(home)) == 2


DAMAGES = [lambda c: c[:-1], lambda c: c[:-1] + b"?", lambda c: b"", lambda c: c[32:]]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_made_again(home: Path, damage: Callable[[bytes], bytes]) -> None:
    kept("a kernel", lambda: b"object")
    (path,) = files(home)
    path.write_bytes(damage(path.read_bytes()))
    assert kept("a kernel", lambda: b"made again") == b"made again"
    assert kept("a kernel", never) == b"made again"
    assert files(home) == [path]


def test_nothing_is_kept_where_that_is_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept("a kernel", lambda: b"old")
    monkeypatch.setenv("EDGEBIT_NO_CACHE", "1")
    assert kept("a kernel", lambda: b"new") == b"new"
    assert kept("another", lambda: b"new") == b"new"
    assert len(files(home)) == 1


def test_nothing_is_kept_where_there_is_no_folder_for_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    kernel_cache._folder.cache_clear()
    assert kept("a kernel", lambda: b"object") == b"object"
    assert kept("a kernel", lambda: b"again") == b"again"


def test_other_schedules_are_another_generation(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept("a kernel", lambda: b"object")
    for number in range(MOST_GENERATIONS + 2):
        monkeypatch.setattr(kernel_cache, "generation", lambda number=number: f"generation{number}")
        kernel_cache._folder.cache_clear()
        assert kept("a kernel", lambda: b"of new schedules") == b"of new schedules"
    assert len(list(home.iterdir())) == MOST_GENERATIONS


def test_the_generation_is_that_of_the_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel_cache.generation()
    assert kernel_cache.generation() == first
    for path in Path(kernel_cache.schedules.__path__[0]).glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(kernel_cache.schedules, "__path__", [str(tmp_path)])
    assert kernel_cache.generation() == first
    with (tmp_path / "ternary.py").open("a") as file:
        file.write("\n")
    assert kernel_cache.generation() != first
