"""The parts of edgebit-run under sanitizers against Python's json, hashlib and the streaming of chat.py."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgebit.runtime.streaming import TextStream
from tests.runtime.builders import HERE, NATIVE
from tests.runtime.toy_bundle import ANSWER

SOURCES = NATIVE.parent / "program"
PARTS = ("bytes", "fail", "json", "manifest", "sha256", "stream", "system")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
END = -1


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    output = tmp_path_factory.mktemp("probe") / "probe"
    flags = [flag for flag in (SOURCES / "compile_flags.txt").read_text().split() if "sanitize" not in flag]
    flags += [
        "-Werror",
        "-Wno-format-truncation",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        f"-I{SOURCES}",
    ]
    files = [HERE / "program_probe.c", *(SOURCES / f"{name}.c" for name in PARTS)]
    subprocess.run(["gcc", *flags, f"-I{NATIVE}", "-o", str(output), *map(str, files)], check=True)
    return output


def ask(probe: Path, records: Sequence[bytes | int], *arguments: str) -> list[str]:
    """The probe's line about each record."""
    given = b"".join(
        struct.pack("<i", record) if isinstance(record, int) else struct.pack("<i", len(record)) + record
        for record in records
    )
    result = subprocess.run([str(probe), *arguments], input=given, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()[-3000:]
    lines = result.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(records)
    return lines


# ---- JSON --------------------------------------------------------------------------------------------

DOCUMENTS = [
    *(
        'null|true|false|0|-0|12|-7.5e+3|1E5|1.25|""|[]|{}|[[]]|[1,2]|[1 , [2, {}]]|{"a":{"b":[]}}| 7 |'
        '"\\"\\\\\\/\\b\\f\\n\\r\\t"|"\\u00e9\\u20AC\\ud83d\\ude00"|"é€😀"|"\\u0000a"|{"":1,"a":2}|'
        '|[|]|{|}|[1|[1,|[1,]|[,1]|{"a"|{"a":|{"a":1|{"a":1,|{"a":1,}|{a:1}|{1:2}|{"a" 1}|[1 2]|1 2|'
        '01|-|-a|1.|.5|1e|1e+|+1|0x10|NaN|Infinity|-Infinity|nul|tru|truex|True|\'a\'|"|"a|"\\|"\\x"|"\\u12"|'
        '"\\u12g4"|"\\ud800"|"\\udc00"|"\\ud800\\ud800"|"\\ud800x"|"\t"|"\x1f"|{"a":1,"a":2}|[1]]|'
        "\ufeff1|/**/1|[1,\x0b2]|[1,\xa02]"
    ).split("|"),
    "\n[\n1\n,\r\t2]\n",
    "[" * 64 + "]" * 64,
    '{"a":' * 64 + "1" + "}" * 64,
    "1" * 400,
]
BROKEN = [
    b'"\xff"',
    b'"\xc3"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b"\x00",
    b'"\x00"',
    b"\xe9",
]


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def refuse(constant: str) -> Any:
    raise ValueError(constant)


def hexed(value: Any) -> Any:
    """As the probe prints it: texts in hexadecimal, numbers as written. Raises where a text is no Unicode."""
    if isinstance(value, Number):
        return f"#{value}"
    if isinstance(value, str):
        return value.encode("utf-8").hex()
    if isinstance(value, list):
        return [hexed(each) for each in value]
    if isinstance(value, dict):
        return {hexed(name): hexed(each) for name, each in value.items()}
    return value


class Number(str):
    """A number as it was written."""


def expected(document: bytes) -> Any:
    """The probe's reading by Python's json; ValueError where it is none."""
    value = json.loads(
        document.decode("utf-8"),
        object_pairs_hook=without_twins,
        parse_constant=refuse,
        parse_int=Number,
        parse_float=Number,
    )
    return hexed(value)


def assert_read_as_python_does(probe: Path, documents: Sequence[bytes]) -> int:
    refused = 0
    for document, line in zip(documents, ask(probe, documents, "json"), strict=True):
        try:
            wanted = expected(document)
        except ValueError:
            assert line.startswith("! line "), (document, line)
            refused += 1
            continue
        assert json.loads(line) == wanted, document
    return refused


def test_documents_are_read_and_refused_as_python_does(probe: Path) -> None:
    documents = [*(document.encode() for document in DOCUMENTS), *BROKEN]
    refused = assert_read_as_python_does(probe, documents)
    assert 30 < refused < len(documents) - 20


def test_garbled_documents_are_read_and_refused_as_python_does(probe: Path) -> None:
    chance = random.Random(3)
    whole = json.dumps(
        {"a": [1, -2.5e3, None, True], "é": {"b": "x\n\u20ac\\", "c": [[], {}]}}, ensure_ascii=False
    ).encode()
    documents = [whole[:end] for end in range(len(whole))]
    for _ in range(4000):
        garbled = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(garbled))
            garbled[at : at + chance.randrange(2)] = chance.choice(
                [b"", b"\\", b'"', b",", b"]", b"}", b"0", b"\xc3", bytes([chance.randrange(256)])]
            )
        documents.append(bytes(garbled))
    refused = assert_read_as_python_does(probe, documents)
    assert 1000 < refused < len(documents) - 100


