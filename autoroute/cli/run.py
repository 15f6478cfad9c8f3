"""``autoroute run``: one task, four phases, each on its own route; or with ``--dry-run`` what that would be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoroute.cli.check_results import show_check_results
from autoroute.cli.console import say
from autoroute.cli.flags import (
    Budgets,
    Cache,
    Carry,
    CodeRoute,
    ConfigFile,
    Deltas,
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
    sandbox_layer,
)
from autoroute.cli.run_in_terminal import command_line, run_in_terminal
from autoroute.cli.terminal import choose_format, is_attended
from autoroute.errors import AutorouteError

if TYPE_CHECKING:
    from autoroute.app.plan import RunPlan
    from autoroute.config.resolve import ResolvedConfig
    from autoroute.messages import Usage
    from autoroute.routing import Phase
    from autoroute.workspace.lock_files import SetupProposal

_MAX_HISTORY_RUNS = 20


def run(
    context: typer.Context,
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A Markdown file, an Auto-Claude spec folder, or - for stdin.")
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
    include_dirty: Annotated[bool, typer.Option("--include-dirty", help="Include your uncommitted changes.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show routing, checks and a cost estimate; ask no model.")
    ] = False,
    on_limit: OnLimit = "",
    max_wait: MaxWait = "",
    budget: Budgets = None,
    sandbox: SandboxChoice = "",
    network: Networks = None,
    setup: Setups = None,
    setup_network: SetupNetworks = None,
    carry: Carry = "",
    cache: Cache = "",
    probe: Probe = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Refuse a routing that differs from autoroute.lock.")
    ] = False,
    non_interactive: NonInteractive = False,
    format: Format = "",
    deltas: Deltas = False,
    config: ConfigFile = None,
) -> None:
    """Run a task through spec, planning, coding and qa; the commits go to a branch of your repository."""
    from autoroute.app.plan import RunOptions, check_lock, check_plan, plan_run
    from autoroute.app.run import begin_run
    from autoroute.config.paths import read_environment
    from autoroute.phases import parse_phase

    routes = {"spec": spec, "plan": plan, "code": code, "qa": qa}
    recovery = {"on_limit": on_limit, "max_wait": max_wait}
    confined = sandbox_layer(sandbox, network, setup, setup_network)
    environ = read_environment()
    kept = {"carry": carry, "cache": cache}
    options = RunOptions(
        base=base,
        include_dirty=include_dirty,
        flags=flags_layer(routes, effort, budget, fallback, gate, recovery, confined, kept),
        user_file=config,
        until=parse_phase("--until", until) if until else None,
        attended=is_attended(environ, interactive=not non_interactive),
        command=command_line(),
    )
    planned = plan_run(task, environ, Path.cwd(), options, stdin=sys.stdin.buffer, redactor=context.obj)
    choose_format(format, environ, deltas=deltas)
    if dry_run:
        raise typer.Exit(_dry_run(planned, probe))
    checked = check_plan(planned, probe, ask_for_setup=_ask_for_setup if options.attended else None)
    if locked:
        check_lock(checked)
    raise typer.Exit(run_in_terminal(begin_run(checked), environ, format, deltas=deltas))


def _ask_for_setup(proposals: Sequence[SetupProposal]) -> bool:
    """Ask the person at the terminal whether to run these setup commands; an empty answer is yes."""
    from autoroute.app.setup import describe_proposals

    say(f"{describe_proposals(proposals)}. Before coding, with network access:", err=True)
    for proposal in proposals:
        say(f"  {proposal.command}", err=True)
    say("run it now and in later runs here? (yes, no; empty = yes)", err=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def _dry_run(plan: RunPlan, probe: bool | None) -> int:
    """Print what a run would do, its checks and a cost forecast; return the exit code. Only ``probe`` asks a model."""
    from autoroute.app.environments import check_commands
    from autoroute.preflight.forecast import forecast
    from autoroute.preflight.results import worst_exit_code
    from autoroute.redaction import redact_value

    preflight = plan.preflight
    _show_routing(plan.resolved)
    commands = check_commands(plan.config, plan.environ, plan.repository, attended=plan.options.attended)
    routes = preflight.run("always" if probe else "cache_only").results
    results = redact_value([*commands, *routes], plan.redactor.redact)
    show_check_results(results)
    history = _history(plan.repository.root)
    services, now = preflight.services, preflight.services.now()
    rows = forecast(plan.config, history, lambda route, usage: services.prices.cost(route, usage, now))
    say(f"\nestimated cost ({services.prices.version}):")
    for row in rows:
        usd = "price unknown" if row.low is None or row.high is None else f"${row.low:.2f} to ${row.high:.2f}"
        basis = f"based on {row.runs} earlier runs here" if row.runs else "based on defaults (no earlier runs here)"
        say(f"  {row.phase:<9} {row.route.name:<36} {usd:<20} {basis}")
    for notice in plan.resolved.notices:
        say(f"note: {notice}", err=True)
    return worst_exit_code(results)


def _show_routing(resolved: ResolvedConfig) -> None:
    """Print phase, route, endpoint, key source, and where the choice came from."""
    from autoroute.phases import PHASES
    from autoroute.routing import Secret

    for phase in PHASES:
        routing = resolved.config.phases[phase]
        source = resolved.config.sources.get(f"phases.{phase}.model", "default")
        for place, route in enumerate((routing.primary, *routing.fallbacks)):
            try:
                secret = resolved.credentials.find(route)
            except AutorouteError:
                secret = None  # a row of the checks says what is wrong with it
            key = f"key from {secret.source}" if isinstance(secret, Secret) else "no key"
            if resolved.profiles[route.provider].logins:
                key = f"login {route.account}"
            name = phase.value if place == 0 else f"  fallback {place}"
            say(f"{name:<12} {route.name:<36} {route.host:<28} {key}; {source}")


def _history(root: Path) -> list[dict[Phase, Usage]]:
    """Return the tokens that the phases of earlier runs here took, newest first."""
    from autoroute.messages import Usage
    from autoroute.store import RunFolder, list_runs

    runs = []
    readable = [summary for summary in list_runs(root) if summary.state != "unreadable"]
    for summary in readable[:_MAX_HISTORY_RUNS]:
        usage: dict[Phase, Usage] = {}
        try:
            receipt = RunFolder.open(root, summary.id).receipt()
        except AutorouteError:
            continue  # `runs` says that it cannot be read
        for row in receipt.phases:
            usage[row.phase] = usage.get(row.phase, Usage()) + row.tokens
        runs.append({phase: total for phase, total in usage.items() if total.total})
    return runs
