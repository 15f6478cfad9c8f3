"""What a run works with (``Job``) and what its phases have handed on so far (``Progress``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from autoroute.engine.agent import Conversation, Seat
from autoroute.engine.ledger import Cost, Ledger
from autoroute.engine.policy import Clock, Decide, Question
from autoroute.events import ArtefactAccepted
from autoroute.phases import PHASES
from autoroute.phases.artefacts import Plan, Review, Spec, check_plan, check_review, check_spec
from autoroute.phases.asks import Evidence
from autoroute.routing import Phase, Route, RunConfig, Task
from autoroute.tools import ToolContext, open_toolbox
from autoroute.wire import Model
from autoroute.workspace import Commands, Workspace


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run works with. ``logs`` is a folder, ``patch`` a file, both in the run folder.

    ``prices`` names the tables behind ``cost``; ``notices`` are things to tell the user at the start; ``ripgrep`` is
    the path of ``rg``, None without it.
    """

    run: str
    task: Task
    repository: str
    branch: str
    config: RunConfig
    workspace: Workspace
    commands: Commands
    connect: Callable[[Route], Model]
    decide: Decide
    clock: Clock
    logs: Path
    patch: Path
    cost: Cost
    same_model: Callable[[Route, str], bool]
    recheck: Callable[[Route], None]
    """A free look, before a phase begins, at whether its key still holds. Raises a ``ProviderError``."""
    prices: str = ""
    notices: tuple[str, ...] = ()
    ripgrep: str | None = None


@dataclass(slots=True)
class Progress:
    """What the phases have handed on so far, and the counters of the run. ``round`` counts from 1."""

    job: Job
    phase: Phase = Phase.SPEC
    round: int = 1
    spec: Spec | None = None
    plan: Plan | None = None
    review: Review | None = None
    evidence: list[Evidence] = field(default_factory=list)
    ledger: Ledger = field(init=False)
    turns: Iterator[int] = field(default_factory=lambda: count(1))
    commands: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.job.cost, self.job.config.budgets)

    @property
    def agreed_spec(self) -> Spec:
        """The spec; the transition table puts no phase that needs it before the one that makes it."""
        assert self.spec is not None
        return self.spec

    @property
    def agreed_plan(self) -> Plan:
        """The plan, likewise."""
        assert self.plan is not None
        return self.plan

    @property
    def failed_commands(self) -> list[str]:
        """The verify commands that failed when last run for the whole."""
        return [item.command for item in self.evidence if not item.passed]

    def converse(self, seat: Seat) -> Conversation:
        """A new conversation of a phase, with that phase's tools."""
        context = ToolContext(
            root=self.job.workspace.root,
            commands=self.job.commands,
            logs=self.job.logs,
            command_timeout=seat.limits.command_timeout,
            ask=lambda text, options: self.job.decide(Question(seat.phase, text, options)),
            check=self._complaints,
            ripgrep=self.job.ripgrep,
        )
        return Conversation(seat, open_toolbox(PHASES[seat.phase].tools, context))

    def accepted(self, seat: Seat, content: Mapping[str, Any]) -> ArtefactAccepted:
        """The event of an artefact that this phase hands on."""
        artefact = PHASES[seat.phase].artefact
        assert artefact is not None
        return ArtefactAccepted(phase=seat.phase, round=self.round, artefact=artefact, content=content)

    def _complaints(self, _kind: str, artefact: Spec | Plan | Review) -> list[str]:
        match artefact:
            case Spec():
                return check_spec(artefact)
            case Plan():
                return check_plan(artefact, self.agreed_spec)
            case Review():
                return check_review(artefact, self.agreed_spec)
