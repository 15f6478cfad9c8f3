from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.config.desk import Desk

# The tests may run under nohup, which ignores SIGHUP. The processes that they start must end with their terminal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The time of an example depends on the load of the machine, so a slow one does not fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "home/autoroute").mkdir(parents=True)
    (tmp_path / "repository").mkdir()
    return Desk(tmp_path)
