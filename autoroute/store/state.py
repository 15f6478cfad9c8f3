"""Where a run stands, as one pure fold over events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from autoroute.events import Event, PhaseStarted, Published, RunEnded, RunResumed, RunStarted


@dataclass(slots=True)
class State:
    """What ``run.json`` and listings say. ``outcome`` is "" until the run has ended."""

    run: str = ""
    title: str = ""
    repository: str = ""
    base: str = ""
    branch: str = ""
    commits: int = 0
    phase: str = ""
    outcome: str = ""
    exit_code: int | None = None
    message: str = ""
    hint: str = ""
    routes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> State:
        """The state after these events."""
        state = cls()
        for event in events:
            state.add(event)
        return state

    def add(self, event: Event) -> None:
        """Take one event into account."""
        match event:
            case RunStarted():
                self.run, self.title, self.repository = event.run, event.title, event.repository
                self.base, self.branch = event.base, event.branch
                self.routes = {phase.value: route.name for phase, route in event.routes.items()}
            case RunResumed():
                self.outcome, self.exit_code, self.message, self.hint = "", None, "", ""
                self.routes = {phase.value: route.name for phase, route in event.routes.items()}
            case PhaseStarted():
                self.phase = event.phase.value
            case Published():
                self.commits = event.commits
            case RunEnded():
                self.outcome, self.exit_code = event.outcome, event.exit_code
                self.message, self.hint = event.message, event.hint

    def as_json(self) -> dict[str, Any]:
        """The state as JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}
