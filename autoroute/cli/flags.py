"""The flags that choose routes and bounds, as one more layer of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoroute.errors import UsageError


def flags_layer(routes: Mapping[str, str], efforts: Sequence[str], budgets: Sequence[str] = ()) -> dict[str, Any]:
    """The flags as one more layer of settings."""
    from autoroute.phases import PHASES, by_name

    phases: dict[str, dict[str, Any]] = {}
    layer: dict[str, Any] = {}
    for flag, route in routes.items():
        if route:
            phases.setdefault(flag, {})["model"] = route
    for effort in efforts:
        name, _, level = effort.rpartition("=")
        row = by_name(name)
        if name and row is None:
            raise UsageError(f"--effort {effort}: {name!r} is no phase", hint="spec, planning, coding or qa")
        for chosen in [row] if row else PHASES.values():
            phases.setdefault(chosen.flag, {})["effort"] = level
    for budget in budgets:
        name, _, usd = budget.rpartition("=")
        row = by_name(name)
        if name and row is None:
            raise UsageError(f"--budget {budget}: {name!r} is no phase", hint="spec, planning, coding or qa")
        if row:
            phases.setdefault(row.flag, {})["budget_usd"] = _usd(budget, usd)
        else:
            layer["budget"] = {"usd": _usd(budget, usd)}
    return {**layer, "phases": phases} if phases else layer


def _usd(flag: str, text: str) -> float:
    try:
        usd = float(text.removeprefix("$"))
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise UsageError(f"--budget {flag}: {text!r} is no amount of USD", hint="--budget 5, or --budget coding=2.50")
    return usd