def test_lists_inside_each_other_without_end_are_refused(probe: Path) -> None:
    for line in ask(probe, [b"[" * 65 + b"]" * 65, b"[" * 1_000_000, b'{"a":' * 100_000], "json"):
        assert line == "! line 1: lists and tables too deep inside each other"
    assert ask(probe, [b"[1,\n2,\n x]"], "json") == ["! line 3: a value is expected"]


# ---- SHA-256 -----------------------------------------------------------------------------------------


def test_sha256_is_that_of_hashlib_for_every_length_and_piece(probe: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    records = [data[:size] for size in (*range(300), 4095, 4096, 100_003, len(data))]
    assert ask(probe, records, "sha256") == [hashlib.sha256(record).hexdigest() for record in records]


# ---- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [(), ("ab", "é€", "a€a"), ("\ufffd", "zz"), ("aaab", "aa")])
def test_text_streams_as_in_python(probe: Path, stop: tuple[str, ...]) -> None:
    chance = random.Random(len(stop))
    pieces = [b"a", b"b", b"z", b" ", *(bytes([b]) for b in "é€😀".encode()), b"\xff", b"\xc0"]
    pieces.append(b"\xed\xa0.")  # whole: Python waits for a third byte, which cannot make it a character
    records: list[bytes | int] = []
    wanted = []
    text = TextStream(stop)
    for _ in range(20_000):
        end = chance.random() < 0.05
        record: bytes | int = END if end else b"".join(chance.choices(pieces, k=chance.randrange(4)))
        shown, reached = (text.finish(), False) if isinstance(record, int) else text.feed(record)
        records.append(record)
        wanted.append(f'"{shown.encode().hex()}"' + (" stop" if reached else ""))
        if end or reached:
            text = TextStream(stop)
    assert ask(probe, records, "stream", *stop) == wanted


# ---- manifest ----------------------------------------------------------------------------------------


def signed(table: dict[str, Any]) -> bytes:
    """A manifest.json with its own digest."""
    text = json.dumps({"sha256": "0" * 64, **{k: v for k, v in table.items() if k != "sha256"}})
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1).encode()


