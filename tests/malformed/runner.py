"""Every malformed file in this process, one by one: python -m tests.malformed.runner [KIND [CASE…]].

Each case is a copy of a valid model with one thing wrong, taken through all of a compilation but the kernels'
machine code, weights included. A line of JSON for each on stdout: what it ended in. 1 GB of address space and
10 s of CPU are all a case gets beside what the interpreter and its libraries hold: more kills this process,
and `test_malformed` names the case that was being read.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from edgebit.compiler import compile_graph
from edgebit.compiler.target import load_target
from edgebit.errors import EdgebitError
from edgebit.pipeline import open_graph, text_table_of
from tests.malformed.kinds import KINDS

MOST_BYTES = 1 << 30
MOST_SECONDS = 10


def read(model: Path) -> None:
    """All that reads a model: files, graph, tokenizer, plan, every byte of the weights."""
    graph = open_graph(model)
    if graph.is_language_model:
        text_table_of(graph)
    with mock.patch("edgebit.compiler.compile.build_objects", return_value={}):
        compiled = compile_graph(graph, load_target("host"))
    for section in compiled.weights.sections:
        for _ in section.chunks():
            pass


def outcome(model: Path) -> dict[str, Any]:
    """ "error" with the message where it ends in an EdgebitError, "failure" where in anything else."""
    try:
        read(model)
    except EdgebitError as error:
        return {"error": str(error)}
    except BaseException as error:
        return {"failure": f"{type(error).__name__}: {error}"[:500]}
    return {}


def run_kind(name: str, wanted: list[str]) -> None:
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        kind.write(whole)
        found = outcome(whole / kind.model)
        if found:
            sys.exit(f"{name}: the model without damage: {found}")
        limit = psutil.Process().memory_info().vms + MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        for case, damage in kind.cases().items():
            if wanted and case not in wanted:
                continue
            copy = Path(shutil.copytree(whole, Path(folder) / "model"))
            damage(copy)
            print(json.dumps({"kind": name, "case": case}), flush=True)
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # its signal ends the process, C code or not
            found = outcome(copy / kind.model)
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps(found), flush=True)
            shutil.rmtree(copy)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def main() -> None:
    warnings.simplefilter("ignore")
    for name in sys.argv[1:2] or KINDS:
        run_kind(name, sys.argv[2:])


if __name__ == "__main__":
    main()
