"""``--format plain``: a line an event on standard error, stable and without color; the result on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from autoroute.events import (
    ArtifactAccepted,
    ArtifactRejected,
    Committed,
    ConversationCompacted,
    Event,
    GateDecided,
    GateReached,
    Notice,
    PhaseEnded,
    PhaseStarted,
    PromptSent,
    Published,
    RecoveryDecided,
    RecoveryNeeded,
    RunEnded,
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
from autoroute.render.clean import clean, clean_line
from autoroute.render.labels import deed, problem, reset, way_out
from autoroute.render.result import Result
from autoroute.routing import Phase, Route

_WIDTH = 160
_OUTPUT_LINES = 12


class Plain:
    """A line an event."""

    def __init__(self, stdout: TextIO, stderr: TextIO, now: Callable[[], datetime]) -> None:
        self._result = Result(stdout)
        self._stderr = stderr
        self._now = now
        self._phase = ""

    def show(self, event: Event) -> None:
        """Write the lines of an event: none for those that only pass by."""
        if isinstance(event, PhaseStarted):
            self._phase = event.phase.value
        now = self._now()
        lines = lines_of(event, now)
        if lines:
            head = f"{now:%H:%M:%S} {self._phase:<9}"
            self._stderr.write("".join(f"{head} {line}\n" for line in lines))
            self._stderr.flush()
        self._result.add(event)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Lines do not get in the way."""
        yield

    def __enter__(self) -> Plain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to restore."""


def lines_of(event: Event, now: datetime) -> list[str]:
    """The lines that an event is worth, at this time of day."""
    match event:
        case RunStarted():
            base = event.base[:12] or "an empty repository"
            return [_one(f"run {event.run}: {event.title}"), _one(f"from {base}, {_routes(event.routes)}")]
        case RunResumed():
            again = f", round {event.round}" if event.round > 1 else ""
            place = f"goes on with {event.phase.value}{again}, {_routes(event.routes)}"
            return [_one(f"run {event.run}: {event.title}"), _one(place)]
        case Notice():
            return [_one(f"{'warning' if event.level == 'warning' else 'note'}: {event.text}", 400)]
        case PhaseStarted():
            again = f", round {event.round}" if event.round > 1 else ""
            return [_one(f"begins on {event.route.name}{again}")]
        case PhaseEnded():
            return [f"{event.outcome} after {event.seconds:.1f} s"]
        case TurnFailed():
            code = " ".join(str(part) for part in (event.status, event.code) if part)
            then = "giving up" if event.retry_in is None else f"again in {event.retry_in:.1f} s"
            failure = f"{event.route.name}: {event.error}{f' ({code})' if code else ''}: {event.message}"
            return [_one(f"{failure}; attempt {event.attempt}, {then}", 400)]
        case RecoveryNeeded():
            return _blocked(event, now)
        case RecoveryDecided():
            return [_one(f"{event.by}: {deed(event)}", 400)]
        case ConversationCompacted():
            tokens = f"{event.tokens_before} to {event.tokens_after} tokens"
            return [_one(f"conversation shortened from {tokens}: {event.reason}", 400)]
        case TurnEnded():
            said = event.reply.message.text
            return [_one(said)] if said else []
        case ToolStarted():
            return [_one(f"  {event.summary}")]
        case ToolEnded() if event.is_error:
            return [_one(f"  {event.name} failed: {event.text}")]
        case ArtifactAccepted():
            return [f"{event.artifact} accepted"]
        case ArtifactRejected():
            return [_one(f"{event.artifact} refused ({event.attempt}): {event.complaint}", 400)]
        case SubtaskStarted():
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            return [_one(f"subtask {event.subtask} ({event.number} of {event.total}){again}: {event.title}")]
        case SubtaskEnded():
            return [] if event.passed else [_one(f"subtask {event.subtask} is stuck")]
        case VerifyEnded():
            return _ran("verify", event)
        case SetupEnded():
            return _ran("set-up", event)
        case Committed():
            return [_one(f"commit {event.commit[:12]} {event.subject}")]
        case Published():
            return [_one(f"{event.commits} commit{'' if event.commits == 1 else 's'} on {event.branch}")]
        case GateReached():
            return [f"gate: {event.artifact or 'the commits'} to be approved"]
        case GateDecided():
            return [_one(f"gate: {event.decision}{f': {event.words}' if event.words else ''}", 400)]
        case RunEnded():
            return _ended(event)
        case PromptSent() | TurnStarted() | TurnUpdate() | ToolEnded() | VerifyStarted():
            return []


def _routes(routes: Mapping[Phase, Route]) -> str:
    return ", ".join(f"{phase.value} {route.name}" for phase, route in routes.items())


def _blocked(event: RecoveryNeeded, now: datetime) -> list[str]:
    now = now.astimezone(UTC)
    request = f"request {event.request_id}" if event.request_id else ""
    facts = ", ".join(str(part) for part in (event.status, event.code, request) if part)
    code = f" ({facts})" if facts else ""
    ways = [
        way_out(option, event.route, now, UTC)
        + (" (the default)" if place == event.default else "")
        + (f" (not by itself: {option.refused})" if option.refused else "")
        for place, option in enumerate(event.options)
    ]
    when = reset(event, now, UTC)
    return [
        _one(f"{problem(event)}{code}{f'; {when}' if when else ''}", 800),
        _one(f"ways out: {'; '.join(ways)}", 800),
    ]


def _ran(what: str, event: VerifyEnded | SetupEnded) -> list[str]:
    if event.passed:
        return [_one(f"{what} passed ({event.seconds:.1f} s): {event.command}")]
    ending = "out of time" if event.exit_code is None else f"exit code {event.exit_code}"
    tail = clean(event.output).splitlines()[-_OUTPUT_LINES:]
    return [_one(f"{what} FAILED ({ending}): {event.command}"), *(f"  | {line[:_WIDTH]}" for line in tail)]


def _ended(event: RunEnded) -> list[str]:
    lines = [f"  {line}" if number else line for number, line in enumerate(clean(event.message).splitlines())]
    ending = [f"{event.outcome} after {event.seconds:.1f} s, exit code {event.exit_code}: {(lines or [''])[0]}"]
    hint = [f"hint: {clean(event.hint)}"] if event.hint else []
    resume = [f"resume: {clean(event.resume)}"] if event.resume else []
    return [*ending, *lines[1:], *hint, *resume]


def _one(text: str, limit: int = _WIDTH) -> str:
    """One clean line, with the indentation it began with."""
    indentation = text[: len(text) - len(text.lstrip(" "))]
    return indentation + clean_line(text, limit)


def open_renderer(stdout: TextIO, stderr: TextIO, _deltas: bool) -> Plain:
    """See ``FORMATS``."""
    return Plain(stdout, stderr, lambda: datetime.now().astimezone())
