from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="the races take a kernel that exchanges two names in one step")
def test_nothing_gets_out_of_the_tree_and_no_other_byte_changes() -> None:
    command = [sys.executable, "benchmarks/reliability/files.py", "300", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for figures in ("0 read outside, 0 changed outside", "0 escaped", "0 changed another byte", "0 missed, 0 wrong"):
        assert figures in done.stdout
