"""The events of a run, as values: the engine yields them, the store records them, renderers show them.

Every event is a frozen dataclass with a ``type``, a number ``seq`` and a time ``at``. The journal sets the last two
when it records the event. ``to_json`` and ``decode`` are the JSON form, one flat object::

    {"schema":1,"seq":12,"time":"2026-11-23T08:15:30.123Z","type":"turn_started",...}

It is a line of ``events.jsonl`` (which ends with a checksum) and of ``--format jsonl``: a public contract. A version
that only adds fields keeps the number of the schema, and readers ignore fields that they do not know. Any other change
takes the next number, which older readers refuse. Durations are seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from autoroute.errors import Limit
from autoroute.json_form import DIALECT, schema_of, to_data
from autoroute.messages import Reply
from autoroute.routing import Phase, Route

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1
"""Number of the JSON form of events. It changes when a reader of the old form would misread the new one."""


class NewerSchema(ValueError):
    """An event in the JSON form of a newer autoroute, which this one cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every event carries. The journal sets it when it records the event; until then both fields are None."""

    seq: int | None = None
    """Position in the journal, from 1. None for an event that is shown and never recorded."""
    at: datetime | None = None
    """When the event was recorded: wall-clock time in UTC, in whole milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Envelope):
    """A run begins: its folder exists, its routes and its base are decided."""

    run: str
    title: str
    task: str
    token: str = ""
    """Secret that this machine gave the run: ``resume`` refuses a journal without it."""
    repository: str
    base: str
    """Commit that the work starts from; "" in an empty repository."""
    branch: str
    routes: Mapping[Phase, Route]
    version: str
    prices: str = ""
    """The price tables that costs are computed with."""
    source: str = ""
    """The file or folder that the task was read from; "" for standard input."""
    base_ref: str = ""
    """What ``--base`` named."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The task's own settings (its front matter)."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """The flags of the command line, as a layer of settings."""
    include_dirty: bool = False
    sandbox: str = ""
    """What confines model commands, for people: ``bubblewrap, network off``."""
    type: Literal["run_started"] = "run_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Envelope):
    """A stopped run continues, perhaps on other routes."""

    run: str
    title: str
    phase: Phase
    """The phase that it continues with."""
    round: int
    routes: Mapping[Phase, Route]
    version: str
    prices: str = ""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """Those of all sittings so far, the later ones over the earlier."""
    sandbox: str = ""
    type: Literal["run_resumed"] = "run_resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Envelope):
    """Something the user should know; nothing depends on it."""

    level: Literal["info", "warning"]
    text: str
    type: Literal["notice"] = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted(Envelope):
    """A phase begins on a route. ``round`` counts from 1 and grows when qa rejects."""

    phase: Phase
    round: int
    route: Route
    system_sha256: str = ""
    """SHA-256 of the system prompt (UTF-8), in hexadecimal. With ``tools_sha256``, a replay can tell what changed."""
    tools_sha256: str = ""
    """SHA-256 of the specs of the phase's tools, see ``tools.digest_specs``."""
    type: Literal["phase_started"] = "phase_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded(Envelope):
    """A phase is over; ``outcome`` is ``done``, ``approved``, ``rejected`` or ``failed``."""

    phase: Phase
    round: int
    outcome: Literal["done", "approved", "rejected", "failed"]
    seconds: float
    type: Literal["phase_ended"] = "phase_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSent(Envelope):
    """What we say to the model: the ask that opens a conversation, or a correction within it."""

    phase: Phase
    text: str
    opens: bool
    type: Literal["prompt_sent"] = "prompt_sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Envelope):
    """A request goes out. ``turn`` counts through the run, ``attempt`` from 1 within the turn."""

    phase: Phase
    turn: int
    route: Route
    attempt: int
    request_sha256: str = ""
    """SHA-256 of the request's body, in hexadecimal: what is sent, for replay. "" in runs of older versions.

    A model that is asked through the vendor's own program gets the digest of the request's own JSON instead.
    """
    type: Literal["turn_started"] = "turn_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnUpdate(Envelope):
    """A piece of the reply, to watch. Transient: it is shown, never stored."""

    phase: Phase
    turn: int
    kind: Literal["text", "thinking", "tool"]
    text: str
    type: Literal["turn_update"] = "turn_update"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(Envelope):
    """A request failed. ``retry_in`` is the wait before the next attempt, None when there is none."""

    phase: Phase
    turn: int
    route: Route
    attempt: int
    error: str
    """Name of the error class."""
    message: str
    status: int | None
    code: str
    request_id: str
    retry_in: float | None
    type: Literal["turn_failed"] = "turn_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(Envelope):
    """The complete reply, stored before any of its tools runs."""

    phase: Phase
    turn: int
    route: Route
    reply: Reply
    seconds: float
    cost: float | None = None
    """USD; None when the price is not known."""
    usable: bool = True
    """False for a reply that was paid for but stays out of the conversation: a refusal, another model's."""
    type: Literal["turn_ended"] = "turn_ended"


