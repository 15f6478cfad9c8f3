"""Limits on what one command may use, and a monitor of its processes and memory while it runs.

The kernel enforces limits per process. Memory has to be limited for all processes of a command together, so the monitor
adds it up from ``/proc`` several times a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoroute.routing import SandboxSettings

UNLIMITED_BYTES = 2**63 - 1
"""A limit that no file reaches: the kernel's own, ``RLIM_INFINITY``."""
_DEFAULTS = SandboxSettings()
_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BLOCK_BYTES = 512
"""The unit of ``st_blocks``, whatever the file system."""
_INTERVAL_SECONDS = 0.25
_BACKEND_PROCESSES = 4
"""The most processes that a sandbox backend itself starts for a command."""


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a command and everything it starts may use. Sizes in bytes; ``memory`` is for all its processes together.

    ``temporary`` limits each folder for temporary files. ``spare_memory`` is the fraction of the machine's memory below
    which memory that belongs to no process counts against the command.
    """

    processes: int = _DEFAULTS.processes
    memory: int = _DEFAULTS.memory
    file_size: int = _DEFAULTS.file_size
    temporary: int = 2 * 1024**3
    open_files: int = 4096
    spare_memory: float = 0.25


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """The memory of the machine in bytes; all zero where ``/proc/meminfo`` is missing.

    ``unattributed`` is in use, but counts for no process: socket and pipe buffers, shared memory, ``tmpfs`` files,
    memory of the kernel.
    """

    total: int = 0
    available: int = 0
    unattributed: int = 0


def read_machine_memory() -> MachineMemory:
    """Return the current memory of the machine from ``/proc/meminfo``."""
    with suppress(OSError, ValueError, KeyError):
        lines = [line.split() for line in (_PROC / "meminfo").read_text("ascii").splitlines()]
        sizes = {line[0]: int(line[1]) * 1024 for line in lines}
        total, available = sizes["MemTotal:"], sizes["MemAvailable:"]
        return MachineMemory(total, available, total - available - sizes["AnonPages:"])
    return MachineMemory()


class ResourceMonitor:
    """Compares what one command uses with its limits, from its start on; finds nothing where ``/proc`` is missing."""

    def __init__(
        self,
        limits: ResourceLimits,
        read_memory: Callable[[], MachineMemory] = read_machine_memory,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._read_memory = read_memory
        self._now = now
        self._measured_at = now()
        self._least_unattributed = read_memory().unattributed

    def find_excess(self, process: int) -> str:
        """Return which limit ``process`` and its descendants exceed, "" for none or when the next check is not due."""
        now = self._now()
        if now - self._measured_at <= _INTERVAL_SECONDS:
            return ""
        self._measured_at = now
        limits, usage = self._limits, measure_usage(process, self._limits.processes + _BACKEND_PROCESSES)
        # RLIMIT_NPROC stops everyone but root, whom the kernel exempts.
        if usage.tasks > limits.processes + _BACKEND_PROCESSES:
            return f"it ran more than {limits.processes} processes at once"
        if usage.memory > limits.memory:
            return f"it used more than {_gibibytes(limits.memory)} of memory"
        # A command can fill pipes, sockets or /dev/shm, which no process shows. Whose they are cannot be told, so they
        # are a reason to stop this command only while the machine runs short.
        machine = self._read_memory()
        self._least_unattributed = min(self._least_unattributed, machine.unattributed)
        most = min(limits.memory, machine.total // 2)
        grown = machine.unattributed - self._least_unattributed
        if grown > most and machine.available < machine.total * limits.spare_memory:
            return f"more than {_gibibytes(most)} of memory is in use outside any process, and little is left"
        return ""


def _gibibytes(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Bytes of memory and number of tasks (processes and their threads, which the kernel counts alike)."""

    memory: int = 0
    tasks: int = 0


def measure_usage(process: int, max_tasks: int) -> ResourceUsage:
    """Return what a process and its descendants use; stop counting at more than ``max_tasks`` tasks.

    Memory that several of them map is counted for each, so the sum is an upper bound. An anonymous file (memfd) is
    memory whether it is mapped or not, and is counted once.
    """
    memory, tasks, anonymous_files, waiting = 0, 0, dict[int, int](), [process]
    while waiting and tasks <= max_tasks:
        folder = _PROC / str(waiting.pop())
        with suppress(OSError, ValueError, IndexError):
            memory += int((folder / "statm").read_bytes().split()[1]) * _PAGE_BYTES
            for task in (folder / "task").iterdir():
                tasks += 1
                waiting += [int(child) for child in (task / "children").read_bytes().split()]
            anonymous_files.update(_find_anonymous_files(folder))
    return ResourceUsage(memory + sum(anonymous_files.values()), tasks)


def _find_anonymous_files(process: Path) -> Iterator[tuple[int, int]]:
    """Yield inode and size in bytes of each memfd that a process holds open."""
    for handle in (process / "fd").iterdir():
        with suppress(OSError):
            if str(handle.readlink()).startswith("/memfd:"):
                status = handle.stat()
                yield status.st_ino, status.st_blocks * _BLOCK_BYTES
