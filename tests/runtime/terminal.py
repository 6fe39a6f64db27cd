"""A pseudo-terminal for programs that talk to people."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

WRITING = {"x86_64": ("1", "20"), "aarch64": ("64", "66")}  # numbers of write and writev


class Terminal:
    """A program on a pseudo-terminal, started in the root folder."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process, self.master = pty.fork()
        if self.process == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores it
            os.chdir("/")
            os.execv(command[0], command)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
        self.seen = self.seen.split(text, 1)[1]

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_until_it_writes(self) -> None:
        """Until the program is inside write() or writev()."""
        system_call = Path(f"/proc/{self.process}/syscall")
        if not system_call.exists():
            pytest.skip("this system does not say what a process waits for")
        deadline = time.monotonic() + 60
        while system_call.read_text().split()[0] not in WRITING[os.uname().machine]:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
