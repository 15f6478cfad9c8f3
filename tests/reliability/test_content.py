"""A small, seeded sample of the benchmarks on hostile content; ``benchmarks/reliability/`` does them in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "bench",
    [("terminal.py", "60", "3"), ("streams.py", "60", "3"), ("parsers.py", "80", "3")],
    ids=lambda bench: bench[0],
)
def test_a_sample_of_a_benchmark_keeps_its_promises(bench: tuple[str, ...]) -> None:
    name, *arguments = bench
    command = [sys.executable, f"benchmarks/reliability/{name}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "control" in done.stdout
