"""What each phase asks for and gives: the phase table and the transitions between phases.

    spec -> planning -> coding -> qa -> (approved: end | rejected: coding again, at most ``max_rounds`` times)

``artifacts.py`` holds the models of what is handed on, ``asks.py`` the words, ``prompts/*.md`` the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from autoroute.routing import Phase

_LOOK = ("read", "grep", "find")
_CHANGE = ("write", "edit", "bash")


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A row of the phase table. ``flag`` is its name on the command line (``--plan``)."""

    phase: Phase
    flag: str
    tools: tuple[str, ...]
    artifact: Literal["spec", "plan", "review"] | None
    needs_tools: bool
    """Whether it has no chance on a model that calls no tools."""
    least_context: int
    """Tokens of context below which the phase has no chance."""

    @property
    def submit(self) -> str | None:
        """The tool that hands on its artifact."""
        return f"submit_{self.artifact}" if self.artifact else None

    @property
    def writes(self) -> bool:
        """Whether the phase may change the workspace."""
        return "write" in self.tools


_ROWS = (
    PhaseSpec(Phase.SPEC, "spec", (*_LOOK, "ask", "submit_spec"), "spec", needs_tools=False, least_context=16_000),
    PhaseSpec(Phase.PLANNING, "plan", (*_LOOK, "submit_plan"), "plan", needs_tools=False, least_context=16_000),
    PhaseSpec(Phase.CODING, "code", (*_LOOK, *_CHANGE), None, needs_tools=True, least_context=32_000),
    PhaseSpec(Phase.QA, "qa", (*_LOOK, "bash", "submit_review"), "review", needs_tools=True, least_context=32_000),
)

PHASES: Mapping[Phase, PhaseSpec] = MappingProxyType({row.phase: row for row in _ROWS})

PhaseOutcome = Literal["done", "approved", "rejected"]
Ending = Literal["approved", "rejected", "waiting"]

_TRANSITIONS: Mapping[tuple[Phase, PhaseOutcome], Phase | Ending] = MappingProxyType(
    {
        (Phase.SPEC, "done"): Phase.PLANNING,
        (Phase.PLANNING, "done"): Phase.CODING,
        (Phase.CODING, "done"): Phase.QA,
        (Phase.QA, "approved"): "approved",
        (Phase.QA, "rejected"): Phase.CODING,
    }
)


def follow(phase: Phase, outcome: PhaseOutcome, round: int, max_rounds: int) -> Phase | Ending:
    """What comes after ``phase`` ended with ``outcome`` in round ``round`` (from 1): a phase, or the run's ending.

    Raises ``KeyError`` for an outcome that the phase cannot have.
    """
    following = _TRANSITIONS[phase, outcome]
    if outcome == "rejected" and round >= max_rounds:
        return "rejected"
    return following


def is_behind(phase: Phase, now: Phase) -> bool:
    """Whether a phase is over for good when ``now`` is worked on: coding and qa come again."""
    order = list(Phase)
    return order.index(phase) < min(order.index(now), order.index(Phase.CODING))


def by_name(name: str) -> PhaseSpec | None:
    """The row of a phase by its name or its flag's name (``coding`` or ``code``)."""
    return next((row for row in PHASES.values() if name in (row.phase.value, row.flag)), None)