Outcome = Literal["approved", "rejected", "waiting", "limited", "cancelled", "failed"]
"""How a sitting of a run ended."""

Action = Literal["wait", "switch", "fallback", "stop"]
"""What can be done about a problem: wait, switch account, use the phase's next route, stop resumably."""

ActionTaken = Action | Literal["park"]
"""What was done about a problem. ``park`` ends the run as limited instead of waiting in the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that can be done about a problem."""

    action: Action
    route: Route | None = None
    """The route that would continue; None for stop."""
    wait: float | None = None
    """Seconds before that, for wait."""
    note: str = ""
    """What it does and costs, in a line for people."""
    refused: str = ""
    """Why the policy must not take it; a person may still choose it. "" when the policy may take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryNeeded(Envelope):
    """A phase cannot continue: a provider's error that retries did not resolve, and the options."""

    phase: Phase
    turn: int
    route: Route
    error: str
    """Name of the error class."""
    message: str
    """In the provider's own words."""
    status: int | None
    code: str
    request_id: str
    limit: Limit
    retry_at: datetime | None
    """When it may pass, UTC."""
    hint: str
    options: tuple[Option, ...]
    """In the order of preference; the last one is always stop."""
    default: int
    """Index in ``options`` of the one that the policy takes."""
    type: Literal["recovery_needed"] = "recovery_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryDecided(Envelope):
    """What was done about the ``RecoveryNeeded`` before it, and who decided that."""

    phase: Phase
    turn: int
    route: Route
    """The one that was blocked."""
    error: str
    action: ActionTaken
    to: Route | None
    wait: float | None
    by: Literal["person", "policy"]
    type: Literal["recovery_decided"] = "recovery_decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationCompacted(Envelope):
    """A conversation was shortened to fit a context window: a new opening, and the end of what was there.

    Its messages are now ``opening`` and the last ``kept`` ones, without thinking, each result cut to ``longest``
    characters.
    """

    phase: Phase
    turn: int
    reason: str
    opening: str
    kept: int
    longest: int
    tokens_before: int
    tokens_after: int
    type: Literal["conversation_compacted"] = "conversation_compacted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a tool is about to change: a path with the SHA-256 of its bytes before and after ("" = no file)."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Envelope):
    """A tool is about to run, stored before its side effect."""

    phase: Phase
    turn: int
    call: str
    name: str
    arguments: str
    summary: str
    """One line for people: ``edit src/slug.py``."""
    intent: Intent | None = None
    checkpoint: str = ""
    """The workspace's tree before it, for what may change anything (a shell command)."""
    type: Literal["tool_started"] = "tool_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnded(Envelope):
    """A tool has run; ``text`` is exactly what the model gets."""

    phase: Phase
    turn: int
    call: str
    name: str
    text: str
    is_error: bool
    seconds: float
    type: Literal["tool_ended"] = "tool_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRejected(Envelope):
    """An artifact failed validation and goes back to the model with the complaint."""

    phase: Phase
    artifact: str
    complaint: str
    attempt: int
    type: Literal["artifact_rejected"] = "artifact_rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactAccepted(Envelope):
    """A phase hands on its artifact (``spec``, ``plan`` or ``review``); ``content`` is its JSON form."""

    phase: Phase
    round: int
    artifact: Literal["spec", "plan", "review"]
    content: Mapping[str, Any]
    touched: tuple[str, ...] = ()
    """Paths that qa changed, although it must change nothing: undone, and its approval does not count."""
    type: Literal["artifact_accepted"] = "artifact_accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskStarted(Envelope):
    """Work on a subtask begins (``attempt`` 1) or is tried again. ``number`` of ``total``, from 1."""

    subtask: str
    title: str
    attempt: int
    number: int
    total: int
    tree: str = ""
    """The workspace's tree when the attempt began."""
    type: Literal["subtask_started"] = "subtask_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskEnded(Envelope):
    """A subtask is settled; ``commit`` is "" when it changed nothing."""

    subtask: str
    passed: bool
    commit: str
    type: Literal["subtask_ended"] = "subtask_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmodulesRestored(Envelope):
    """Commands of a model changed files in submodules, which are read-only: the changes were undone.

    ``changed`` are files of the submodules, or a submodule itself where another commit was checked out. ``added`` are
    files that were new.
    """

    phase: Phase
    subtask: str
    changed: tuple[str, ...]
    added: tuple[str, ...]
    type: Literal["submodules_restored"] = "submodules_restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesLeftOut(Envelope):
    """The commit of a subtask leaves out new files that only commands made, such as coverage reports.

    ``paths`` are the first 100 of them. One with a slash at its end is a folder.
    """

    phase: Phase
    subtask: str
    paths: tuple[str, ...]
    type: Literal["files_left_out"] = "files_left_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupEnded(Envelope):
    """A set-up command of the user has run in the workspace, with the network that it was given.

    ``exit_code`` is None when it ran out of time. What it installed is used and stays out of the commits. With
    ``reused_from`` it did not run: what it made in that run is used.
    """

    phase: Phase
    command: str
    passed: bool
    exit_code: int | None
    output: str
    seconds: float
    reused_from: str = ""
    type: Literal["setup_ended"] = "setup_ended"


