"""What a run works with (``RunContext``) and what its phases have handed on so far (``Progress``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from autoroute.engine.agent import Agent
from autoroute.engine.budget import BudgetTracker
from autoroute.engine.conversation import Conversation
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import Approval, Clock, Decider, Question, WaitBudget
from autoroute.engine.ports import Providers
from autoroute.events import (
    ArtifactAccepted,
    Committed,
    Event,
    GateDecided,
    GateReached,
    PhaseEnded,
    PhaseStarted,
    SetupEnded,
    SubtaskEnded,
    SubtaskStarted,
    VerifyEnded,
    VerifyStarted,
)
from autoroute.phases import PHASES, PhaseOutcome
from autoroute.phases.artifacts import ARTIFACTS, Artifact, Plan, Review, Spec, check_plan, check_review, check_spec
from autoroute.phases.prompts import Evidence
from autoroute.routing import Phase, Route, RunConfig, Task
from autoroute.tools import ToolContext, open_toolbox
from autoroute.workspace import Commands, Workspace

Told = TypeVar("Told", bound=Event)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run was started with, kept so that it can be resumed: see ``RunStarted``."""

    token: str = ""
    source: str = ""
    base_ref: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    include_dirty: bool = False


@dataclass(frozen=True, slots=True)
class Preparation:
    """Commands of the user's that make the workspace ready for coding, and who runs them: they may have a network.

    ``whole`` says that it is all of the machine's, which nothing that a model wrote may have.
    """

    commands: tuple[str, ...] = ()
    by: Commands | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class RunContext:
    """All that a run works with. ``logs`` is a folder, ``patch`` a file, both in the run folder.

    ``prices`` names the tables behind costs; ``notices`` are things to tell the user at the start; ``ripgrep`` is
    the path of ``rg``, None without it; ``resume`` is the command that goes on with the run; ``until`` is the last
    phase of this sitting, ``approval`` what was said beforehand of the gate that the run waits at; ``sandbox`` says
    what holds commands back; ``redact`` takes out of a text what no model may be told.
    """

    run: str
    task: Task
    repository: str
    branch: str
    config: RunConfig
    workspace: Workspace
    commands: Commands
    providers: Providers
    decider: Decider
    clock: Clock
    logs: Path
    patch: Path
    resume: str
    origin: Origin = Origin()
    prices: str = ""
    notices: tuple[str, ...] = ()
    ripgrep: str | None = None
    until: Phase | None = None
    approval: Approval | None = None
    preparation: Preparation = Preparation()
    sandbox: str = ""
    redact: Callable[[str], str] = str


