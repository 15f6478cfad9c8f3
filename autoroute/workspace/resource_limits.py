"""What a command holds, weighed against its allowance while it runs: its processes by themselves, and the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoroute.workspace.sandbox.confinement import ResourceLimits

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WEIGHED = 0.25
"""Seconds from one look at what a command holds to the next."""
_OURS = 4
"""Processes that a layer starts itself, for the command or around it, at the most."""


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """The memory of the machine in bytes.

    ``unseen`` is what is in use and belongs to no process by itself: buffers of sockets and pipes, shared memory,
    folders in memory, what the kernel keeps.
    """

    total: int = 0
    available: int = 0
    unseen: int = 0


def read_machine_memory() -> MachineMemory:
    """What it is now; nothing at all where there is no ``/proc/meminfo``."""
    with suppress(OSError, ValueError, KeyError):
        lines = [line.split() for line in (_PROC / "meminfo").read_text("ascii").splitlines()]
        facts = {line[0]: int(line[1]) * 1024 for line in lines}
        total, available = facts["MemTotal:"], facts["MemAvailable:"]
        return MachineMemory(total, available, total - available - facts["AnonPages:"])
    return MachineMemory()


class ResourceMonitor:
    """Weighs one command, from its start on. Where there is no ``/proc`` nothing weighs anything."""

    def __init__(
        self,
        limits: ResourceLimits,
        machine: Callable[[], MachineMemory] = read_machine_memory,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._machine = machine
        self._now = now
        self._weighed = now()
        self._least = machine().unseen

    def excess(self, process: int) -> str:
        """What ``process`` and its descendants have too much of; "" when nothing, or when it is too early to look."""
        now = self._now()
        if now - self._weighed <= _WEIGHED:
            return ""
        self._weighed = now
        allowed, held = self._limits, measure_usage(process, self._limits.processes + _OURS)
        # The kernel refuses what goes beyond; but not to root.
        if held.tasks > allowed.processes + _OURS:
            return f"it ran more than {allowed.processes} processes at once"
        if held.memory > allowed.memory:
            return f"it held more than {_gibibytes(allowed.memory)} of memory"
        machine = self._machine()
        self._least = min(self._least, machine.unseen)
        most = min(allowed.memory, machine.total // 2)
        # Others may have taken it: so it is a reason to end this one only where it begins to run short.
        if machine.unseen - self._least > most and machine.available < machine.total * allowed.spare:
            return f"more than {_gibibytes(most)} of memory went where no process shows it, and little is left"
        return ""


def _gibibytes(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Bytes of memory and number of tasks (processes and their threads, which the kernel counts alike)."""

    memory: int = 0
    tasks: int = 0


def measure_usage(process: int, most: int) -> ResourceUsage:
    """What a process and all that descend from it hold; no more is counted once there are more than ``most`` tasks.

    What is mapped by several of them is counted for each: it bounds from above. Files without a name, which are memory
    whether they are mapped or not, are counted once.
    """
    memory, tasks, unnamed, waiting = 0, 0, dict[int, int](), [process]
    while waiting and tasks <= most:
        place = _PROC / str(waiting.pop())
        with suppress(OSError, ValueError, IndexError):
            memory += int((place / "statm").read_bytes().split()[1]) * _PAGE
            for task in (place / "task").iterdir():
                tasks += 1
                waiting += [int(child) for child in (task / "children").read_bytes().split()]
            unnamed.update(_files_in_memory(place))
    return ResourceUsage(memory + sum(unnamed.values()), tasks)


def _files_in_memory(process: Path) -> Iterator[tuple[int, int]]:
    """Number and bytes of the memfds that a process holds open."""
    for handle in (process / "fd").iterdir():
        with suppress(OSError):
            if str(handle.readlink()).startswith("/memfd:"):
                facts = handle.stat()
                yield facts.st_ino, facts.st_blocks * 512