CommandKind = Literal["fails", "passes", "fails_already", "cannot_run", "hangs"]
"""What a verify command does before the work: it fails for want of the change, passes already, fails for other reasons
(``fails_already``), cannot run in this environment, or does not end in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineStarted(Envelope):
    """A verify command is about to run before the work; whatever it does to the workspace is undone to ``tree``."""

    phase: Phase
    command: str
    tree: str
    type: Literal["baseline_started"] = "baseline_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineEnded(Envelope):
    """What a verify command does before the work. A later event for the same command replaces an earlier one."""

    phase: Phase
    command: str
    kind: CommandKind
    exit_code: int | None
    """None when it had to be stopped."""
    reason: str
    """Why it cannot be used as it is; "" when it can."""
    hint: str
    """What to do about that; "" when that is not known."""
    failing_tests: tuple[str, ...]
    """The tests that failed, as far as the output names them."""
    outside_tests: tuple[str, ...]
    """Those of them that fail for reasons outside the task."""
    output: str
    seconds: float
    type: Literal["baseline_ended"] = "baseline_ended"

    @property
    def is_obstacle(self) -> bool:
        """Whether the command shows nothing about any change: it cannot run, or does not end."""
        return self.kind in ("cannot_run", "hangs")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceCompared(Envelope):
    """The workspace has been made a checkout of the last commit, whose tree is ``tree``, before it is verified.

    ``ignored`` and ``untracked`` are files and folders that it had beyond that and that were removed. ``converted`` are
    files that a checkout gives another content. ``omitted`` counts the paths that are not listed.
    """

    tree: str
    ignored: tuple[str, ...]
    untracked: tuple[str, ...]
    converted: tuple[str, ...]
    omitted: int
    type: Literal["workspace_compared"] = "workspace_compared"

    @property
    def left_behind(self) -> tuple[str, ...]:
        """What was removed."""
        return (*self.untracked, *self.ignored)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyStarted(Envelope):
    """A verification command of ours is about to run; whatever it does to the workspace is undone to ``tree``."""

    phase: Phase
    command: str
    tree: str
    subtask: str = ""
    type: Literal["verify_started"] = "verify_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEnded(Envelope):
    """A verification command that we ran ourselves. ``exit_code`` is None when it ran out of time."""

    phase: Phase
    command: str
    passed: bool
    exit_code: int | None
    output: str
    seconds: float
    subtask: str = ""
    known_failures: tuple[str, ...] = ()
    """Why it passed with another exit code than 0: only these tests failed, as they did before the work."""
    obstacle: str = ""
    """Why it cannot run in this environment, whatever the change is; "" when it can."""
    hint: str = ""
    """What to do about the obstacle."""
    type: Literal["verify_ended"] = "verify_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStarted(Envelope):
    """The source files of the change are about to be made unparsable, to see whether any verify command notices.

    They are restored to ``tree`` afterwards.
    """

    phase: Phase
    files: tuple[str, ...]
    tree: str
    type: Literal["canary_started"] = "canary_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEnded(Envelope):
    """What the verify commands did while the source files of the change were unparsable.

    ``tested`` is true when a command failed, false when all passed: then none of them tests the change. It is None
    when there was nothing to try, and ``reason`` says why.
    """

    phase: Phase
    tested: bool | None
    files: tuple[str, ...]
    commands: tuple[str, ...]
    """Those that ran; the last one failed if ``tested``."""
    reason: str
    seconds: float
    type: Literal["canary_ended"] = "canary_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Envelope):
    """A commit in the run's own history."""

    commit: str
    subject: str
    route: Route
    served_model: str
    type: Literal["committed"] = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Envelope):
    """The commits are in the user's repository, on ``branch``, whose tip is ``commit``."""

    branch: str
    commit: str
    commits: int
    auto_executed: Mapping[str, str] = field(default_factory=dict)
    """Files of the change that run automatically after a merge or checkout, each with when it runs."""
    type: Literal["published"] = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReached(Envelope):
    """A phase is done, and a person must approve its result before the run continues."""

    phase: Phase
    round: int
    artifact: Literal["", "spec", "plan", "review"]
    """"" for coding, which hands on commits."""
    type: Literal["gate_reached"] = "gate_reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecided(Envelope):
    """The decision at a gate. ``words`` say what must change after a rejection."""

    phase: Phase
    round: int
    decision: Literal["approved", "rejected"]
    words: str = ""
    type: Literal["gate_decided"] = "gate_decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Envelope):
    """The last event of a sitting: how it ended, and what stopped it, so that no caller has to parse ``message``.

    ``outcome`` is ``approved`` or ``rejected`` (the verdict), ``waiting`` (for a person), ``limited`` (a rate limit,
    quota or overload of a provider; the run can go on after ``retry_at``), ``cancelled``, or ``failed``.
    """

    outcome: Outcome
    exit_code: int
    """The exit code of the process, see ``errors.ExitCode``."""
    message: str
    """What happened, for people."""
    hint: str
    """What to do, for people; "" when there is nothing to do."""
    seconds: float
    """Duration of this sitting."""
    resume: str = ""
    """The command that resumes the run; "" when nothing is left to do."""
    error: str = ""
    """Class name of the error that stopped the run, see ``errors``; "" when none did."""
    phase: Phase | None = None
    """The phase that the run stopped in or after."""
    provider: str = ""
    """Provider, model and account of the error; "" when it is not a provider's."""
    model: str = ""
    account: str = ""
    limit: Limit = ""
    """Which limit was reached; "" when none was, or when that is unknown."""
    retry_at: datetime | None = None
    """When the limit is expected to pass, UTC; None when that is unknown."""
    type: Literal["run_ended"] = "run_ended"


