"""What a run may cost: the tokens that earlier runs here took, or stated defaults, at the prices of its routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autoroute.messages import Usage
from autoroute.routing import Phase, Route, RunConfig

_DEFAULTS: Mapping[Phase, tuple[Usage, Usage]] = MappingProxyType(
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
"""A small and a large task. Reasoned, not measured: history takes their place after the first run."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """USD for a phase, from ``low`` to ``high``; None when the price is not known. ``runs`` is 0 for the defaults."""

    phase: Phase
    route: Route
    low: float | None
    high: float | None
    runs: int


def forecast(
    config: RunConfig, history: Sequence[Mapping[Phase, Usage]], cost: Callable[[Route, Usage], float | None]
) -> list[Forecast]:
    """One row a phase; ``history`` are the tokens of each earlier run's phases."""
    rows = []
    for phase, routing in config.phases.items():
        used = [run[phase] for run in history if phase in run]
        costs = [cost(routing.primary, usage) for usage in used or _DEFAULTS[phase]]
        known = [usd for usd in costs if usd is not None]
        low, high = (min(known), max(known)) if len(known) == len(costs) else (None, None)
        rows.append(Forecast(phase, routing.primary, low, high, len(used)))
    return rows
