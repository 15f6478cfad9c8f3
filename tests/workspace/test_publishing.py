"""One run at a time publishes its commits, and waiting for another one ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.workspace.publishing import publish_lock


def test_waiting_for_a_suspended_run_times_out(tmp_path: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(WorkspaceError, match="another run") as raised, publish_lock(tmp_path, 0.1):
        pass
    assert "Ctrl-Z" in raised.value.hint
    os.close(other)
    with publish_lock(tmp_path, 0.1):
        pass