def test_a_manifest_with_any_byte_changed_or_missing_is_refused(probe: Path, bundle_copy: Path) -> None:
    chance = random.Random(5)
    whole = (bundle_copy / "manifest.json").read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole) - 1, 13)]
    for _ in range(400):
        at = chance.randrange(len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
    fine, *lines = ask(probe, [whole, *damaged], "manifest", str(bundle_copy))
    assert fine == "fine"
    for line in lines:
        assert line.startswith(f"{bundle_copy}/manifest.json "), line


def test_a_manifest_that_was_made_to_deceive_is_refused(probe: Path, bundle_copy: Path) -> None:
    table = json.loads((bundle_copy / "manifest.json").read_text())
    entry = table["files"]["LICENSE"]
    files = [
        {"../LICENSE": entry},
        {"/etc/passwd": entry},
        {"a/../../x": entry},
        {"LICENSE\0": entry},
        {"": entry},
        {"x" * 5000: entry},
        {"LICENSE": {**entry, "size": -1}},
        {"LICENSE": {**entry, "size": 1.5}},
        {"LICENSE": {**entry, "size": "many"}},
        {"LICENSE": {**entry, "size": 10**30}},
        {"LICENSE": {**entry, "sha256": "0"}},
        {"LICENSE": {"size": 1}},
        {"LICENSE": [1]},
        {"LICENSE": None},
        {"nothing": entry},
        {"edgebit_runtime": entry},
        [entry],
        None,
    ]
    tables = [{**table, "files": each} for each in files]
    tables += [{**table, "format": 3}, {**table, "format": "1"}, {**table, "target": []}]
    tables += [{**table, "target": {"architecture": "vax\0"}}, {"edgebit": 1, "format": 2}, {}]
    records = [signed(each) for each in tables]
    records += [b"[]", b"7", b"", b'"edgebit"', signed(table).replace(b'"sha256"', b'"sha257"', 1)]
    assert ask(probe, [signed(table)], "manifest", str(bundle_copy)) == ["fine"]
    for record, line in zip(records, ask(probe, records, "manifest", str(bundle_copy)), strict=True):
        assert line not in ("fine", ""), record


# ---- the whole program -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """edgebit-run of the toy model, runtime and all, under sanitizers."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    output = tmp_path_factory.mktemp("program") / "edgebit-run"
    sources = [*sorted(SOURCES.glob("*.c")), *sorted(NATIVE.glob("*.c")), HERE / "toy_plan.c"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-w", *SANITIZERS, f"-I{SOURCES}", f"-I{NATIVE}"]
    subprocess.run(["gcc", *flags, "-o", str(output), *map(str, sources), "-lpthread", "-lm"], check=True)
    return output


def test_every_command_is_clean_under_sanitizers(checked_program: Path, toy_bundle: Path) -> None:
    def run(*arguments: str, given: str = "") -> tuple[int, str, str]:
        command = [str(checked_program), str(toy_bundle), *arguments]
        result = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout, result.stderr

    assert run("-p", "hi", "--stats")[:2] == (0, ANSWER + "\n")
    assert run("-p", "é", "--raw", "--stop", "ok")[:2] == (0, ANSWER[1:-3] + "\n")
    talk = run("--system", "x", given="hi\nho\n/help\n/reset\n/x\n" + "y" * 70 + "\n")
    assert (talk[0], talk[1].count(ANSWER)) == (1, 2)
    assert "shorten it" in talk[2]
    assert run("-p", "hi", "--temperature", "900", "--top-p", "0.9", "--max-tokens", "30")[0] in (0, 1)
    assert run("--doctor")[1].splitlines()[-1].startswith("right: ")
    assert run("--bench", "--repeat", "1")[0] == 0
    assert run("--help")[0] == run("--version")[0] == 0


@pytest.mark.parametrize("name", ["weights.bin", "tokenizer.bin"])
def test_doctor_survives_whatever_it_is_shown(checked_program: Path, bundle_copy: Path, name: str) -> None:
    """It opens the model though a file is damaged, to tell more. Bits anywhere, most of them in headers."""
    chance = random.Random(9)
    path = bundle_copy / name
    whole = path.read_bytes()
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(min(len(data), chance.choice([64, 1024, len(data)])))
            data[at] ^= 1 << chance.randrange(8)
        path.write_bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
        command = [str(checked_program), str(bundle_copy), "--doctor", "--tier", "baseline", "--threads", "1"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1, result.stderr[-3000:]
        assert "damaged" in result.stdout.splitlines()[-1] and result.stderr == ""
