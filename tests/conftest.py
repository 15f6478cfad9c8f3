from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "home/autoroute").mkdir(parents=True)
    (tmp_path / "repository").mkdir()
    return Desk(tmp_path)
