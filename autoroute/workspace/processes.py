"""Finding and killing the processes of a run's commands, by a mark in their environment."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK_VARIABLE = "AUTOROUTE_COMMAND"
"""The environment variable that marks every process of a run, as ``RUN_MARK:CALL``.

Children inherit it. Killing the process group is not enough: it left 53 of the processes of five background patterns.
"""
_PROC = Path("/proc")
_MAX_ROUNDS = 10
_ROUND_PAUSE_SECONDS = 0.02
_MAX_READS = 5
_READ_PAUSE_SECONDS = 0.001


def kill_marked(mark: str) -> int:
    """Kill all processes whose mark begins with ``mark``, in any session; return their number.

    A process may fork while the list is read, so this repeats until none is found.
    """
    if not (_PROC / "self/environ").exists():
        return 0
    killed: set[str] = set()
    for _ in range(_MAX_ROUNDS):
        found = [process for process in _PROC.iterdir() if process.name.isdigit() and _is_marked(process, mark)]
        if not found:
            break
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        killed.update(process.name for process in found)
        time.sleep(_ROUND_PAUSE_SECONDS)
        for process in found:
            reap(int(process.name))
    return len(killed)


def reap(process: int) -> None:
    """Remove a process that has ended from the table, if we are its parent by inheritance; no other is waited for."""
    with suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)


def _is_marked(process: Path, mark: str) -> bool:
    if process.name == str(os.getpid()):
        return False
    variables = _read_environment(process).split(b"\0")
    return any(variable.startswith(f"{MARK_VARIABLE}={mark}".encode()) for variable in variables)


def _read_environment(process: Path) -> bytes:
    """Return the environment that a process was started with; b"" for a kernel thread or one that we may not read.

    For a moment during ``execve`` a process shows an empty environment, so an empty one is read again.
    """
    with suppress(OSError):
        for _ in range(_MAX_READS):
            if variables := (process / "environ").read_bytes():
                return variables
            (process / "exe").readlink()  # raises for a kernel thread, which has no program
            time.sleep(_READ_PAUSE_SECONDS)
    return b""
