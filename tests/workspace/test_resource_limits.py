from __future__ import annotations

import itertools
import os

import pytest

from autoroute.workspace.resource_limits import (
    MachineMemory,
    ResourceLimits,
    ResourceMonitor,
    measure_usage,
    read_machine_memory,
)

GIB = 1 << 30


def find_excesses(*machine: MachineMemory, memory: int = 8 * GIB, spare_memory: float = 0.25) -> list[str]:
    """Return what a monitor reports of a small command on a machine in these states: at its start, then at each check."""
    states, seconds = iter(machine), itertools.count()
    limits = ResourceLimits(memory=memory, spare_memory=spare_memory)
    monitor = ResourceMonitor(limits, read_memory=lambda: next(states), now=lambda: float(next(seconds)))
    return [monitor.find_excess(os.getpid()) for _ in machine[1:]]


def machine(unattributed: int, available: int, total: int = 32) -> MachineMemory:
    return MachineMemory(total * GIB, available * GIB, unattributed * GIB)


@pytest.mark.parametrize(
    ("states", "ends"),
    [
        ([machine(2, 28), machine(9, 7), machine(11, 5)], [False, True]),
        ([machine(2, 28), machine(11, 9)], [False]),  # the machine has enough left
        ([machine(2, 7), machine(3, 2)], [False]),  # other programs use it
        (
            [machine(12, 7), machine(2, 28), machine(11, 5)],
            [False, True],
        ),  # what was in use before the start was released
        ([machine(1, 10, 12), machine(8, 2, 12)], [True]),  # on a small machine the limit is half of it
    ],
)
def test_memory_outside_any_process_is_limited_while_the_machine_runs_short(
    states: list[MachineMemory], ends: list[bool]
) -> None:
    excesses = find_excesses(*states)
    assert [bool(words) for words in excesses] == ends
    assert all("is in use outside any process, and little is left" in words for words in excesses if words)


def test_nothing_is_measured_before_the_next_check_is_due() -> None:
    reads: list[MachineMemory] = [MachineMemory()]
    monitor = ResourceMonitor(ResourceLimits(memory=0), read_memory=reads.pop, now=lambda: 0.0)
    assert monitor.find_excess(os.getpid()) == ""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")  # noqa: PTH112
def test_the_memory_of_the_machine_and_of_a_process_is_measured() -> None:
    found = read_machine_memory()
    assert 0 < found.available < found.total
    assert 0 < found.unattributed < found.total
    usage = measure_usage(os.getpid(), 1_000)
    assert (usage.memory > 1 << 20, usage.tasks >= 1) == (True, True)
