"""A few of the stories in which a model obeys an attacker through a whole run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_model_that_obeys_an_attacker_costs_the_user_nothing() -> None:
    command = [sys.executable, "benchmarks/reliability/stories.py", "3", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 stories, seed 1" in done.stdout
