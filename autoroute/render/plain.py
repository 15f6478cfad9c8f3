"""``--format plain``: one line for each event on standard error, without color; the result on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from autoroute.error_phrases import ERRORS
from autoroute.events import (
    ArtifactAccepted,
    ArtifactRejected,
    BaselineEnded,
    BaselineStarted,
    CanaryEnded,
    CanaryStarted,
    Committed,
    ConversationCompacted,
    Event,
    FilesLeftOut,
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
    SubmodulesRestored,
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
    WorkspaceCompared,
)
from autoroute.render.clean import clean, clean_line
from autoroute.render.labels import (
    KINDS,
    describe_canary,
    describe_decision,
    describe_left_behind,
    describe_option,
    describe_problem,
    describe_reset,
)
from autoroute.render.result import print_result
from autoroute.routing import Phase, Route
from autoroute.state import RunState
from autoroute.text import join_first

_MAX_LINE_CHARACTERS = 160
_MAX_MESSAGE_CHARACTERS = 400
_MAX_PROBLEM_CHARACTERS = 800
_MAX_OUTPUT_LINES = 12
_MAX_PATHS = 5


class Plain:
    """Writes one line for each event."""

    def __init__(self, stdout: TextIO, stderr: TextIO, now: Callable[[], datetime]) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._now = now
        self._run = RunState()

    def show(self, event: Event) -> None:
        """Write the lines of an event; the last event prints the result too."""
        self._run.apply(event)
        now = self._now()
        lines = event_lines(event, now)
        if lines:
            head = f"{now:%H:%M:%S} {self._run.position.phase or '':<9}"
            self._stderr.write("".join(f"{head} {line}\n" for line in lines))
            self._stderr.flush()
        if isinstance(event, RunEnded):
            print_result(self._run, self._stdout)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do nothing: lines do not get in the way of a question."""
        yield

    def __enter__(self) -> Plain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: there is nothing to restore."""


def event_lines(event: Event, now: datetime) -> list[str]:
    """Return the lines of an event; ``now`` is what waits count from. Events without news for people have none."""
    match event:
        case RunStarted():
            base = event.base[:12] or "an empty repository"
            return [_line(f"run {event.run}: {event.title}"), _line(f"base {base}; {_routes(event.routes)}")]
        case RunResumed():
            again = f", round {event.round}" if event.round > 1 else ""
            place = f"resumes at {event.phase.value}{again}; {_routes(event.routes)}"
            return [_line(f"run {event.run}: {event.title}"), _line(place)]
        case Notice():
            return [
                _line(f"{'warning' if event.level == 'warning' else 'note'}: {event.text}", _MAX_MESSAGE_CHARACTERS)
            ]
        case PhaseStarted():
            again = f", round {event.round}" if event.round > 1 else ""
            return [_line(f"started on {event.route.name}{again}")]
        case PhaseEnded():
            return [f"{event.outcome} after {event.seconds:.1f} s"]
        case TurnFailed():
            code = " ".join(str(part) for part in (event.status, event.code) if part)
            then = "not retried" if event.retry_in is None else f"retrying in {event.retry_in:.1f} s"
            error = f"{ERRORS.get(event.error, event.error)}{f' ({code})' if code else ''}"
            failure = f"{event.route.name}: {error}: {event.message}; attempt {event.attempt} failed, {then}"
            return [_line(failure, _MAX_MESSAGE_CHARACTERS)]
        case RecoveryNeeded():
            return _problem_lines(event, now)
        case RecoveryDecided():
            return [_line(describe_decision(event), _MAX_MESSAGE_CHARACTERS)]
        case ConversationCompacted():
            tokens = f"{event.tokens_before} to {event.tokens_after} tokens"
            return [_line(f"conversation compacted from {tokens}: {event.reason}", _MAX_MESSAGE_CHARACTERS)]
        case TurnEnded():
            text = event.reply.message.text
            return [_line(text)] if text else []
        case ToolStarted():
            return [_line(f"  {event.summary}")]
        case ToolEnded() if event.is_error:
            return [_line(f"  {event.name} failed: {event.text}")]
        case ArtifactAccepted():
            return [f"{event.artifact} accepted"]
        case ArtifactRejected():
            return [
                _line(
                    f"{event.artifact} rejected (attempt {event.attempt}): {event.complaint}", _MAX_MESSAGE_CHARACTERS
                )
            ]
        case SubtaskStarted():
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            return [_line(f"subtask {event.subtask} ({event.number} of {event.total}){again}: {event.title}")]
        case SubtaskEnded():
            return [] if event.passed else [_line(f"subtask {event.subtask} failed")]
        case WorkspaceCompared():
            left = describe_left_behind(event)
            return [_line(f"not in the commit, and removed: {left}", _MAX_MESSAGE_CHARACTERS)] if left else []
        case VerifyEnded():
            return _command_lines("verify", event)
        case BaselineEnded():
            return _baseline_lines(event)
        case CanaryEnded():
            return [_line(f"canary: {describe_canary(event)}", _MAX_MESSAGE_CHARACTERS)]
        case SetupEnded():
            return _command_lines("setup", event)
        case SubmodulesRestored():
            paths = join_first((*event.changed, *event.added), _MAX_PATHS)
            return [_line(f"warning: changes in submodules undone: {paths}", _MAX_MESSAGE_CHARACTERS)]
        case FilesLeftOut():
            paths = join_first(event.paths, _MAX_PATHS)
            return [_line(f"left out of the commit, made by commands: {paths}", _MAX_MESSAGE_CHARACTERS)]
        case Committed():
            return [_line(f"commit {event.commit[:12]} {event.subject}")]
        case Published():
            return [_line(f"published {event.commits} commit{'' if event.commits == 1 else 's'} on {event.branch}")]
        case GateReached():
            return [f"gate: {event.artifact or 'the change'} waits for approval"]
        case GateDecided():
            words = f": {event.words}" if event.words else ""
            return [_line(f"gate: {event.decision}{words}", _MAX_MESSAGE_CHARACTERS)]
        case RunEnded():
            return _ending_lines(event)
        case PromptSent() | TurnStarted() | TurnUpdate() | ToolEnded() | VerifyStarted():
            return []
        case BaselineStarted() | CanaryStarted():
            return []


def _routes(routes: Mapping[Phase, Route]) -> str:
    return ", ".join(f"{phase.value} {route.name}" for phase, route in routes.items())


def _problem_lines(event: RecoveryNeeded, now: datetime) -> list[str]:
    now = now.astimezone(UTC)
    request = f"request {event.request_id}" if event.request_id else ""
    facts = ", ".join(str(part) for part in (event.status, event.code, request) if part)
    code = f" ({facts})" if facts else ""
    options = [
        describe_option(option, event.route, now, UTC)
        + (" (default)" if index == event.default else "")
        + (f" (not automatic: {option.refused})" if option.refused else "")
        for index, option in enumerate(event.options)
    ]
    when = describe_reset(event, now, UTC)
    return [
        _line(f"{describe_problem(event)}{code}{f'; {when}' if when else ''}", _MAX_PROBLEM_CHARACTERS),
        _line(f"options: {'; '.join(options)}", _MAX_PROBLEM_CHARACTERS),
    ]


def _command_lines(what: str, event: VerifyEnded | SetupEnded) -> list[str]:
    if isinstance(event, SetupEnded) and event.reused_from:
        return [_line(f"{what} reused, made by run {event.reused_from}: {event.command}")]
    if event.passed:
        known = len(event.known_failures) if isinstance(event, VerifyEnded) else 0
        but = f", {known} known failure{'s' if known > 1 else ''}" if known else ""
        return [_line(f"{what} passed ({event.seconds:.1f} s{but}): {event.command}")]
    ending = "timed out" if event.exit_code is None else f"exit code {event.exit_code}"
    tail = clean(event.output).splitlines()[-_MAX_OUTPUT_LINES:]
    return [
        _line(f"{what} FAILED ({ending}): {event.command}"),
        *(f"  | {line[:_MAX_LINE_CHARACTERS]}" for line in tail),
    ]


def _baseline_lines(event: BaselineEnded) -> list[str]:
    lines = [_line(f"baseline: {KINDS[event.kind]} ({event.seconds:.1f} s): {event.command}")]
    return [*lines, _line(f"  {event.reason}", _MAX_MESSAGE_CHARACTERS)] if event.reason else lines


def _ending_lines(event: RunEnded) -> list[str]:
    lines = [f"  {line}" if number else line for number, line in enumerate(clean(event.message).splitlines())]
    ending = [f"{event.outcome} after {event.seconds:.1f} s, exit code {event.exit_code}: {(lines or [''])[0]}"]
    hint = [f"hint: {clean(event.hint)}"] if event.hint else []
    resume = [f"resume: {clean(event.resume)}"] if event.resume else []
    return [*ending, *lines[1:], *hint, *resume]


def _line(text: str, limit: int = _MAX_LINE_CHARACTERS) -> str:
    """Return the text as one clean line, with the indentation that it began with."""
    indentation = text[: len(text) - len(text.lstrip(" "))]
    return indentation + clean_line(text, limit)


def open_renderer(stdout: TextIO, stderr: TextIO, _deltas: bool) -> Plain:
    """See ``FORMATS``."""
    return Plain(stdout, stderr, lambda: datetime.now().astimezone())
