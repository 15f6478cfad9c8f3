"""What the live screen knows: one value, brought up to date by each event."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from autoroute.events import (
    ArtifactRejected,
    ConversationCompacted,
    Event,
    GateDecided,
    GateReached,
    PhaseEnded,
    PhaseStarted,
    RecoveryDecided,
    RecoveryNeeded,
    RunResumed,
    RunStarted,
    SetupEnded,
    SubtaskEnded,
    SubtaskStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnFailed,
    TurnStarted,
    TurnUpdate,
    VerifyEnded,
    VerifyStarted,
)
from autoroute.messages import Usage
from autoroute.render.labels import deed, problem
from autoroute.routing import Phase, Route

_STEPS = 8
_WORDS = 2_000


@dataclass(slots=True)
class Step:
    """Something that was done: a tool call, a verify command, a decision. ``mark`` is ``…`` while it goes on."""

    text: str
    mark: str = "…"
    call: str = ""
    """What its end names it by, while it goes on: the id of a tool call, a verify command."""


@dataclass(slots=True)
class ViewModel:
    """The state of the screen; times are on the clock that is passed in."""

    title: str = ""
    routes: Mapping[Phase, Route] = field(default_factory=dict)
    serving: dict[Phase, Route] = field(default_factory=dict)
    """Who served a phase last; before it begins, nobody."""
    marks: dict[Phase, str] = field(default_factory=dict)
    seconds: dict[Phase, float] = field(default_factory=dict)
    phase: Phase | None = None
    round: int = 1
    subtask: str = ""
    words: str = ""
    thinking: bool = False
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=_STEPS))
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    turns: int = 0
    began: float = 0.0
    phase_began: float = 0.0
    waiting_until: float | None = None
    waiting_for: str = ""

    def name(self, phase: Phase) -> str:
        """The route of a phase, and the one that took its place: ``anthropic/claude-opus-4-5 → zai/glm-4.7``."""
        primary = self.routes.get(phase)
        if primary is None:
            return ""
        serving = self.serving.get(phase, primary)
        if serving.name != primary.name:
            return f"{primary.name} → {serving.name}"
        return primary.name if serving.account == primary.account else f"{primary.name} → account {serving.account}"

    def add(self, event: Event, now: float) -> None:
        """Take an event into account."""
        match event:
            case TurnUpdate():
                self._hear(event)
            case RunStarted():
                self.title, self.routes, self.began = event.title, event.routes, now
                self.marks = dict.fromkeys(event.routes, "pending")
            case RunResumed():
                self.title, self.routes, self.began = event.title, event.routes, now
                self.marks = dict.fromkeys(event.routes, "pending")
                # Of a later round too: what qa rejected goes back to coding, never further.
                self.marks.update(dict.fromkeys(takewhile(lambda phase: phase != event.phase, event.routes), "done"))
            case PhaseStarted():
                self._begin(event, now)
            case PhaseEnded():
                self.marks[event.phase] = "failed" if event.outcome in ("failed", "rejected") else "done"
                self.seconds[event.phase] = self.seconds.get(event.phase, 0.0) + event.seconds
                self.phase = None
            case TurnStarted():
                self.words, self.thinking, self.waiting_until = "", False, None
                self.serving[event.phase] = event.route
            case TurnEnded():
                self.turns += 1
                self.usage += event.reply.usage
                self.cost = None if self.cost is None or event.cost is None else self.cost + event.cost
                self.words = event.reply.message.text or self.words
            case TurnFailed():
                then = "giving up" if event.retry_in is None else f"again in {event.retry_in:.0f} s"
                self.steps.append(Step(f"{event.route.provider}: {event.message}; {then}", "!"))
            case RecoveryNeeded():
                self.waiting_until = None
                self.steps.append(Step(problem(event), "!"))
            case RecoveryDecided():
                self._decide(event, now)
            case ConversationCompacted():
                tokens = f"{event.tokens_before} to {event.tokens_after} tokens"
                self.steps.append(Step(f"conversation shortened from {tokens}: {event.reason}", "→"))
            case ToolStarted():
                self.steps.append(Step(event.summary, call=event.call))
            case ToolEnded():
                self._finish(event.call, passed=not event.is_error)
            case ArtifactRejected():
                self.steps.append(Step(f"{event.artifact} refused: {event.complaint}", "✗"))
            case SubtaskStarted():
                again = f", attempt {event.attempt}" if event.attempt > 1 else ""
                self.subtask = f"{event.subtask} ({event.number} of {event.total}{again}) {event.title}"
            case SubtaskEnded():
                self.subtask = ""
            case VerifyStarted():
                self.steps.append(Step(f"verify: {event.command}", call=event.command))
            case VerifyEnded():
                self._finish(event.command, passed=event.passed)
            case SetupEnded():
                self.steps.append(Step(f"set-up: {event.command}", "✓" if event.passed else "✗"))
            case GateReached():
                # Where a run is resumed at a gate, the phase ended in an earlier sitting.
                self.marks[event.phase] = "done"
                self.steps.append(Step(f"{event.artifact or 'the commits'} to be approved", "→"))
            case GateDecided():
                words = f": {event.words}" if event.words else ""
                self.steps.append(Step(f"{event.decision}{words}", "✓" if event.decision == "approved" else "✗"))

    def _begin(self, event: PhaseStarted, now: float) -> None:
        self.phase, self.round, self.phase_began = event.phase, event.round, now
        self.marks[event.phase], self.serving[event.phase] = "active", event.route
        self.subtask, self.words, self.waiting_until = "", "", None
        self.steps.clear()

    def _decide(self, event: RecoveryDecided, now: float) -> None:
        self.steps.append(Step(f"{event.by}: {deed(event)}", "→"))
        if event.action == "wait" and event.wait is not None:
            self.waiting_until, self.waiting_for = now + event.wait, (event.to or event.route).name
        elif event.to is not None:
            self.serving[event.phase] = event.to

    def _hear(self, event: TurnUpdate) -> None:
        if event.kind == "tool":
            return
        thinking = event.kind == "thinking"
        if thinking != self.thinking:
            self.words, self.thinking = "", thinking
        self.words = (self.words + event.text)[-_WORDS:]

    def _finish(self, call: str, *, passed: bool) -> None:
        for step in self.steps:
            if step.call == call:
                step.mark, step.call = "✓" if passed else "✗", ""
