"""The artifacts of a run as models: the state holds their JSON content, phases read them typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoroute.phases.artifacts import ARTIFACTS, Artifact, Plan, Review, Spec
from autoroute.state import ArtifactName, RunState


class TypedArtifacts:
    """Validates each content once, when a phase first reads it."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._validated: dict[str, tuple[Mapping[str, Any], Artifact]] = {}

    @property
    def spec(self) -> Spec:
        """The spec. The transition table puts no phase that reads it before the one that writes it."""
        spec = self.find("spec")
        assert isinstance(spec, Spec), "no spec was accepted"
        return spec

    @property
    def plan(self) -> Plan:
        """The plan, likewise."""
        plan = self.find("plan")
        assert isinstance(plan, Plan), "no plan was accepted"
        return plan

    @property
    def review(self) -> Review | None:
        """The last review, by qa or by a person; None before the first."""
        review = self.find("review")
        assert review is None or isinstance(review, Review)
        return review

    def find(self, name: ArtifactName) -> Artifact | None:
        """Return the artifact that holds, None without one. Raises ``ValidationError`` for content of another form."""
        content = self._state.artifacts.get(name)
        if content is None:
            return None
        known = self._validated.get(name)
        if known is None or known[0] is not content:
            known = self._validated[name] = content, ARTIFACTS[name].model_validate(dict(content))
        return known[1]
