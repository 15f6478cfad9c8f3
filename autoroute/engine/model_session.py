"""Where a phase's model sits. Who sits there may change in the middle of a conversation; the conversation goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from autoroute.engine.budget import BudgetTracker
from autoroute.engine.policy import Clock, WaitBudget
from autoroute.engine.ports import Providers
from autoroute.engine.recovery import Recovery
from autoroute.routing import Limits, Phase, Route, ServedModel
from autoroute.wire import Model
from autoroute.workspace import Workspace


@dataclass(slots=True)
class ModelSession:
    """A model at work in a phase: all that a conversation needs beside its tools.

    ``connect`` makes a model that can do this phase's work, ``turns`` numbers those of the whole run, ``redact`` takes
    out of a text what no model may be told.
    """

    phase: Phase
    route: Route
    connect: Callable[[Route], Model]
    system: str
    limits: Limits
    clock: Clock
    turns: Iterator[int]
    budget: BudgetTracker
    providers: Providers
    wait_budget: WaitBudget
    workspace: Workspace
    recovery: Recovery
    served_model: ServedModel = "strict"
    redact: Callable[[str], str] = str
    _model: Model | None = field(default=None, init=False)

    @property
    def model(self) -> Model:
        """Who sits here now, connected when first asked."""
        if self._model is None:
            self._model = self.connect(self.route)
        return self._model

    def switch_to(self, route: Route) -> None:
        """Another one sits down."""
        if route != self.route:
            self.close()
            self.route = route

    def close(self) -> None:
        """Let go of connections."""
        if self._model is not None:
            self._model.close()
            self._model = None
