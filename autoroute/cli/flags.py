"""The flags that choose routes, limits and recovery, as the topmost layer of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.errors import UsageError

if TYPE_CHECKING:
    from autoroute.phases import PhaseSpec

_ROUTE = "ROUTE: an alias (opus-4.5), a model id, or provider/model."

SpecRoute = Annotated[str, typer.Option("--spec", metavar="ROUTE", help=f"Route for the spec. {_ROUTE}")]
PlanRoute = Annotated[str, typer.Option("--plan", metavar="ROUTE", help="Route for planning; spec and qa follow it.")]
CodeRoute = Annotated[str, typer.Option("--code", metavar="ROUTE", help="Route for coding.")]
QaRoute = Annotated[str, typer.Option("--qa", metavar="ROUTE", help="Route for qa.")]
Fallbacks = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback",
        metavar="PHASE=ROUTE[,ROUTE]",
        help="Routes to fall back to, in order, when a phase's route fails.",
    ),
]
Efforts = Annotated[
    list[str] | None,
    typer.Option("--effort", metavar="[PHASE=]LEVEL", help="low, medium or high, for all phases or one."),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="[PHASE=]USD", help="Stop before a request that could exceed this."),
]
OnLimit = Annotated[
    str,
    typer.Option(
        "--on-limit",
        metavar="ask|wait|switch|fallback|stop",
        help="What to do first on a limit or outage (default: ask; without a terminal, the safe default).",
    ),
]
MaxWait = Annotated[
    str, typer.Option("--max-wait", metavar="2h", help="Maximum time for all waits of the run together (default: 2h).")
]
SandboxChoice = Annotated[
    str,
    typer.Option(
        "--sandbox",
        metavar="auto|bubblewrap|landlock|seatbelt|off",
        help="Sandbox for model commands (default: auto, the strongest that works here).",
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", metavar="off|on|HOST:PORT", help="What model commands may connect to (default: off)."),
]
Setups = Annotated[
    list[str] | None,
    typer.Option(
        "--setup",
        metavar="COMMAND|auto|none",
        help="Command to run once before coding, with network access: npm ci. auto is what the lock files call for.",
    ),
]
SetupNetworks = Annotated[
    list[str] | None,
    typer.Option("--setup-network", metavar="off|on|HOST:PORT", help="What --setup may connect to (default: on)."),
]
Carry = Annotated[
    str,
    typer.Option(
        "--carry",
        metavar="auto|none",
        help="Show commands the environments of your checkout, such as .venv and node_modules (default: auto).",
    ),
]
Cache = Annotated[
    str,
    typer.Option(
        "--cache",
        metavar="run|repository|none",
        help="How long the home folder of commands lasts (default: run).",
    ),
]
Gates = Annotated[
    list[str] | None,
    typer.Option("--gate", metavar="PHASE[,PHASE]", help="Stop for approval after these phases."),
]
Until = Annotated[str, typer.Option("--until", metavar="PHASE", help="Stop after this phase; resume continues.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file to use instead of your config.toml.")
]
NonInteractive = Annotated[bool, typer.Option("--non-interactive", help="Never ask anything.")]
Deltas = Annotated[
    bool, typer.Option("--deltas", help="With --format jsonl: print fragments of replies too, as they arrive.")
]
Format = Annotated[str, typer.Option("--format", metavar="live|plain|jsonl", help="How to show progress.")]
Probe = Annotated[
    bool | None,
    typer.Option(
        "--probe/--no-probe", help="Test tool calling on every route, or on none (default: where not tested yet)."
    ),
]


def flags_layer(
    routes: Mapping[str, str],
    efforts: Sequence[str] | None = None,
    budgets: Sequence[str] | None = None,
    fallbacks: Sequence[str] | None = None,
    gates: Sequence[str] | None = None,
    recovery: Mapping[str, str] | None = None,
    sandbox: Mapping[str, Any] | None = None,
    workspace: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the flags as a layer of settings. Raises ``UsageError`` for an invalid one."""
    from autoroute.phases import PHASES, parse_phase

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
            phases.setdefault(row.flag, {})["budget_usd"] = _usd(usd)
        else:
            layer["budget"] = {"usd": _usd(usd)}
    for fallback in fallbacks or []:
        row, listed = _split("--fallback", fallback)
        if row is None:
            raise UsageError(f"--fallback {fallback}: the phase is missing", hint="--fallback coding=zai/glm-4.7")
        phases.setdefault(row.flag, {})["fallback"] = _split_list(listed)
    chosen_gates = [name for gate in gates or [] for name in _split_list(gate)]
    if chosen_gates:
        layer["gates"] = [parse_phase("--gate", name).value for name in chosen_gates]
    if table := {name: value for name, value in (recovery or {}).items() if value}:
        layer["recovery"] = table
    if sandbox:
        layer["sandbox"] = dict(sandbox)
    if table := {name: value for name, value in (workspace or {}).items() if value}:
        layer["workspace"] = table
    return {**layer, "phases": phases} if phases else layer


def sandbox_layer(
    mode: str, network: Sequence[str] | None, setup: Sequence[str] | None, setup_network: Sequence[str] | None
) -> dict[str, Any]:
    """Return the flags about model commands as the settings table ``sandbox``."""
    table = {
        "mode": mode,
        "network": _flatten(network),
        "setup": list(setup or []),
        "setup_network": _flatten(setup_network),
    }
    return {name: value for name, value in table.items() if value}


def _split(flag: str, text: str) -> tuple[PhaseSpec | None, str]:
    """Split ``coding=high`` into the phase's row and the rest; the row is None without a phase."""
    from autoroute.phases import PHASES, parse_phase

    name, equals, rest = text.partition("=")
    return (PHASES[parse_phase(flag, name)], rest) if equals else (None, text)


def _flatten(lists: Sequence[str] | None) -> list[str]:
    return [part for text in lists or [] for part in _split_list(text)]


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _usd(text: str) -> float:
    try:
        usd = float(text.removeprefix("$"))
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise UsageError(f"--budget: {text!r} is not a valid USD amount", hint="--budget 5, or --budget coding=2.50")
    return usd
