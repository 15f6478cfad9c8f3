"""Runs that earlier versions left are taken up by this one, or refused in words."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoroute.events import RunEnded
from autoroute.store.journal import Reader, read_events
from tests.commands import scripts
from tests.commands.conftest import World, make_world
from tests.store.golden.record import CODE, STATES, rehome

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if (path / "approved.tar.gz").is_file())
FLAGS = {"waiting": ("--approve",)}


@pytest.fixture
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The world that a version left in a state."""
    version, state = request.param
    made = make_world(tmp_path)
    shutil.rmtree(made.home)
    shutil.rmtree(made.repository)
    rehome(GOLDEN / version / f"{state}.tar.gz", tmp_path)
    with made.stack:
        yield made


ALL = [(version, state) for version in VERSIONS for state in STATES]


def test_there_are_golden_runs() -> None:
    assert VERSIONS


@pytest.mark.parametrize(("left", "state"), [(one, one[1]) for one in ALL], indirect=["left"], ids=map("-".join, ALL))
def test_a_run_that_a_version_left_goes_on_to_its_end(left: World, state: str) -> None:
    script = scripts.rules(code=CODE) if state == "killed" else scripts.rules()
    server = left.provide("anthropic", script)
    before = left.fingerprint()
    journal = left.run_folder() / "events.jsonl"
    reader = Reader(journal)
    on_record = list(reader)
    assert reader.good == journal.stat().st_size
    result = left.autoroute("resume", *FLAGS.get(state, ()))
    assert result.code == 0, result.stderr
    events = read_events(journal)
    assert events[: len(on_record)] == on_record
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert last.outcome == "approved"
    assert left.git("log", "--format=%s", f"main..autoroute/{left.run_folder().name}") == "Write the greeting"
    assert left.fingerprint() == before
    assert left.autoroute("show").code == 0
    if state == "approved":
        assert "nothing is left to do" in result.stdout
        assert server.turns == []
