from __future__ import annotations

import itertools
import os

import pytest

from autoroute.workspace.resource_limits import MachineMemory, ResourceMonitor, measure_usage, read_machine_memory
from autoroute.workspace.sandbox.confinement import ResourceLimits

GIB = 1 << 30


def verdict(*machine: MachineMemory, memory: int = 8 * GIB, spare: float = 0.25) -> list[str]:
    """What is said of a command that itself holds little, on a machine that is so at its start and at each look."""
    states, seconds = iter(machine), itertools.count()
    allowance = ResourceLimits(memory=memory, spare=spare)
    scales = ResourceMonitor(allowance, machine=lambda: next(states), now=lambda: float(next(seconds)))
    return [scales.excess(os.getpid()) for _ in machine[1:]]


def machine(unseen: int, available: int, total: int = 32) -> MachineMemory:
    return MachineMemory(total * GIB, available * GIB, unseen * GIB)


@pytest.mark.parametrize(
    ("states", "ends"),
    [
        ([machine(2, 28), machine(9, 7), machine(11, 5)], [False, True]),
        ([machine(2, 28), machine(11, 9)], [False]),  # there is enough left for all
        ([machine(2, 7), machine(3, 2)], [False]),  # others have taken it
        ([machine(12, 7), machine(2, 28), machine(11, 5)], [False, True]),  # what was held before is given back
        ([machine(1, 10, 12), machine(8, 2, 12)], [True]),  # half of a small machine is the bound
    ],
)
def test_memory_that_no_process_shows_is_bounded_where_the_machine_runs_short(
    states: list[MachineMemory], ends: list[bool]
) -> None:
    said = verdict(*states)
    assert [bool(words) for words in said] == ends
    assert all("went where no process shows it, and little is left" in words for words in said if words)


def test_nothing_is_looked_at_before_it_is_time() -> None:
    looks: list[MachineMemory] = [MachineMemory()]
    scales = ResourceMonitor(ResourceLimits(memory=0), machine=looks.pop, now=lambda: 0.0)
    assert scales.excess(os.getpid()) == ""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")  # noqa: PTH112
def test_the_machine_and_a_process_have_memory() -> None:
    found = read_machine_memory()
    assert 0 < found.available < found.total
    assert 0 < found.unseen < found.total
    held = measure_usage(os.getpid(), 1_000)
    assert (held.memory > 1 << 20, held.tasks >= 1) == (True, True)
