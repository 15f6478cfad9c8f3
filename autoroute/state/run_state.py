"""The state of a run as one fold over its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autoroute.events import (
    ArtifactAccepted,
    BaselineEnded,
    BaselineStarted,
    CanaryEnded,
    CanaryStarted,
    Committed,
    Event,
    FilesLeftOut,
    GateDecided,
    GateReached,
    Intent,
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
    TurnUpdate,
    VerifyEnded,
    VerifyStarted,
    WorkspaceCompared,
)
from autoroute.routing import Phase, Route
from autoroute.state.conversation import Conversation
from autoroute.state.usage import UsageByRoute

ArtifactName = Literal["spec", "plan", "review"]

MEANINGLESS = (Notice, TurnUpdate)
"""Events that change no state: they are for people to read."""


@dataclass(frozen=True, slots=True)
class Objection:
    """What a person wants changed in an artifact that they rejected; ``artifact`` is its JSON content."""

    words: str
    artifact: Mapping[str, Any]


@dataclass(slots=True)
class Position:
    """Where a run is. ``phase`` is None and ``round`` 0 before the first phase."""

    phase: Phase | None = None
    round: int = 0
    ended: PhaseEnded | None = None
    """The end of the phase, however it ended; None while the phase is worked on."""
    gate: GateReached | GateDecided | None = None
    """The gate after the phase: reached and waiting for a decision, or decided."""
    subtask: SubtaskStarted | None = None
    """The attempt at a subtask that is worked on."""

    @property
    def outcome(self) -> Literal["done", "approved", "rejected"] | None:
        """What the phase came to; None while it has work left, and after it failed."""
        return None if self.ended is None or self.ended.outcome == "failed" else self.ended.outcome

    @property
    def waiting_gate(self) -> GateReached | None:
        """The gate that waits for a decision."""
        return self.gate if isinstance(self.gate, GateReached) else None

    def apply(self, event: Event) -> None:
        """Move to where an event leads."""
        match event:
            case PhaseStarted():
                self.phase, self.round = event.phase, event.round
                self.ended = self.gate = self.subtask = None
            case PhaseEnded():
                self.ended = event
            case SubtaskStarted():
                self.subtask = event
            case SubtaskEnded():
                self.subtask = None
            case GateReached():
                self.gate = event
            case GateDecided(decision="approved"):
                self.gate = event
            case GateDecided():
                self.ended = self.gate = None
                if event.phase in (Phase.CODING, Phase.QA):
                    # A person's objection to a change opens the next round, as a rejection by qa does.
                    self.phase, self.round = Phase.CODING, self.round + 1


@dataclass(slots=True)
class Work:
    """What was made and checked so far, beside the artifacts."""

    finished: set[tuple[int, str]] = field(default_factory=set)
    """Round and id of each subtask that is done."""
    coding_started: bool = False
    """Whether a model has worked on a subtask: it may have left anything in the workspace."""
    baseline: dict[str, BaselineEnded] = field(default_factory=dict)
    """Verify command -> what it did before the work."""
    plan_revision: Literal["", "asked", "made"] = ""
    """Whether the planner was asked to revise its plan by what the baseline showed, and did."""
    canary: CanaryEnded | None = None
    """The canary of qa in its current round."""
    unverified_tree: str = ""
    """The tree to restore after a verify command, of the baseline and the canary too, that was cut off."""
    evidence: list[VerifyEnded] = field(default_factory=list)
    """The last result of each verify command that ran for qa in its current round, in order."""
    touched: tuple[str, ...] = ()
    """Paths that qa changed in its current round, although it must change nothing."""
    compared: WorkspaceCompared | None = None
    """What the workspace had and the last commit has not, when qa last began."""
    objection: Objection | None = None
    """Why a person sent the artifact of this phase back."""
    restored_submodules: tuple[str, ...] = ()
    """Paths in submodules whose changes were undone, in the whole run."""
    written: dict[str, str] = field(default_factory=dict)
    """The files that file tools wrote, in the whole run -> the SHA-256 of their last content, in hexadecimal."""
    left_out: tuple[str, ...] = ()
    """New files and folders that only commands made and that the last commit with such files left out."""
    published: Published | None = None
    _begun: dict[str, Intent] = field(default_factory=dict)
    """The changes of files that have begun, by call id."""

    @property
    def failed_commands(self) -> list[str]:
        """The verify commands that failed when they last ran for qa."""
        return [event.command for event in self.evidence if not event.passed]

    def apply(self, event: Event, position: Position) -> None:
        """Take an event into account; ``position`` is where the run was before it."""
        match event:
            case RunResumed():
                # What could not run may run now: the user was told what to do about it.
                self.baseline = {name: ended for name, ended in self.baseline.items() if not ended.is_obstacle}
                self.plan_revision = "" if self.plan_revision == "made" else self.plan_revision
            case PhaseStarted(phase=Phase.QA) if (position.phase, position.round) != (event.phase, event.round):
                self.evidence, self.touched, self.canary = [], (), None
            case ArtifactAccepted():
                self.touched, self.objection = event.touched, None
                self.plan_revision = "made" if self.plan_revision == "asked" else self.plan_revision
            case SubtaskStarted():
                self.coding_started = True
            case SubtaskEnded(passed=True):
                self.finished.add((position.round, event.subtask))
            case SubmodulesRestored():
                paths = (*self.restored_submodules, *event.changed, *event.added)
                self.restored_submodules = tuple(dict.fromkeys(paths))
            case WorkspaceCompared():
                self.compared = event
            case FilesLeftOut():
                self.left_out = event.paths
            case ToolStarted(intent=Intent() as intent):
                self._begun[event.call] = intent
            case ToolEnded():
                if (begun := self._begun.pop(event.call, None)) and not event.is_error:
                    self.written[begun.path] = begun.after
            case VerifyStarted() | BaselineStarted() | CanaryStarted():
                self.unverified_tree = event.tree
            case BaselineEnded():
                self.unverified_tree = ""
                self.baseline[event.command] = event
            case CanaryEnded():
                self.unverified_tree = ""
                self.canary = event
            case VerifyEnded():
                self.unverified_tree = ""
                if event.phase is Phase.QA:
                    self.evidence = [known for known in self.evidence if known.command != event.command]
                    self.evidence.append(event)
            case Published():
                self.published = event


@dataclass(frozen=True, slots=True)
class RecoveryRecord:
    """A decision about a provider that could not continue; ``needed`` is the problem that it answers."""

    needed: RecoveryNeeded | None
    decided: RecoveryDecided


@dataclass(slots=True)
class History:
    """What happened, in order, for receipts and reports."""

    phases: list[PhaseEnded] = field(default_factory=list)
    setups: list[SetupEnded] = field(default_factory=list)
    baselines: list[BaselineEnded] = field(default_factory=list)
    verifications: list[VerifyEnded] = field(default_factory=list)
    canaries: list[CanaryEnded] = field(default_factory=list)
    commits: list[Committed] = field(default_factory=list)
    recoveries: list[RecoveryRecord] = field(default_factory=list)
    gates: list[GateDecided] = field(default_factory=list)
    problem: RecoveryNeeded | None = None
    """The last problem with a provider, decided or not."""

    @property
    def tip(self) -> str:
        """The last commit; "" before the first."""
        return self.commits[-1].commit if self.commits else ""

    @property
    def setup_passed(self) -> set[str]:
        """The set-up commands that have passed."""
        return {event.command for event in self.setups if event.passed}

    @property
    def extra_rounds(self) -> int:
        """Rounds beyond the configured maximum: a person who rejects a change grants one more."""
        return sum(event.decision == "rejected" and event.phase in (Phase.CODING, Phase.QA) for event in self.gates)

    def apply(self, event: Event) -> None:
        """Keep an event that a receipt or report names."""
        match event:
            case PhaseEnded():
                self.phases.append(event)
            case SetupEnded():
                self.setups.append(event)
            case BaselineEnded():
                self.baselines.append(event)
            case VerifyEnded():
                self.verifications.append(event)
            case CanaryEnded():
                self.canaries.append(event)
            case Committed():
                self.commits.append(event)
            case RecoveryNeeded():
                self.problem = event
            case RecoveryDecided():
                self.recoveries.append(RecoveryRecord(self.problem, event))
            case GateDecided():
                self.gates.append(event)


@dataclass(slots=True)
class RunState:
    """A run after some of its events.

    It may begin at a ``RunResumed``: a renderer that sees one sitting folds the events of that sitting alone.
    """

    started: RunStarted | None = None
    sitting: RunStarted | RunResumed | None = None
    """The start of the current sitting; its routes, flags and sandbox hold now."""
    resumed: int = 0
    """How often the run was resumed."""
    ended: RunEnded | None = None
    """The end of the current sitting; None while the run works, and after it was interrupted."""
    position: Position = field(default_factory=Position)
    artifacts: dict[ArtifactName, Mapping[str, Any]] = field(default_factory=dict)
    """The JSON content of each artifact that holds."""
    work: Work = field(default_factory=Work)
    conversation: Conversation | None = None
    """The conversation that is held, or was cut off; None once what it was about is done."""
    usage: UsageByRoute = field(default_factory=UsageByRoute)
    history: History = field(default_factory=History)

    @classmethod
    def of(cls, events: Iterable[Event]) -> RunState:
        """Return the state after these events."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, MEANINGLESS):
            return
        match event:
            case RunStarted():
                self.started = self.sitting = event
            case RunResumed():
                self.sitting, self.ended = event, None
                self.resumed += 1
            case RunEnded():
                self.ended = event
            case ArtifactAccepted():
                self.artifacts[event.artifact] = event.content
            case GateDecided(decision="rejected"):
                self._reject(event)
            case PhaseEnded(outcome="done" | "approved" | "rejected") | SubtaskEnded(passed=True):
                self.conversation = None
            case PromptSent():
                self._converse(event)
        if self.conversation is not None:
            self.conversation.apply(event)
        self.work.apply(event, self.position)
        self.position.apply(event)
        self.usage.apply(event)
        self.history.apply(event)

    @property
    def routes(self) -> Mapping[Phase, Route]:
        """The primary route of each phase in the current sitting."""
        return self.sitting.routes if self.sitting else {}

    @property
    def is_approved(self) -> bool:
        """Whether the run has ended with an approval."""
        return self.ended is not None and self.ended.outcome == "approved"

    @property
    def verdict(self) -> Literal["approved", "rejected"] | None:
        """``approved`` or ``rejected``, by qa and by the commands that autoroute ran; None before the first review.

        An approval that a failed command or a changed file contradicts is a rejection.
        """
        verdict = self.artifacts.get("review", {}).get("verdict")
        if verdict not in ("approved", "rejected"):
            verdict = None
        if self.ended is None:
            return verdict
        if self.ended.outcome == "approved":
            return "approved"
        contradicted = verdict == "approved" and self.ended.outcome in ("rejected", "failed", "limited")
        return "rejected" if contradicted else verdict

    @property
    def phases_ahead(self) -> tuple[Phase, ...]:
        """The phases that may still be worked on; one that is done counts while its gate waits for a decision."""
        order = list(Phase)
        index = order.index(self.position.phase) if self.position.phase else 0
        over = self.position.outcome in ("done", "approved") and self.position.waiting_gate is None
        # Coding may follow qa, so both stay ahead until the run ends.
        return tuple(order[min(index + over, order.index(Phase.CODING)) :])

    def _converse(self, event: PromptSent) -> None:
        """Begin the conversation that the prompt opens; note which attempt at a subtask the model is told of."""
        if event.opens:
            self.conversation = Conversation(event.phase)
        if event.phase is Phase.PLANNING and "plan" in self.artifacts:
            self.work.plan_revision = "asked"
        elif event.phase is Phase.PLANNING:
            self.work.plan_revision = ""
        if self.conversation is not None:
            self.conversation.subtask = self.position.subtask

    def _reject(self, event: GateDecided) -> None:
        """Withdraw what a person rejects: spec and plan are made again, a change is sent back with a review."""
        match event.phase:
            case Phase.SPEC:
                self.work.objection = Objection(event.words, self.artifacts.pop("spec", {}))
            case Phase.PLANNING:
                self.work.objection = Objection(event.words, self.artifacts.pop("plan", {}))
            case Phase.CODING | Phase.QA:
                review = {"verdict": "rejected", "summary": event.words, "criteria": [], "issues": []}
                self.artifacts["review"] = review
