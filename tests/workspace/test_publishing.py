"""One run at a time publishes its commits, and waiting for another one ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.workspace.publishing import publish_lock


def test_waiting_for_a_suspended_run_times_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(WorkspaceError, match="another run") as raised, publish_lock(path, 0.1):
        pass
    assert "Ctrl-Z" in raised.value.hint
    os.close(other)
    with publish_lock(path, 0.1):
        pass
