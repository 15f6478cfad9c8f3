"""The receipt of a run: what was asked for, what was served, by whom and for how much. It is a view of ``RunState``.

``receipt.json`` and ``autoroute show --json`` hold its JSON form: a public contract with a ``version`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from autoroute.errors import Limit
from autoroute.events import ActionTaken, BaselineEnded, CanaryEnded, CommandKind, Event, Outcome, RunEnded
from autoroute.json_form import DIALECT, schema_of, to_data
from autoroute.messages import Usage
from autoroute.routing import Phase, Route
from autoroute.state import RecoveryRecord, RunState, UsageRow

VERSION = 1
"""Number of the JSON form. It changes when a reader of the old form would misread the new one."""

_USD_DIGITS = 6
_SECONDS_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """What one route did in one phase. A phase that moved to another route has a row for each."""

    phase: Phase
    provider: str
    """Name of the profile."""
    requested: str
    """The model as the user named it."""
    model: str
    """The model id that was sent."""
    served: tuple[str, ...]
    """Every model name that replies carried, in order of first use; "" for a reply that named none."""
    host: str
    account: str
    runner: str
    """``native``, or the vendor's program that drove the phase."""
    requests: int
    """Requests sent, retries included."""
    turns: int
    """Requests answered."""
    retries: int
    """Failed requests that were sent again."""
    tokens: Usage
    cost_usd: float | None
    """None when the price of a turn is not known."""
    tool_calls: int
    compactions: int
    """How often the conversation was compacted to fit the model's context window."""
    seconds: float
    """Wall time of the phase, booked on the route that ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRow:
    """A verification command that autoroute ran. ``exit_code`` is None when it ran out of time."""

    command: str
    passed: bool
    exit_code: int | None
    phase: Phase
    subtask: str
    """Id of the subtask that it checked; "" in qa."""
    known_failures: tuple[str, ...] = ()
    """Why it passed with another exit code than 0: only these tests failed, as they did before the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRow:
    """What a verify command did before the work."""

    command: str
    kind: CommandKind
    exit_code: int | None
    """None when it had to be stopped."""
    reason: str
    """Why it cannot be used as it is; "" when it can."""
    failing_tests: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRow:
    """What the verify commands did while the source files of the change were unparsable, in the last round of qa."""

    tested: bool | None
    """False when every command passed: none tests the change. None when there was nothing to try."""
    files: tuple[str, ...]
    commands: tuple[str, ...]
    reason: str
    """Why there was nothing to try."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """What was done when a provider could not continue, and who decided it."""

    phase: Phase
    route: str
    """The route that could not continue, as ``provider/model``."""
    account: str
    error: str
    """Class name of the error."""
    message: str
    """The provider's own words."""
    limit: Limit
    action: ActionTaken
    to: str | None
    """The route that continued; None where the run stopped."""
    to_account: str | None
    waited: float | None
    """Seconds that were waited before it continued; None for any other action."""
    by: Literal["person", "policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """What a person decided at a gate. ``words`` say what a rejected phase must change."""

    phase: Phase
    decision: Literal["approved", "rejected"]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a run was asked for, what it was served, and what came of it."""

    version: int = VERSION
    run: str = ""
    """Id of the run."""
    title: str = ""
    autoroute: str = ""
    """The version of autoroute that started the run."""
    prices: str = ""
    """The price tables that the costs come from."""
    outcome: Outcome | None = None
    """How the last sitting ended; None while the run works, and after it was interrupted."""
    exit_code: int | None = None
    message: str = ""
    """What happened, for people."""
    error: str = ""
    """Class name of the error that stopped the run; "" when none did."""
    retry_at: datetime | None = None
    """When a limit that stopped the run is expected to pass, UTC."""
    verdict: Literal["approved", "rejected"] | None = None
    """By qa and by the commands that autoroute ran: an approval that a command contradicts is a rejection."""
    rounds: int = 0
    """Rounds of coding and qa that were begun."""
    resumed: int = 0
    """How often the run was resumed."""
    base: str = ""
    """Commit that the work started from; "" in an empty repository."""
    branch: str = ""
    commit: str = ""
    """Tip of the branch; "" before the commits were published."""
    commits: int = 0
    auto_executed: Mapping[str, str] = field(default_factory=dict)
    """Files of the change that run automatically after a merge or checkout -> when they run."""
    left_behind: tuple[str, ...] = ()
    """Files and folders that the workspace had and the commit has not; they were removed before it was verified."""
    sandbox: str = ""
    """What confined commands in the last sitting."""
    cost_usd: float | None = 0.0
    """Of all phases; None when the price of a turn is not known."""
    phases: tuple[PhaseRow, ...] = ()
    baseline: tuple[BaselineRow, ...] = ()
    verification: tuple[VerificationRow, ...] = ()
    canary: CanaryRow | None = None
    """None when it did not run."""
    decisions: tuple[DecisionRow, ...] = ()
    gates: tuple[GateRow, ...] = ()

    @classmethod
    def of(cls, events: Iterable[Event]) -> Receipt:
        """Return the receipt of these events, which may end anywhere: a killed run has one too."""
        return cls.from_state(RunState.of(events))

    @classmethod
    def from_state(cls, state: RunState) -> Receipt:
        """Return the receipt of a run in this state."""
        started, ended, published = state.started, state.ended, state.work.published
        receipt = cls(
            run=started.run if started else "",
            title=started.title if started else "",
            autoroute=started.version if started else "",
            prices=started.prices if started else "",
            base=started.base if started else "",
            branch=started.branch if started else "",
            verdict=state.verdict,
            rounds=state.position.round,
            resumed=state.resumed,
            commit=published.commit if published else "",
            commits=published.commits if published else 0,
            auto_executed=dict(published.auto_executed) if published else {},
            left_behind=state.work.compared.left_behind if state.work.compared else (),
            sandbox=state.sitting.sandbox if state.sitting else "",
            cost_usd=_round_usd(state.usage.cost()),
            phases=tuple(_phase_row(phase, route, row) for (phase, route), row in state.usage.rows.items()),
            baseline=tuple(map(_baseline_row, state.work.baseline.values())),
            canary=_canary_row(state.work.canary) if state.work.canary else None,
            verification=tuple(
                VerificationRow(
                    command=event.command,
                    passed=event.passed,
                    exit_code=event.exit_code,
                    phase=event.phase,
                    subtask=event.subtask,
                    known_failures=event.known_failures,
                )
                for event in state.history.verifications
            ),
            decisions=tuple(map(_decision_row, state.history.recoveries)),
            gates=tuple(
                GateRow(phase=event.phase, decision=event.decision, words=event.words) for event in state.history.gates
            ),
        )
        return receipt if ended is None else _with_ending(receipt, ended)

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as JSON data."""
        data: dict[str, Any] = to_data(self)
        return data


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a receipt."""
    schema = schema_of(Receipt | None)
    forms = {name: form for name, form in schema["$defs"].items() if name != "Receipt"}
    head = {"$schema": DIALECT, "title": "The receipt of an autoroute run"}
    return {**head, **schema["$defs"]["Receipt"], "$defs": forms}


def _with_ending(receipt: Receipt, ended: RunEnded) -> Receipt:
    return replace(
        receipt,
        outcome=ended.outcome,
        exit_code=ended.exit_code,
        message=ended.message,
        error=ended.error,
        retry_at=ended.retry_at,
    )


def _phase_row(phase: Phase, route: Route, row: UsageRow) -> PhaseRow:
    return PhaseRow(
        phase=phase,
        provider=route.provider,
        requested=route.requested,
        model=route.model,
        served=tuple(row.served_models),
        host=route.host,
        account=route.account,
        runner=route.runner,
        requests=row.requests,
        turns=row.turns,
        retries=row.retries,
        tokens=row.tokens,
        cost_usd=_round_usd(row.cost),
        tool_calls=row.tool_calls,
        compactions=row.compactions,
        seconds=round(row.seconds, _SECONDS_DIGITS),
    )


def _baseline_row(ended: BaselineEnded) -> BaselineRow:
    return BaselineRow(
        command=ended.command,
        kind=ended.kind,
        exit_code=ended.exit_code,
        reason=ended.reason,
        failing_tests=ended.failing_tests,
        seconds=round(ended.seconds, _SECONDS_DIGITS),
    )


def _canary_row(ended: CanaryEnded) -> CanaryRow:
    return CanaryRow(
        tested=ended.tested,
        files=ended.files,
        commands=ended.commands,
        reason=ended.reason,
        seconds=round(ended.seconds, _SECONDS_DIGITS),
    )


def _decision_row(record: RecoveryRecord) -> DecisionRow:
    needed, decided = record.needed, record.decided
    return DecisionRow(
        phase=decided.phase,
        route=decided.route.name,
        account=decided.route.account,
        error=decided.error,
        message=needed.message if needed else "",
        limit=needed.limit if needed else "",
        action=decided.action,
        to=decided.to.name if decided.to else None,
        to_account=decided.to.account if decided.to else None,
        waited=decided.wait,
        by=decided.by,
    )


def _round_usd(cost: float | None) -> float | None:
    return None if cost is None else round(cost, _USD_DIGITS)
