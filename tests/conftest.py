from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.config.desk import Desk

# Who runs the tests may have told them to outlive a terminal (nohup); what they start is to end with it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "home/autoroute").mkdir(parents=True)
    (tmp_path / "repository").mkdir()
    return Desk(tmp_path)
