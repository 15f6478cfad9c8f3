"""The time that a sandbox adds to a command: ``true`` with the user's rights, and in each backend of this machine.

python benchmarks/sandbox.py [COUNT]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.sandbox.backends import BACKENDS, try_backends
from autoroute.workspace.sandbox.confinement import Confinement
from autoroute.workspace.sandbox.toolchains import find_toolchains


def main(count: int) -> None:
    """Time ``count`` commands of each kind, in turns, so that noise of the machine affects all kinds alike."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place, "run/tree")
        tree.mkdir(parents=True)
        toolchains = find_toolchains(os.environ)
        confinement = Confinement(PathPolicy(tree), toolchains.folders)
        kinds = {"none": LocalCommands(os.environ)}
        for backend in BACKENDS:
            (candidate,) = try_backends(backend.name, confinement, toolchains.variables)
            if candidate.sandbox is None:
                print(f"{backend.name:<12} not run: {candidate.reason}")
            else:
                kinds[backend.name] = LocalCommands(os.environ, sandbox=candidate.sandbox)
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(count):
            for name, commands in kinds.items():
                started = time.perf_counter()
                result = commands.run("true", timeout=60, cwd=tree, log=Path(place, "log"))
                seconds[name].append(time.perf_counter() - started)
                assert result.passed, result.output
    floor = statistics.median(seconds["none"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:<12} {median * 1000:6.1f} ms a command, {median / floor:5.2f} x none ({count} each)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