@dataclass(slots=True)
class Progress:
    """Where a run stands: a fold over its events (``note``), and the counters of the process that carries it.

    ``round`` counts from 1. ``outcome`` is that of the phase once it is over, ``gate`` whether a gate after it was
    reached or passed. ``settled`` are the subtasks that are done, each with its round; ``tip`` is the last commit.
    """

    context: RunContext
    phase: Phase = Phase.SPEC
    round: int = 1
    outcome: PhaseOutcome | None = None
    gate: str = ""
    spec: Spec | None = None
    plan: Plan | None = None
    review: Review | None = None
    evidence: list[Evidence] = field(default_factory=list)
    touched: tuple[str, ...] = ()
    """Paths that qa changed in this round, although it may change nothing."""
    unverified: str = ""
    """The tree to go back to after a verify command that was cut off."""
    settled: set[tuple[int, str]] = field(default_factory=set)
    prepared: set[str] = field(default_factory=set)
    """The commands of the preparation that have passed."""
    coded: bool = False
    """Whether a model has been at work on a subtask, and may have left anything in the workspace."""
    tip: str = ""
    routes: dict[Phase, Route] = field(default_factory=dict)
    """The route that each phase began on last."""
    granted: int = 0
    """Rounds beyond ``max_rounds`` that a person asked for."""
    objection: tuple[str, str] = ("", "")
    """A person's words, and the JSON text of the artifact that they rejected."""
    conversation: Conversation | None = None
    """The conversation that was cut off, until it is taken up again."""
    agreed: set[tuple[str, ...]] = field(default_factory=set)
    """What a person has agreed to in this sitting: see ``Recovery``."""
    wait_budget: WaitBudget = field(init=False)
    budget: BudgetTracker = field(init=False)
    turns: Iterator[int] = field(default_factory=lambda: count(1))
    commands: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.budget = BudgetTracker(self.context.providers.cost, self.context.config.budgets)
        self.wait_budget = WaitBudget(self.context.config.recovery.max_wait)

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

    @property
    def max_rounds(self) -> int:
        """The last round there may be."""
        return self.context.config.limits.max_rounds + self.granted

    def note(self, event: Told) -> Told:
        """Take an event into account, and pass it on: the same while a run goes on and when it is recalled."""
        match event:
            case PhaseStarted():
                self.enter(event.phase, event.round)
                self.routes[event.phase] = event.route
            case PhaseEnded(outcome="done" | "approved" | "rejected" as outcome):
                self.outcome, self.conversation = outcome, None
            case ArtifactAccepted():
                self._accept(event)
            case SubtaskStarted():
                self.coded = True
            case SetupEnded(passed=True):
                self.prepared.add(event.command)
            case VerifyStarted():
                self.unverified = event.tree
            case VerifyEnded():
                self._verified(event)
            case Committed():
                self.tip = event.commit
            case SubtaskEnded(passed=True):
                self.settled.add((self.round, event.subtask))
                self.conversation = None
            case GateReached():
                self.gate = "reached"
            case GateDecided(decision="approved"):
                self.gate = "passed"
            case GateDecided():
                self._reject(event.words)
        return event

    def enter(self, phase: Phase, round: int) -> None:
        """A phase is worked on, perhaps again after a cut; a new round of qa begins with nothing shown."""
        if phase is Phase.QA and (self.phase, self.round) != (phase, round):
            self.evidence, self.touched = [], ()
        self.phase, self.round, self.outcome, self.gate = phase, round, None, ""

    def converse(self, session: ModelSession) -> Agent:
        """A conversation of a phase, with that phase's tools: the one that was cut off, or a new one."""
        conversation, self.conversation = self.conversation, None
        context = ToolContext(
            root=self.context.workspace.root,
            commands=self.context.commands,
            logs=self.context.logs,
            command_timeout=session.limits.command_timeout,
            ask=lambda text, options: self.context.decider.answer(Question(session.phase, text, options)),
            check=self.complaints,
            ripgrep=self.context.ripgrep,
            redact=self.context.redact,
        )
        return Agent(session, open_toolbox(PHASES[session.phase].tools, context), conversation)

    def accepted(self, content: dict[str, Any], touched: tuple[str, ...] = ()) -> ArtifactAccepted:
        """The event of an artifact that this phase hands on, and of what it ``touched`` although it may not."""
        artifact = PHASES[self.phase].artifact
        assert artifact is not None
        # A cut may have come between this and the end of the phase: what was on record then counts.
        touched = tuple(dict.fromkeys((*self.touched, *touched)))
        return self.note(
            ArtifactAccepted(phase=self.phase, round=self.round, artifact=artifact, content=content, touched=touched)
        )

    def complaints(self, _kind: str, artifact: Artifact) -> list[str]:
        """What speaks against an artifact, beyond its form."""
        match artifact:
            case Spec():
                return check_spec(artifact)
            case Plan():
                return check_plan(artifact, self.agreed_spec)
            case Review():
                return check_review(artifact, self.agreed_spec)

    def handed_on(self) -> Artifact | None:
        """The artifact of the phase that is over; None for coding."""
        return {"spec": self.spec, "plan": self.plan, "review": self.review}.get(PHASES[self.phase].artifact or "")

    def work_left(self) -> str:
        """What is left to do in this phase, for people; "" where that cannot be said."""
        if self.phase is not Phase.CODING or self.plan is None or self.round > 1:
            return ""
        total = len(self.plan.subtasks)
        return f"{total - len(self.settled)} of {total} subtasks left"

    def _verified(self, event: VerifyEnded) -> None:
        self.unverified = ""
        if event.phase is Phase.QA:
            self.evidence = [item for item in self.evidence if item.command != event.command]
            self.evidence.append(evidence_of(event))

    def _accept(self, event: ArtifactAccepted) -> None:
        artifact = ARTIFACTS[event.artifact].model_validate(dict(event.content))
        self.touched = event.touched
        match artifact:
            case Spec():
                self.spec = artifact
            case Plan():
                self.plan = artifact
            case Review():
                self.review = artifact
        self.objection = ("", "")

    def _reject(self, words: str) -> None:
        """A person wants it otherwise: spec and planning begin again with their words, coding gets them as a review."""
        rejected = self.handed_on()
        self.outcome, self.gate = None, ""
        match self.phase:
            case Phase.SPEC:
                self.spec = None
            case Phase.PLANNING:
                self.plan = None
            case Phase.CODING | Phase.QA:
                self.review = Review(verdict="rejected", summary=words, criteria=[], issues=[])
                self.phase = Phase.CODING
                self.round += 1
                self.granted += 1
                return
        self.objection = (words, rejected.model_dump_json(indent=1, exclude_none=True) if rejected else "")


def evidence_of(event: VerifyEnded) -> Evidence:
    """What a verify command showed, as phases are told of it."""
    ending = f"no end within {event.seconds:.0f} s" if event.exit_code is None else f"exit code {event.exit_code}"
    return Evidence(command=event.command, passed=event.passed, ending=ending, output=event.output)
