"""A run ends with an event that says how, whatever the machine does to it."""

from __future__ import annotations

import errno
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autoroute.engine.context import RunContext, SittingOptions
from autoroute.engine.pipeline import run
from autoroute.errors import Cancelled
from autoroute.events import ArtifactAccepted, Event, PhaseEnded, PhaseStarted, Published, RunEnded
from autoroute.routing import Phase, Route
from autoroute.wire import Model
from autoroute.workspace import Publication
from tests.engine.doubles import ROUTE, Providers, TestClock, Workspace, run_context
from tests.store.examples import RUN, SPEC

RESUME = "autoroute resume r1"
SPECIFIED = (
    RUN[0],
    PhaseStarted(phase=Phase.SPEC, round=1, route=ROUTE),
    ArtifactAccepted(phase=Phase.SPEC, round=1, artifact="spec", content=SPEC),
    PhaseEnded(phase=Phase.SPEC, round=1, outcome="done", seconds=1.0),
)


@dataclass
class Failing(Workspace, Providers):
    """A workspace and providers at once; one deed of theirs fails with an error of the system."""

    deed: str = ""
    number: int = errno.ENOSPC

    def _do(self, deed: str) -> None:
        if deed == self.deed:
            raise OSError(self.number, "it fails", deed)

    def open(self, tip: str = "", *, needed: bool = False) -> None:
        self._do("open")

    def connect(self, route: Route, root: Path = Path()) -> Model:
        self._do("connect")
        return super().connect(route, root)

    def publish(self, patch: Path, tip: str | None = None) -> Publication:
        self._do("deliver")
        return Publication("autoroute/r1", "c" * 40, 1)


def context(world: Failing, until: Phase | None = None) -> RunContext:
    return run_context(world, TestClock(), workspace=world, options=SittingOptions(until=until))


@pytest.mark.parametrize(
    ("deed", "past", "until"), [("open", (), None), ("connect", (), None), ("deliver", SPECIFIED, Phase.SPEC)]
)
def test_a_full_disk_ends_a_run_with_its_last_event_and_the_way_on(
    deed: str, past: Sequence[Event], until: Phase | None
) -> None:
    events = list(run(context(Failing({}, deed=deed), until), past))
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert (last.outcome, last.exit_code, last.message) == ("failed", 73, f"{deed}: it fails")
    assert RESUME in last.resume
    begun = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert [event.phase for event in events if isinstance(event, PhaseEnded)] == begun


@pytest.mark.parametrize("deed", ["open", "connect"])
def test_an_error_that_no_machine_lacks_anything_for_is_no_ending(deed: str) -> None:
    with pytest.raises(FileNotFoundError):
        list(run(context(Failing({}, deed=deed, number=errno.ENOENT))))


def test_a_cancellation_at_the_delivery_ends_the_run_with_an_event() -> None:
    events: Generator[Event, Any, None] = run(context(Failing({}), Phase.SPEC), SPECIFIED)
    assert any(isinstance(event, Published) for event in events)
    last = events.throw(Cancelled("stopped by SIGINT"))
    assert isinstance(last, RunEnded)
    assert (last.outcome, last.exit_code) == ("cancelled", 130)
