"""``autoroute clean``: what runs left on this machine, said at their end, listed with sizes, deleted on request."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoroute.store import RunFolder
from tests.commands import scripts
from tests.commands.conftest import World

STOP = ("run", "task.md", "--plan", "sonnet", "--until", "planning")


def workspaces(world: World) -> list[Path]:
    return sorted(
        path for folder in ("state/autoroute/workspaces", "autoroute-work") for path in (world.home / folder).glob("*")
    )


@pytest.fixture
def stopped(world: World) -> World:
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*STOP)
    assert result.code == 13
    assert "workspace kept for resume: " in result.stderr
    assert "(autoroute clean deletes it)" in result.stderr
    assert len(workspaces(world)) == 1
    return world


def test_an_approved_run_leaves_nothing_to_clean(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*STOP[:4])
    assert result.code == 0
    assert "workspace kept" not in result.stderr
    assert world.autoroute("clean").stdout == "nothing to delete\n"


def test_clean_says_what_it_would_delete_and_deletes_it_on_request(stopped: World) -> None:
    run = stopped.run_folder().name
    listed = stopped.autoroute("clean", "--dry-run")
    assert listed.code == 0
    assert f"run {run} in {stopped.repository} can be resumed until this is deleted\n" in listed.stdout
    assert listed.stdout.endswith(" would be deleted\n")
    asked = stopped.autoroute("clean")
    assert (asked.code, "hint: autoroute clean --yes" in asked.stderr) == (2, True)
    assert len(workspaces(stopped)) == 1
    assert stopped.autoroute("clean", "--yes").stdout.splitlines()[-1].startswith("deleted ")
    assert workspaces(stopped) == []
    assert stopped.run_folder().name == run


def test_a_running_run_keeps_its_workspace(stopped: World) -> None:
    with RunFolder.open(stopped.repository, "latest").lock("a test"):
        result = stopped.autoroute("clean", "--yes")
    assert "is running: kept\nnothing to delete\n" in result.stdout
    assert len(workspaces(stopped)) == 1


@pytest.mark.parametrize("gone", ["repository", "run", "owner"])
def test_a_workspace_whose_run_is_gone_is_deleted(stopped: World, gone: str) -> None:
    if gone == "owner":
        (workspaces(stopped)[0] / "owner.json").unlink()
    shutil.rmtree(stopped.run_folder() if gone == "run" else stopped.repository / ".autoroute")
    assert "or its repository is gone" in stopped.autoroute("clean", "--dry-run", cwd=stopped.home).stdout
    assert stopped.autoroute("clean", "--yes", cwd=stopped.home).code == 0
    assert workspaces(stopped) == []
