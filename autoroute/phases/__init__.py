"""The phase table, and the transitions between phases.

    spec -> planning -> coding -> qa -> (approved: end | rejected: coding again, at most ``max_rounds`` times)

``artifacts.py`` has the models of what phases submit, ``prompts/`` the text that models get in each phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from autoroute.errors import UsageError
from autoroute.routing import Phase

_READ_TOOLS = ("read", "grep", "find")
_WRITE_TOOLS = ("write", "edit", "bash")


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A row of the phase table. ``flag`` is its name on the command line (``--plan``)."""

    phase: Phase
    flag: str
    tools: tuple[str, ...]
    artifact: Literal["spec", "plan", "review"] | None
    needs_tools: bool
    """Whether the phase cannot run on a model that calls no tools."""
    min_context: int
    """The smallest context window on which the phase can run, in tokens."""

    @property
    def submit_tool(self) -> str | None:
        """The tool that submits the phase's artifact; None if it has none."""
        return f"submit_{self.artifact}" if self.artifact else None

    @property
    def writes(self) -> bool:
        """Whether the phase may change the workspace."""
        return "write" in self.tools


_ROWS = (
    PhaseSpec(Phase.SPEC, "spec", (*_READ_TOOLS, "ask", "submit_spec"), "spec", needs_tools=False, min_context=16_000),
    PhaseSpec(Phase.PLANNING, "plan", (*_READ_TOOLS, "submit_plan"), "plan", needs_tools=False, min_context=16_000),
    PhaseSpec(Phase.CODING, "code", (*_READ_TOOLS, *_WRITE_TOOLS), None, needs_tools=True, min_context=32_000),
    PhaseSpec(Phase.QA, "qa", (*_READ_TOOLS, "bash", "submit_review"), "review", needs_tools=True, min_context=32_000),
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


def next_phase(phase: Phase, outcome: PhaseOutcome, round: int, max_rounds: int) -> Phase | Ending:
    """Return the phase after one that ended with ``outcome`` in round ``round`` (from 1), or the run's ending.

    Raises ``KeyError`` for an outcome that the phase cannot have.
    """
    following = _TRANSITIONS[phase, outcome]
    if outcome == "rejected" and round >= max_rounds:
        return "rejected"
    return following


def is_past(phase: Phase, current: Phase) -> bool:
    """Return whether a phase is over for good while ``current`` runs: coding and qa may run again."""
    order = list(Phase)
    return order.index(phase) < min(order.index(current), order.index(Phase.CODING))


def parse_phase(where: str, name: str) -> Phase:
    """Return the phase of this name. Raises ``UsageError`` for any other; ``where`` is the flag or argument."""
    row = find_phase(name)
    if row is None:
        raise UsageError(f"unknown phase {name!r} in {where}", hint="use spec, planning, coding or qa")
    return row.phase


def find_phase(name: str) -> PhaseSpec | None:
    """Return the row of a phase by its name or the name of its flag (``coding`` or ``code``); None if unknown."""
    return next((row for row in PHASES.values() if name in (row.phase.value, row.flag)), None)
