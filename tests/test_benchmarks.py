"""A small, seeded sample of what ``benchmarks/`` does in full."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(name: str, *arguments: str) -> str:
    """Run a benchmark, check that it found no broken promise and a working control, and return its output."""
    command = [sys.executable, f"benchmarks/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_runs_killed_at_exact_points_come_to_the_same_end() -> None:
    assert re.search(r"came to the same end +5\n", run("reliability/kills", "5", "4"))


def test_runs_stopped_by_a_failing_disk_resume_to_the_same_end() -> None:
    assert "do not resume to the same end: 0" in run("reliability/faults", "9", "4")


def test_no_torn_journal_loses_a_record() -> None:
    assert "durable records lost, appends that did not survive: 0" in run("reliability/tails", "210", "4")


def test_hostile_git_configuration_runs_nothing() -> None:
    assert "4 vectors; plain git fires 4 of them" in run("reliability/git", "4", "2")


def test_keys_are_only_where_they_belong_and_the_control_finds_some() -> None:
    output = run("reliability/keys", "5", "1")
    assert "keys found outside the user's own config: 0; tracebacks: 0" in output
    assert "control without redaction: 1 of 1 runs show keys" in output
