"""The state of the live screen: the state of the run, and what only a screen needs (words as they stream, steps)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoroute.events import (
    ArtifactRejected,
    BaselineEnded,
    BaselineStarted,
    CanaryEnded,
    CanaryStarted,
    ConversationCompacted,
    Event,
    FilesLeftOut,
    GateDecided,
    GateReached,
    PhaseStarted,
    RecoveryDecided,
    RecoveryNeeded,
    RunResumed,
    RunStarted,
    SetupEnded,
    SubmodulesRestored,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnFailed,
    TurnStarted,
    TurnUpdate,
    VerifyEnded,
    VerifyStarted,
    WorkspaceCompared,
)
from autoroute.render.labels import describe_decision, describe_left_behind, describe_problem
from autoroute.routing import Phase, Route
from autoroute.state import RunState
from autoroute.text import join_first

Mark = Literal["pending", "active", "done", "failed"]

_MAX_STEPS = 8
_MAX_PATHS = 5
_CANARY = "canary"
_MAX_STREAMED_CHARACTERS = 2_000


@dataclass(slots=True)
class Step:
    """Something that was done: a tool call, a verify command, a decision. ``mark`` is ``…`` while it runs."""

    text: str
    mark: str = "…"
    call: str = ""
    """What the event of its end names it by, while it runs: the id of a tool call, or a verify command."""


@dataclass(slots=True)
class ViewModel:
    """What the live screen shows; times are on the clock that is passed in, in seconds."""

    run: RunState = field(default_factory=RunState)
    """The state of the run, from the events of this sitting."""
    words: str = ""
    """What the model writes, as it arrives."""
    thinking: bool = False
    """Whether ``words`` are thinking."""
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=_MAX_STEPS))
    started_at: float = 0.0
    waiting_until: float | None = None
    waiting_for: str = ""

    @property
    def title(self) -> str:
        """The title of the task."""
        return self.run.sitting.title if self.run.sitting else ""

    @property
    def routes(self) -> Mapping[Phase, Route]:
        """The primary route of each phase."""
        return self.run.routes

    @property
    def phase(self) -> Phase | None:
        """The phase that is worked on; None between phases."""
        position = self.run.position
        return position.phase if position.ended is None else None

    def route_name(self, phase: Phase) -> str:
        """Return the route of a phase, and what replaced it: ``anthropic/claude-opus-4-5 → zai/glm-4.7``."""
        primary = self.routes.get(phase)
        if primary is None:
            return ""
        serving = self.run.usage.serving.get(phase, primary)
        if serving.name != primary.name:
            return f"{primary.name} → {serving.name}"
        return primary.name if serving.account == primary.account else f"{primary.name} → account {serving.account}"

    def mark(self, phase: Phase) -> Mark:
        """Return how far a phase is."""
        if phase is self.phase:
            return "active"
        ended = next((event for event in reversed(self.run.history.phases) if event.phase is phase), None)
        if ended is not None:
            return "failed" if ended.outcome in ("failed", "rejected") else "done"
        # A run that resumes at a gate, or at a later phase, ended this one in an earlier sitting.
        gate = self.run.position.gate
        return "done" if phase in self._earlier_phases() or (gate and gate.phase is phase) else "pending"

    def seconds(self, phase: Phase) -> float | None:
        """Return how long a phase took in this sitting; None before it has ended."""
        took = [event.seconds for event in self.run.history.phases if event.phase is phase]
        return sum(took) if took else None

    def apply(self, event: Event, now: float) -> None:
        """Take an event into account."""
        self.run.apply(event)
        match event:
            case TurnUpdate():
                self._stream(event)
            case RunStarted() | RunResumed():
                self.started_at = now
            case PhaseStarted():
                self.words, self.waiting_until = "", None
                self.steps.clear()
            case TurnStarted():
                self.words, self.thinking, self.waiting_until = "", False, None
            case TurnEnded():
                self.words = event.reply.message.text or self.words
            case RecoveryNeeded():
                self.waiting_until = None
            case RecoveryDecided(action="wait", wait=float() as seconds):
                self.waiting_until, self.waiting_for = now + seconds, (event.to or event.route).name
            case ToolEnded():
                self._finish(event.call, passed=not event.is_error)
            case VerifyEnded():
                self._finish(event.command, passed=event.passed)
            case BaselineEnded():
                self._finish(event.command, passed=event.kind in ("fails", "passes"))
            case CanaryEnded():
                self._finish(_CANARY, passed=event.tested is not False)
        step = _step(event)
        if step is not None:
            self.steps.append(step)

    def _earlier_phases(self) -> list[Phase]:
        """Return the phases before the one that the run is at, or resumes at."""
        sitting = self.run.sitting
        current = self.run.position.phase or (sitting.phase if isinstance(sitting, RunResumed) else None)
        order = list(self.routes)
        return order[: order.index(current)] if current in order else []

    def _stream(self, event: TurnUpdate) -> None:
        if event.kind == "tool":
            return
        thinking = event.kind == "thinking"
        if thinking != self.thinking:
            self.words, self.thinking = "", thinking
        self.words = (self.words + event.text)[-_MAX_STREAMED_CHARACTERS:]

    def _finish(self, call: str, *, passed: bool) -> None:
        for step in self.steps:
            if step.call == call:
                step.mark, step.call = "✓" if passed else "✗", ""


def _step(event: Event) -> Step | None:
    """Return the step that an event shows; None where it shows none."""
    match event:
        case TurnFailed():
            then = "not retried" if event.retry_in is None else f"retrying in {event.retry_in:.0f} s"
            return Step(f"{event.route.provider}: {event.message}; {then}", "!")
        case RecoveryNeeded():
            return Step(describe_problem(event), "!")
        case RecoveryDecided():
            return Step(describe_decision(event), "→")
        case ConversationCompacted():
            tokens = f"{event.tokens_before} to {event.tokens_after} tokens"
            return Step(f"conversation compacted from {tokens}: {event.reason}", "→")
        case ToolStarted():
            return Step(event.summary, call=event.call)
        case ArtifactRejected():
            return Step(f"{event.artifact} rejected: {event.complaint}", "✗")
        case VerifyStarted():
            return Step(f"verify: {event.command}", call=event.command)
        case WorkspaceCompared() if event.left_behind:
            return Step(f"not in the commit, and removed: {describe_left_behind(event)}", "!")
        case BaselineStarted():
            return Step(f"baseline: {event.command}", call=event.command)
        case CanaryStarted():
            return Step("canary: verify commands with the change made unparsable", call=_CANARY)
        case SetupEnded():
            reused = f" (made by run {event.reused_from})" if event.reused_from else ""
            return Step(f"setup: {event.command}{reused}", "✓" if event.passed else "✗")
        case SubmodulesRestored():
            paths = join_first((*event.changed, *event.added), _MAX_PATHS)
            return Step(f"changes in submodules undone: {paths}", "!")
        case FilesLeftOut():
            return Step(f"left out of the commit, made by commands: {join_first(event.paths, _MAX_PATHS)}", "!")
        case GateReached():
            return Step(f"{event.artifact or 'the change'} waits for approval", "→")
        case GateDecided():
            words = f": {event.words}" if event.words else ""
            return Step(f"{event.decision}{words}", "✓" if event.decision == "approved" else "✗")
    return None
