"""The flags that choose routes, bounds and what happens on trouble, as one more layer of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.errors import UsageError

if TYPE_CHECKING:
    from autoroute.phases import PhaseSpec
    from autoroute.routing import Phase

_ROUTE = "ROUTE: an alias (opus-4.5), a model id, or provider/model."

SpecRoute = Annotated[str, typer.Option("--spec", metavar="ROUTE", help=f"Who writes the spec. {_ROUTE}")]
PlanRoute = Annotated[str, typer.Option("--plan", metavar="ROUTE", help="Who plans; spec and qa follow it.")]
CodeRoute = Annotated[str, typer.Option("--code", metavar="ROUTE", help="Who codes.")]
QaRoute = Annotated[str, typer.Option("--qa", metavar="ROUTE", help="Who judges the result.")]
Fallbacks = Annotated[
    list[str] | None,
    typer.Option("--fallback", metavar="PHASE=ROUTE[,ROUTE]", help="Who goes on when a phase's route cannot."),
]
Efforts = Annotated[
    list[str] | None,
    typer.Option("--effort", metavar="[PHASE=]LEVEL", help="low, medium or high, for all phases or for one."),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="[PHASE=]USD", help="Stop before a request that could cost more than this."),
]
OnLimit = Annotated[
    str,
    typer.Option(
        "--on-limit",
        metavar="ask|wait|switch|fallback|stop",
        help="What is tried first when a provider cannot go on (default: ask, which decides by itself in CI).",
    ),
]
MaxWait = Annotated[
    str, typer.Option("--max-wait", metavar="2h", help="What all waits of the run may take together (default: 2h).")
]
SandboxChoice = Annotated[
    str,
    typer.Option(
        "--sandbox",
        metavar="auto|bubblewrap|landlock|seatbelt|off",
        help="What holds commands of models back (default: auto, the strongest that works here).",
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", metavar="off|on|HOST:PORT", help="What their commands may connect to (default: off)."),
]
Setups = Annotated[
    list[str] | None,
    typer.Option("--setup", metavar="COMMAND", help="Run once before coding, with a network: npm ci."),
]
SetupNetworks = Annotated[
    list[str] | None,
    typer.Option("--setup-network", metavar="off|on|HOST:PORT", help="What --setup may connect to (default: on)."),
]
Gates = Annotated[
    list[str] | None,
    typer.Option("--gate", metavar="PHASE[,PHASE]", help="Wait for approval after these phases."),
]
Until = Annotated[str, typer.Option("--until", metavar="PHASE", help="Stop after this phase; resume goes on.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file in place of your own config.toml.")
]
NonInteractive = Annotated[bool, typer.Option("--non-interactive", help="Never ask anything.")]
Deltas = Annotated[
    bool, typer.Option("--deltas", help="With --format jsonl: print fragments of replies too, as they arrive.")
]
Format = Annotated[str, typer.Option("--format", metavar="live|plain|jsonl", help="How progress is shown.")]
Probe = Annotated[
    bool | None,
    typer.Option("--probe/--no-probe", help="Try tool calling again, or not at all (default: where not known)."),
]


def flags_layer(
    routes: Mapping[str, str],
    efforts: Sequence[str] | None = None,
    budgets: Sequence[str] | None = None,
    fallbacks: Sequence[str] | None = None,
    gates: Sequence[str] | None = None,
    recovery: Mapping[str, str] | None = None,
    sandbox: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The flags as one more layer of settings. Raises ``UsageError`` for one that makes no sense."""
    from autoroute.phases import PHASES

    phases: dict[str, dict[str, Any]] = {}
    layer: dict[str, Any] = {}
    for flag, route in routes.items():
        if route:
            phases.setdefault(flag, {})["model"] = route
    for effort in efforts or []:
        row, level = _split("--effort", effort)
        for chosen in [row] if row else PHASES.values():
            phases.setdefault(chosen.flag, {})["effort"] = level
    for budget in budgets or []:
        row, usd = _split("--budget", budget)
        if row:
            phases.setdefault(row.flag, {})["budget_usd"] = _usd(budget, usd)
        else:
            layer["budget"] = {"usd": _usd(budget, usd)}
    for fallback in fallbacks or []:
        row, listed = _split("--fallback", fallback)
        if row is None:
            raise UsageError(f"--fallback {fallback}: which phase is it for?", hint="--fallback coding=zai/glm-4.7")
        phases.setdefault(row.flag, {})["fallback"] = _listed(listed)
    chosen_gates = [name for gate in gates or [] for name in _listed(gate)]
    if chosen_gates:
        layer["gates"] = [phase_named("--gate", name).value for name in chosen_gates]
    if said := {name: value for name, value in (recovery or {}).items() if value}:
        layer["recovery"] = said
    if sandbox:
        layer["sandbox"] = dict(sandbox)
    return {**layer, "phases": phases} if phases else layer


def sandbox_layer(
    mode: str, network: Sequence[str] | None, setup: Sequence[str] | None, setup_network: Sequence[str] | None
) -> dict[str, Any]:
    """The flags about commands of models, as the table of settings of that name."""
    said = {
        "mode": mode,
        "network": _places(network),
        "setup": list(setup or []),
        "setup_network": _places(setup_network),
    }
    return {name: value for name, value in said.items() if value}


def phase_named(where: str, name: str) -> Phase:
    """The phase of this name; raises ``UsageError`` for any other, saying where it stands."""
    from autoroute.phases import by_name

    row = by_name(name)
    if row is None:
        raise UsageError(f"{where} {name!r} is no phase", hint="spec, planning, coding or qa")
    return row.phase


def _split(flag: str, text: str) -> tuple[PhaseSpec | None, str]:
    """``coding=high`` as the phase's row and the rest; no row without a phase."""
    from autoroute.phases import PHASES

    name, equals, rest = text.partition("=")
    return (PHASES[phase_named(f"{flag} {text}:", name)], rest) if equals else (None, text)


def _places(given: Sequence[str] | None) -> list[str]:
    return [place for text in given or [] for place in _listed(text)]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _usd(flag: str, text: str) -> float:
    try:
        usd = float(text.removeprefix("$"))
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise UsageError(f"--budget {flag}: {text!r} is no amount of USD", hint="--budget 5, or --budget coding=2.50")
    return usd
