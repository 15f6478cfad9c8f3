"""The processes of a run's commands: found by their mark or by their parent, weighed, killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "AUTOROUTE_COMMAND"
"""The variable that says, in every process of a run, whose it is and which call started it: ``MARK:CALL``."""
_PROC = Path("/proc")
_POLL = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_of(process: int) -> int:
    """Bytes of memory that a process and all that descend from it hold; 0 where there is no ``/proc``.

    What is mapped by several of them is counted for each: it bounds from above. Files without a name, which are memory
    whether they are mapped or not, are counted once.
    """
    total, unnamed, waiting = 0, dict[int, int](), [process]
    while waiting:
        place = _PROC / str(waiting.pop())
        with suppress(OSError, ValueError, IndexError):
            total += int((place / "statm").read_bytes().split()[1]) * _PAGE
            for task in (place / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_bytes().split()]
            unnamed.update(_files_in_memory(place))
    return total + sum(unnamed.values())


def _files_in_memory(process: Path) -> Iterator[tuple[int, int]]:
    """Number and bytes of the memfds that a process holds open."""
    for handle in (process / "fd").iterdir():
        with suppress(OSError):
            if str(handle.readlink()).startswith("/memfd:"):
                facts = handle.stat()
                yield facts.st_ino, facts.st_blocks * 512


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
    try:
        variables = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(variable.startswith(f"{MARK}={mark}".encode()) for variable in variables)
