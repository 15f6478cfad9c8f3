"""The receipt: what was asked for and what was really served, by whom, as one pure fold over events.

``receipt.json`` has, beside the run's own facts, ``phases``: a row for each phase and route, in order of use, with

    requested    what the user wrote        model        the exact id that was sent
    served       every model name that replies carried   provider, host, account, runner
    requests     sent, retries included     turns        answered        retries     of requests that failed
    tokens       {input, output, cache_read, cache_write}; input leaves out what the cache served
    cost_usd     by the tables that ``prices`` names; null when the price of a turn is not known
    tool_calls   run                        seconds      wall time of the phase

    shortened    how often a conversation was shortened to fit the model's context window

``verification``: every command that autoroute ran itself, in order, with its result; ``decisions``: what was done when
a provider could not go on, and by whom; ``gates``: what was decided at them; ``resumed``: how often it went on;
``sandbox``: what held commands back in the last sitting; ``auto_executed``: the files of the change that run by
themselves, each with when it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from autoroute.events import (
    ArtifactAccepted,
    ConversationCompacted,
    Event,
    GateDecided,
    PhaseEnded,
    PhaseStarted,
    Published,
    RecoveryDecided,
    RecoveryNeeded,
    RunEnded,
    RunResumed,
    RunStarted,
    ToolEnded,
    TurnEnded,
    TurnFailed,
    TurnStarted,
    VerifyEnded,
)
from autoroute.messages import Usage
from autoroute.routing import Phase, Route

VERSION = 1


@dataclass(slots=True)
class _Row:
    phase: Phase
    route: Route
    served: list[str] = field(default_factory=list)
    requests: int = 0
    turns: int = 0
    retries: int = 0
    tool_calls: int = 0
    shortened: int = 0
    tokens: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        route = self.route
        return {
            "phase": self.phase.value,
            "provider": route.provider,
            "requested": route.requested,
            "model": route.model,
            "served": self.served,
            "host": route.host,
            "account": route.account,
            "runner": route.runner,
            "requests": self.requests,
            "turns": self.turns,
            "retries": self.retries,
            "tokens": asdict(self.tokens),
            "cost_usd": None if self.cost is None else round(self.cost, 6),
            "tool_calls": self.tool_calls,
            "shortened": self.shortened,
            "seconds": round(self.seconds, 3),
        }


class Receipt:
    """A receipt in the making: ``add`` each event, ``as_json`` at any time, a killed run's included."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {"version": VERSION, "verdict": None, "rounds": 0, "resumed": 0}
        self._rows: dict[tuple[Phase, Route], _Row] = {}
        self._current: _Row | None = None
        self._blocked: RecoveryNeeded | None = None
        self._lists: dict[str, list[dict[str, Any]]] = {"verification": [], "decisions": [], "gates": []}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Receipt:
        """The receipt of these events."""
        receipt = cls()
        for event in events:
            receipt.add(event)
        return receipt

    def as_json(self) -> dict[str, Any]:
        """The receipt as JSON data."""
        rows = [row.as_json() for row in self._rows.values()]
        costs = [row.cost for row in self._rows.values()]
        known = [cost for cost in costs if cost is not None]
        total = round(sum(known), 6) if len(known) == len(costs) else None
        return {**self._facts, "cost_usd": total, "phases": rows, **self._lists}

    def add(self, event: Event) -> None:
        """Take one event into account; those that say nothing of it are ignored."""
        match event:
            case RunStarted():
                self._facts |= {"run": event.run, "title": event.title, "base": event.base, "branch": event.branch}
                self._facts |= {"autoroute": event.version, "prices": event.prices, "sandbox": event.sandbox}
            case RunResumed():
                self._facts["resumed"] += 1
                self._facts["sandbox"] = event.sandbox
                for name in ("outcome", "exit_code", "message"):
                    self._facts.pop(name, None)
            case PhaseStarted():
                self._current = self._row(event.phase, event.route)
                self._facts["rounds"] = max(self._facts["rounds"], event.round)
            case TurnStarted():
                self._current = self._row(event.phase, event.route)
                self._current.requests += 1
            case TurnFailed():
                self._row(event.phase, event.route).retries += event.retry_in is not None
            case TurnEnded():
                self._count(self._row(event.phase, event.route), event)
            case RecoveryNeeded():
                self._blocked = event
            case RecoveryDecided():
                self._decide(event)
            case ConversationCompacted() if self._current:
                self._current.shortened += 1
            case GateDecided():
                facts = {"phase": event.phase.value, "decision": event.decision, "words": event.words}
                self._lists["gates"].append(facts)
                if event.decision == "rejected" and event.phase in (Phase.CODING, Phase.QA):
                    self._facts["verdict"] = "rejected"
            case ToolEnded() if self._current:
                self._current.tool_calls += 1
            case PhaseEnded() if self._current:
                self._current.seconds += event.seconds
            case VerifyEnded():
                self._verify(event)
            case ArtifactAccepted(artifact="review"):
                self._facts["verdict"] = event.content.get("verdict")
            case Published():
                self._facts |= {"commit": event.commit, "commits": event.commits}
                self._facts["auto_executed"] = dict(event.auto_executed)
            case RunEnded():
                self._facts |= {"outcome": event.outcome, "exit_code": event.exit_code, "message": event.message}
                if event.outcome == "approved":
                    self._facts["verdict"] = "approved"
                # The verdict is qa's and the commands': an approval that a command contradicted is none.
                if self._facts["verdict"] == "approved" and event.outcome in ("rejected", "failed", "limited"):
                    self._facts["verdict"] = "rejected"

    def _row(self, phase: Phase, route: Route) -> _Row:
        return self._rows.setdefault((phase, route), _Row(phase, route))

    def _count(self, row: _Row, event: TurnEnded) -> None:
        row.turns += 1
        row.tokens += event.reply.usage
        row.cost = None if row.cost is None or event.cost is None else row.cost + event.cost
        if event.reply.served_model not in row.served:
            row.served.append(event.reply.served_model)

    def _verify(self, event: VerifyEnded) -> None:
        facts = {"command": event.command, "passed": event.passed, "exit_code": event.exit_code}
        self._lists["verification"].append({**facts, "phase": event.phase.value, "subtask": event.subtask})

    def _decide(self, event: RecoveryDecided) -> None:
        why = self._blocked
        self._lists["decisions"].append(
            {
                "phase": event.phase.value,
                "route": event.route.name,
                "account": event.route.account,
                "error": event.error,
                "message": why.message if why else "",
                "limit": why.limit if why else "",
                "action": event.action,
                "to": event.to.name if event.to else None,
                "to_account": event.to.account if event.to else None,
                "waited": event.wait,
                "by": event.by,
            }
        )
