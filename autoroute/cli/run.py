"""``autoroute run``: one task, four phases, each on its own route; or with ``--dry-run`` what that would be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoroute.cli.compose import Prepared, RunOptions, check_lock, execute, prepare, prove
from autoroute.cli.findings import show_findings
from autoroute.cli.flags import (
    Budgets,
    CodeRoute,
    ConfigFile,
    Efforts,
    Fallbacks,
    Format,
    Gates,
    MaxWait,
    Networks,
    NonInteractive,
    OnLimit,
    PlanRoute,
    Probe,
    QaRoute,
    SandboxChoice,
    SetupNetworks,
    Setups,
    SpecRoute,
    Until,
    flags_layer,
    phase_named,
    sandbox_layer,
)
from autoroute.cli.parts import open_preflight
from autoroute.cli.say import say
from autoroute.cli.terminal import choose_format, is_attended
from autoroute.errors import AutorouteError

if TYPE_CHECKING:
    from autoroute.config.resolve import ResolvedConfig
    from autoroute.messages import Usage
    from autoroute.routing import Phase

_RUNS_LOOKED_AT = 20


def run(
    context: typer.Context,
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A Markdown file, a spec folder of Auto-Claude, or - for stdin.")
    ],
    spec: SpecRoute = "",
    plan: PlanRoute = "",
    code: CodeRoute = "",
    qa: QaRoute = "",
    fallback: Fallbacks = None,
    effort: Efforts = None,
    until: Until = "",
    gate: Gates = None,
    base: Annotated[str, typer.Option(metavar="REF", help="Commit or branch to start from (default: HEAD).")] = "",
    include_dirty: Annotated[
        bool, typer.Option("--include-dirty", help="Start from your uncommitted changes too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the routing and where each value came from; ask no model.")
    ] = False,
    on_limit: OnLimit = "",
    max_wait: MaxWait = "",
    budget: Budgets = None,
    sandbox: SandboxChoice = "",
    network: Networks = None,
    setup: Setups = None,
    setup_network: SetupNetworks = None,
    probe: Probe = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Refuse a routing that is not the one in autoroute.lock.")
    ] = False,
    non_interactive: NonInteractive = False,
    format: Format = "",
    config: ConfigFile = None,
) -> None:
    """Carry a task through spec, planning, coding and qa, and leave the commits on a branch of your repository."""
    from autoroute.config.paths import environment

    routes = {"spec": spec, "plan": plan, "code": code, "qa": qa}
    recovery = {"on_limit": on_limit, "max_wait": max_wait}
    confined = sandbox_layer(sandbox, network, setup, setup_network)
    flags = flags_layer(routes, effort, budget, fallback, gate, recovery, confined)
    options = RunOptions(
        base=base,
        include_dirty=include_dirty,
        format=format,
        interactive=not non_interactive,
        flags=flags,
        config=config,
        until=phase_named("--until", until) if until else None,
    )
    prepared = prepare(task, flags, environment(), Path.cwd(), config, context.obj)
    _check(prepared, options)
    if dry_run:
        attended = is_attended(prepared.environ, interactive=options.interactive)
        raise typer.Exit(_dry_run(prepared, probe, attended=attended))
    proved = prove(prepared, probe, options)
    if locked:
        check_lock(proved)
    raise typer.Exit(execute(proved, options))


def _check(prepared: Prepared, options: RunOptions) -> None:
    """What can be wrong with the options, before anybody is asked anything."""
    choose_format(options.format, prepared.environ)
    if options.base:
        prepared.repository.resolve(options.base)


def _dry_run(prepared: Prepared, probe: bool | None, *, attended: bool) -> int:
    """Say what a run would do, check it, and forecast its cost; the exit code. No model is asked, unless told to."""
    from autoroute.cli.sandbox import check_sandbox
    from autoroute.preflight.forecast import forecast
    from autoroute.preflight.results import worst
    from autoroute.redaction import redact_value

    settled = prepared.settled
    preflight = open_preflight(settled, prepared.environ)
    _show_routing(settled)
    sandbox = check_sandbox(settled.config.sandbox, prepared.environ, prepared.repository, attended=attended)
    routes = preflight.run("force" if probe else "cached").findings
    findings = redact_value([sandbox, *routes], settled.credentials.redactor.redact)
    show_findings(findings)
    history = _history(prepared.repository.root)
    now = preflight.now()
    rows = forecast(settled.config, history, lambda route, usage: preflight.prices.cost(route, usage, now))
    say(f"\ncost, as far as can be told ({preflight.prices.version}):")
    for row in rows:
        usd = "price not known" if row.low is None or row.high is None else f"${row.low:.2f} to ${row.high:.2f}"
        basis = f"from {row.runs} runs here" if row.runs else "by the stated defaults: no run here yet"
        say(f"  {row.phase:<9} {row.route.name:<36} {usd:<20} {basis}")
    for notice in settled.notices:
        say(f"note: {notice}", err=True)
    return worst(findings)


def _show_routing(settled: ResolvedConfig) -> None:
    """Phase, route, endpoint, key source, and where the choice came from."""
    from autoroute.phases import PHASES
    from autoroute.routing import Secret

    for phase in PHASES:
        routing = settled.config.phases[phase]
        source = settled.config.sources.get(f"phases.{phase}.model", "default")
        for place, route in enumerate((routing.primary, *routing.fallbacks)):
            try:
                secret = settled.credentials.find(route)
            except AutorouteError:
                secret = None  # a row of the checks says what is wrong with it
            key = f"key from {secret.source}" if isinstance(secret, Secret) else "no key"
            if settled.profiles[route.provider].logins:
                key = f"login {route.account}"
            name = phase.value if place == 0 else f"  fallback {place}"
            say(f"{name:<12} {route.name:<36} {route.host:<28} {key}; {source}")


def _history(root: Path) -> list[dict[Phase, Usage]]:
    """What the phases of earlier runs here took, newest first."""
    from autoroute.messages import Usage
    from autoroute.routing import Phase
    from autoroute.store import RunFolder, list_runs

    runs = []
    readable = [summary for summary in list_runs(root) if summary.state != "unreadable"]
    for summary in readable[:_RUNS_LOOKED_AT]:
        usage: dict[Phase, Usage] = {}
        try:
            receipt = RunFolder.open(root, summary.id).receipt()
        except AutorouteError:
            continue  # `runs` says that it cannot be read
        for row in receipt["phases"]:
            phase = Phase(row["phase"])
            usage[phase] = usage.get(phase, Usage()) + Usage(**row["tokens"])
        runs.append({phase: total for phase, total in usage.items() if total.total})
    return runs
