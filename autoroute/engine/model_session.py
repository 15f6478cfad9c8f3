"""The model that serves a phase. Recovery may replace it in the middle of a conversation, which then continues."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoroute.engine.context import RunContext
from autoroute.engine.prompted_tools import PromptedToolModel
from autoroute.engine.recovery import Recovery
from autoroute.engine.sitting import Sitting
from autoroute.phases import PHASES, prompts
from autoroute.routing import Phase, Route
from autoroute.wire import Model

_MAX_DIGEST_CHARACTERS = 200_000
"""How much of a repository a model without tools gets to read."""
_SMALL_WINDOW_TOKENS = 32_000
"""The context window that is assumed where the catalog knows none."""
_DIGEST_CHARACTERS_PER_TOKEN = 3
_DIGEST_SHARE = 2
"""The digest takes one part in so many of the window; the rest is for prompts and the reply."""


@dataclass(slots=True)
class ModelSession:
    """A model at work in a phase. ``system`` is the system prompt; ``recovery`` finds another route when it fails."""

    phase: Phase
    route: Route
    sitting: Sitting
    recovery: Recovery
    system: str
    _model: Model | None = field(default=None, init=False)

    @property
    def model(self) -> Model:
        """The model of the route, connected when first asked."""
        if self._model is None:
            self._model = connect(self.sitting.context, self.phase, self.route)
        return self._model

    def switch_to(self, route: Route) -> None:
        """Continue on another route."""
        if route != self.route:
            self.close()
            self.route = route

    def close(self) -> None:
        """Close connections."""
        if self._model is not None:
            self._model.close()
            self._model = None


def connect(context: RunContext, phase: Phase, route: Route) -> Model:
    """Return the model behind a route, able to do the phase's work.

    One that calls no tools is prompted for a fenced block instead, and gets a digest of the repository to read.
    """
    model, submit = context.providers.connect(route, context.workspace.root), PHASES[phase].submit_tool
    if route.tools or submit is None:
        return model
    window = (route.context or _SMALL_WINDOW_TOKENS) * _DIGEST_CHARACTERS_PER_TOKEN
    digest = context.workspace.pack_files(min(_MAX_DIGEST_CHARACTERS, window // _DIGEST_SHARE))
    return PromptedToolModel(model, submit, context.redact(prompts.show_repository(digest)))