Event = (
    RunStarted
    | RunResumed
    | Notice
    | PhaseStarted
    | PhaseEnded
    | PromptSent
    | TurnStarted
    | TurnUpdate
    | TurnFailed
    | TurnEnded
    | RecoveryNeeded
    | RecoveryDecided
    | ConversationCompacted
    | ToolStarted
    | ToolEnded
    | ArtifactRejected
    | ArtifactAccepted
    | SubtaskStarted
    | SubtaskEnded
    | SubmodulesRestored
    | FilesLeftOut
    | SetupEnded
    | BaselineStarted
    | BaselineEnded
    | VerifyStarted
    | WorkspaceCompared
    | VerifyEnded
    | CanaryStarted
    | CanaryEnded
    | Committed
    | Published
    | GateReached
    | GateDecided
    | RunEnded
)

EVENT_NAMES = tuple(kind.__name__ for kind in get_args(Event))
"""Names of the classes of events, in the order in which a run meets them first."""

TRANSIENT = (TurnUpdate,)
"""Events that are shown and not stored."""


@cache
def _adapter() -> TypeAdapter[Event]:
    # Built on first use: it costs milliseconds that `autoroute --help` need not pay.
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Event, Field(discriminator="type")])


def encode(event: Event) -> dict[str, Any]:
    """Return the event as JSON data, the envelope first. ``seq`` and ``time`` are left out while they are None."""
    data: dict[str, Any] = to_data(event)
    envelope: dict[str, Any] = {"schema": SCHEMA, "seq": data.pop("seq"), "time": data.pop("at")}
    if event.at is not None:
        at = event.at.astimezone(UTC).isoformat(timespec="milliseconds")
        envelope["time"] = at.replace("+00:00", "Z")
    stamped = {name: value for name, value in envelope.items() if value is not None}
    return {**stamped, "type": data.pop("type"), **data}


