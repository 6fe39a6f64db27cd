"""Programs around a bundle: every Python from 3.8 on that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.runtime.toy_bundle import ANSWER

USE_THE_LOADER = """
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from edgebit_runtime import ContextFullError, load
with load(sys.argv[1], verify=True) as model:
    text = "".join(model.chat([{"role": "user", "content": "hi"}], stop=["ok"]))
    assert text.encode("unicode_escape").decode("ascii") == sys.argv[2], text
    assert model.logits([1, 2, 3]).shape == (3, model.info.vocab_size)
    assert model.detokenize(model.tokenize(text)) == text
    try:
        model.generate("x" * 100)
    except ContextFullError:
        print("right")
"""


def interpreters() -> dict[str, Path]:
    """Executables by version; the tests' own is always there."""
    names = [f"python3.{minor}" for minor in range(8, 20)]
    found = [shutil.which(name) for name in names]
    managed = (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3")
    versions = {}
    for path in [sys.executable, *filter(None, found), *map(str, managed)]:
        program = "import sys; print(*sys.version_info[:2], sep='.')"
        result = subprocess.run([path, "-c", program], capture_output=True, text=True, check=False)
        major, _, minor = result.stdout.strip().partition(".")
        if result.returncode == 0 and major == "3" and int(minor) >= 8:
            versions[result.stdout.strip()] = Path(path)
    return versions


def test_every_python_here_runs_the_loader(toy_bundle: Path) -> None:
    expected = ANSWER.split("ok")[0].encode("unicode_escape").decode("ascii")
    for version, executable in interpreters().items():
        result = subprocess.run(
            [str(executable), "-c", USE_THE_LOADER, str(toy_bundle), expected],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.stdout, result.returncode) == ("right\n", 0), f"Python {version}: {result.stderr}"
