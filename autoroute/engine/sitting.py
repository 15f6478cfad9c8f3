"""One process's share of a run: the fixed context, the moving state, and what only this process knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoroute.engine.budget import BudgetTracker
from autoroute.engine.context import RunContext
from autoroute.engine.policy import WaitBudget
from autoroute.engine.typed_artifacts import TypedArtifacts
from autoroute.events import ArtifactAccepted
from autoroute.phases import PHASES
from autoroute.phases.artifacts import Artifact, Plan, Review, Spec, check_plan, check_review, check_spec
from autoroute.routing import Phase
from autoroute.state import RunState


@dataclass(slots=True)
class Sitting:
    """What the phases of a run share. ``state`` changes by events alone, see ``replay.apply_each``."""

    context: RunContext
    state: RunState
    agreed_switches: set[tuple[str, ...]] = field(default_factory=set)
    """Switches of account that a person agreed to in this sitting, see ``Recovery``."""
    artifacts: TypedArtifacts = field(init=False)
    wait_budget: WaitBudget = field(init=False)
    budget: BudgetTracker = field(init=False)

    def __post_init__(self) -> None:
        config = self.context.config
        self.artifacts = TypedArtifacts(self.state)
        self.wait_budget = WaitBudget(config.recovery.max_wait)
        self.budget = BudgetTracker(self.context.providers.cost, config.budgets, self.state.usage)

    @property
    def phase(self) -> Phase:
        """The phase that is worked on, or was last; the first one before the run has begun."""
        return self.state.position.phase or Phase.SPEC

    @property
    def round(self) -> int:
        """Its round, from 1."""
        return self.state.position.round or 1

    @property
    def max_rounds(self) -> int:
        """The last round there may be: a person who rejects a change grants one more than configured."""
        return self.context.config.limits.max_rounds + self.state.history.extra_rounds

    def next_log(self, kind: str) -> str:
        """Return the file name for the output of the next command that autoroute runs: ``verify-3.log``."""
        history = self.state.history
        return f"{kind}-{len(history.verifications) + len(history.baselines) + len(history.setups) + 1}.log"

    def work_left(self) -> str:
        """Return what is left to do in this phase, for people; "" where that is not known."""
        if self.phase is not Phase.CODING or "plan" not in self.state.artifacts or self.round > 1:
            return ""
        total = len(self.artifacts.plan.subtasks)
        return f"{total - len(self.state.work.finished)} of {total} subtasks left"

    def accepted(self, content: Mapping[str, Any], touched: tuple[str, ...] = ()) -> ArtifactAccepted:
        """Return the event of an artifact that this phase hands on; ``touched`` are paths that qa changed."""
        artifact = PHASES[self.phase].artifact
        assert artifact is not None, f"{self.phase} hands on no artifact"
        # Kept when the run was cut off between this event and the end of the phase, and qa ran again.
        touched = tuple(dict.fromkeys((*self.state.work.touched, *touched)))
        return ArtifactAccepted(phase=self.phase, round=self.round, artifact=artifact, content=content, touched=touched)

    def find_complaints(self, _kind: str, artifact: Artifact) -> list[str]:
        """Return what contradicts an artifact of valid form, as sentences for the model."""
        match artifact:
            case Spec():
                return check_spec(artifact)
            case Plan():
                return check_plan(artifact, self.artifacts.spec)
            case Review():
                return check_review(artifact, self.artifacts.spec)
