"""Which runs were made here: by a token that nobody else can know."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.store import RunRegistry


def test_a_run_is_known_by_its_token_alone(tmp_path: Path) -> None:
    registry = RunRegistry(tmp_path / "runs")
    token = registry.enter("r1")
    assert registry.knows("r1", token)
    assert registry.has("r1")
    assert not registry.has("r2")
    for name, other in (("r1", ""), ("r1", token[:-1]), ("r1", "\ud800"), ("r2", token), ("../runs/r2", token)):
        assert not registry.knows(name, other)


def test_tokens_differ_and_are_private(tmp_path: Path) -> None:
    registry = RunRegistry(tmp_path / "runs")
    assert registry.enter("r1") != registry.enter("r2")
    assert stat.S_IMODE((tmp_path / "runs/r1").stat().st_mode) == 0o600


def test_a_run_that_is_forgotten_is_not_known(tmp_path: Path) -> None:
    registry = RunRegistry(tmp_path)
    token = registry.enter("r1")
    registry.forget("r1")
    registry.forget("r1")
    assert not registry.knows("r1", token)


def test_an_empty_file_knows_nobody(tmp_path: Path) -> None:
    (tmp_path / "r1").touch()
    assert not RunRegistry(tmp_path).knows("r1", "")


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(WorkspaceError, match="runs"):
        RunRegistry(tmp_path / "runs").enter("r1")
