"""A small, seeded sample of what ``benchmarks/`` does in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_runs_that_are_killed_at_random_moments_come_to_the_same_end() -> None:
    command = [sys.executable, "benchmarks/kills.py", "6", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 ended approved with the same commits" in done.stdout


def test_hostile_git_configuration_runs_nothing() -> None:
    command = [sys.executable, "benchmarks/reliability/git.py", "4", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 vectors; plain git fires 4 of them" in done.stdout


def test_keys_are_nowhere_but_where_they_belong_and_the_bench_would_see_them() -> None:
    command = [sys.executable, "benchmarks/reliability/keys.py", "5", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "keys found outside the user's own config: 0; tracebacks: 0" in done.stdout
    assert "control without redaction: 1 of 1 runs show keys" in done.stdout
