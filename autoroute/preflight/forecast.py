"""Cost forecast of a run: the tokens of earlier runs in this repository, or defaults, at the prices of its routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autoroute.messages import Usage
from autoroute.routing import Phase, Route, RunConfig

_DEFAULT_USAGE: Mapping[Phase, tuple[Usage, Usage]] = MappingProxyType(
    {
        Phase.SPEC: (Usage(input=8_000, output=1_000), Usage(input=30_000, output=4_000, cache_read=60_000)),
        Phase.PLANNING: (Usage(input=10_000, output=2_000), Usage(input=50_000, output=8_000, cache_read=120_000)),
        Phase.CODING: (
            Usage(input=30_000, output=8_000, cache_read=100_000),
            Usage(input=250_000, output=60_000, cache_read=2_500_000),
        ),
        Phase.QA: (Usage(input=15_000, output=2_000), Usage(input=80_000, output=10_000, cache_read=300_000)),
    }
)
"""Tokens of a small and of a large task. They are estimates, not measurements, and are used until the first run."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of a phase in USD, from ``low`` to ``high``; None if the price is unknown.

    ``runs`` is the number of earlier runs that it is based on, 0 for the defaults.
    """

    phase: Phase
    route: Route
    low: float | None
    high: float | None
    runs: int


def forecast(
    config: RunConfig, history: Sequence[Mapping[Phase, Usage]], cost: Callable[[Route, Usage], float | None]
) -> list[Forecast]:
    """Return a forecast for each phase. ``history`` has the tokens of the phases of each earlier run."""
    rows = []
    for phase, routing in config.phases.items():
        used = [run[phase] for run in history if phase in run]
        costs = [cost(routing.primary, usage) for usage in used or _DEFAULT_USAGE[phase]]
        known = [usd for usd in costs if usd is not None]
        low, high = (min(known), max(known)) if len(known) == len(costs) else (None, None)
        rows.append(Forecast(phase, routing.primary, low, high, len(used)))
    return rows
