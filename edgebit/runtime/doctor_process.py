"""Work in a process of its own: a library that crashes there takes nobody with it, and its end is known.

A fork, not a new interpreter: it also works where Python cannot be started by name (an emulator, an app).
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Callable, Dict

from .errors import RuntimeModelError

Tell = Callable[[Any], None]
Work = Callable[[Tell], Any]


def in_child(work: Work, hear: Tell) -> Any:
    """The result of `work(tell)`, which JSON must hold as whatever it tells; `hear` gets that meanwhile.

    Raises RuntimeModelError where the work did, or where it was killed.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _work_and_leave(work, write_end)
    os.close(write_end)
    try:
        outcome = _listen(read_end, hear)
    finally:
        os.close(read_end)
        status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise RuntimeModelError(f"the process was ended by {_signal_name(os.WTERMSIG(status))}")
    if "error" in outcome:
        raise RuntimeModelError(outcome["error"])
    return outcome["result"]


def _work_and_leave(work: Work, write_end: int) -> None:
    """In the child: nothing of the parent's is run or flushed here."""

    def say(message: Dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(write_end, data) :]

    try:
        say({"result": work(lambda told: say({"told": told}))})
    except RuntimeModelError as error:
        say({"error": str(error)})
    except Exception as error:  # the parent has to say something
        say({"error": f"internal error, please report it: {type(error).__name__}: {error}"})
    finally:
        os._exit(0)


def _listen(read_end: int, hear: Tell) -> Dict[str, Any]:
    with os.fdopen(read_end, "r", encoding="utf-8", closefd=False) as lines:
        for line in lines:
            message: Dict[str, Any] = json.loads(line)
            if "told" not in message:
                return message
            hear(message["told"])
    return {"error": "the process ended without a result"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
