"""A small, seeded sample of what ``benchmarks/`` does in full."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(name: str, *arguments: str) -> str:
    """What a bench prints, when it found nothing that speaks against us and its control what speaks against others."""
    command = [sys.executable, f"benchmarks/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_runs_that_are_killed_at_exact_points_come_to_the_same_end() -> None:
    assert re.search(r"came to the same end +5\n", run("reliability/kills", "5", "4"))


def test_runs_that_a_failing_disk_stops_go_on_to_the_same_end() -> None:
    assert "do not go on to the same end: 0" in run("reliability/faults", "9", "4")


def test_no_torn_journal_loses_a_record() -> None:
    assert "durable records lost, appends that did not survive: 0" in run("reliability/tails", "210", "4")


def test_hostile_git_configuration_runs_nothing() -> None:
    assert "4 vectors; plain git fires 4 of them" in run("reliability/git", "4", "2")


def test_keys_are_nowhere_but_where_they_belong_and_the_bench_would_see_them() -> None:
    said = run("reliability/keys", "5", "1")
    assert "keys found outside the user's own config: 0; tracebacks: 0" in said
    assert "control without redaction: 1 of 1 runs show keys" in said
