"""The processes of a run's commands: found by their mark, and killed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "AUTOROUTE_COMMAND"
"""The variable that says, in every process of a run, whose it is and which call started it: ``MARK:CALL``."""
_PROC = Path("/proc")
_POLL = 0.02
_LOOKS, _BLINK = 5, 0.001
"""How often a process that shows no environment is looked at, and the seconds between."""


def kill_marked(mark: str) -> int:
    """Kill processes whose mark begins with ``mark``, until there is none; how many there were.

    Children inherit the mark with their environment, in whatever session they are.
    """
    if not (_PROC / "self/environ").exists():
        return 0
    killed: set[str] = set()
    for _ in range(10):
        found = [process for process in _PROC.iterdir() if process.name.isdigit() and _is_marked(process, mark)]
        if not found:
            break
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        killed.update(process.name for process in found)
        time.sleep(_POLL)
    return len(killed)


def _is_marked(process: Path, mark: str) -> bool:
    if process.name == str(os.getpid()):
        return False
    variables = _environment(process).split(b"\0")
    return any(variable.startswith(f"{MARK}={mark}".encode()) for variable in variables)


def _environment(process: Path) -> bytes:
    """What it was started with; b"" where that is not ours to read, and of what runs no program.

    While it becomes another program a process shows none, for a moment: then it is looked at again.
    """
    with suppress(OSError):
        for _ in range(_LOOKS):
            if variables := (process / "environ").read_bytes():
                return variables
            (process / "exe").readlink()
            time.sleep(_BLINK)
    return b""