def to_json(event: Event) -> str:
    """Return the event as one line of JSON in printable ASCII: no text in it can end the line or reach a terminal."""
    # DEL is the one control character that JSON leaves as it is. It only occurs in strings.
    return json.dumps(encode(event), ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of an event, as ``encode`` writes it and as a line of the journal."""
    from pydantic import Field

    schema = schema_of(Annotated[Event, Field(discriminator="type")])
    for name in EVENT_NAMES:
        event = schema["$defs"][name]
        fields = {name: field for name, field in event["properties"].items() if name not in ("seq", "at", "type")}
        event["properties"] = {
            "schema": {"const": SCHEMA, "description": "Number of this JSON form."},
            "seq": {"type": "integer", "minimum": 1, "description": "Position in the journal, from 1."},
            "time": {"type": "string", "format": "date-time", "description": "When it was recorded, UTC."},
            "type": event["properties"]["type"],
            **fields,
            "chain": {"type": "string", "pattern": "^[0-9a-f]{8}$", "description": "Checksum, in a journal only."},
        }
        event["required"] = ["schema", "type", *fields]
    head = {
        "$schema": DIALECT,
        "title": "An event of an autoroute run",
        "description": f"Schema {SCHEMA}. Readers ignore fields that they do not know.",
    }
    return {**head, **schema}


def decode(data: Mapping[str, Any]) -> Event:
    """Return the event that ``encode`` made this data from. Unknown fields are ignored.

    Raises ``NewerSchema`` for the form of a newer version and ``ValueError`` for anything that is not an event.
    """
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerSchema(f"events of schema {schema}; the newest that this version reads is {SCHEMA}")
    if schema != SCHEMA:
        raise ValueError(f"not an event: schema is {schema!r}")
    event = _adapter().validate_python({**data, "at": data.get("time")})
    if event.at is not None and event.at.tzinfo is None:
        raise ValueError("not an event: time has no zone")
    return event
