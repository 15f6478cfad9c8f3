"""``autoroute doctor``: check keys, models and tools before a token is spent, or rehearse a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoroute.cli.check_results import show_check_results
from autoroute.cli.console import say, say_json
from autoroute.cli.flags import (
    Budgets,
    Cache,
    Carry,
    CodeRoute,
    ConfigFile,
    Efforts,
    Fallbacks,
    Networks,
    NonInteractive,
    PlanRoute,
    QaRoute,
    SandboxChoice,
    SetupNetworks,
    Setups,
    SpecRoute,
    flags_layer,
    sandbox_layer,
)
from autoroute.cli.run_in_terminal import command_line, run_in_terminal
from autoroute.cli.terminal import is_attended
from autoroute.errors import UsageError

if TYPE_CHECKING:
    from autoroute.app.plan import RunOptions
    from autoroute.redaction import Redactor


def doctor(
    context: typer.Context,
    spec: SpecRoute = "",
    plan: PlanRoute = "",
    code: CodeRoute = "",
    qa: QaRoute = "",
    fallback: Fallbacks = None,
    effort: Efforts = None,
    budget: Budgets = None,
    sandbox: SandboxChoice = "",
    network: Networks = None,
    setup: Setups = None,
    setup_network: SetupNetworks = None,
    carry: Carry = "",
    cache: Cache = "",
    non_interactive: NonInteractive = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Test tool calling on every route: a few hundred tokens each.")
    ] = False,
    simulate: Annotated[
        str, typer.Option(metavar="FAULT@PHASE", help="Rehearse a failure on a local server: 429@coding.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Check the machine, the settings, and every phase and fallback: credentials, model, limits, tools."""
    from autoroute.app.checking import check_everything
    from autoroute.app.plan import RunOptions
    from autoroute.config.paths import read_environment
    from autoroute.preflight.results import worst_exit_code

    environ, folder = read_environment(), Path.cwd()
    confined = sandbox_layer(sandbox, network, setup, setup_network)
    routes = {"spec": spec, "plan": plan, "code": code, "qa": qa}
    options = RunOptions(
        flags=flags_layer(
            routes, effort, budget, fallback, sandbox=confined, workspace={"carry": carry, "cache": cache}
        ),
        user_file=config,
        attended=is_attended(environ, interactive=not non_interactive),
        command=command_line(),
    )
    if simulate:
        raise typer.Exit(_simulate(simulate, folder, environ, options, context.obj))
    results = check_everything(folder, environ, options, probe=probe, redactor=context.obj)
    if as_json:
        say_json([result.as_json() for result in results])
    else:
        show_check_results(results)
    raise typer.Exit(worst_exit_code(results))


def _simulate(wanted: str, folder: Path, environ: Mapping[str, str], options: RunOptions, redactor: Redactor) -> int:
    """Run the demo's task with the user's routing and limits on a local server that fails once; return 0."""
    import tempfile

    from autoroute.app.checking import find_repository, resolve_without_repository
    from autoroute.app.rehearsal import open_rehearsal
    from autoroute.app.run import begin_run
    from autoroute.demo.simulations import SIMULATIONS
    from autoroute.phases import PHASES, find_phase

    name, _, phase = wanted.partition("@")
    row = find_phase(phase)
    if name not in SIMULATIONS or row is None:
        raise UsageError(
            f"--simulate {wanted}: unknown {'failure' if row else 'phase'} {(name if row else phase)!r}",
            hint=f"use {', '.join(SIMULATIONS)} @ {', '.join(phase.value for phase in PHASES)}",
        )
    repository = find_repository(folder, environ)
    root = repository.root if repository else folder
    resolved = resolve_without_repository(root, environ, options, redactor=redactor)
    route = resolved.config.phases[row.phase].primary
    profile = resolved.config.profile(route)
    fault = replace(SIMULATIONS[name](route.provider, profile.wire, route.model), offers=row.submit_tool or "edit")
    say(f"rehearsing {name} in {row.phase} at {route.name}: scripted models, your routing\n", err=True)
    with (
        tempfile.TemporaryDirectory(prefix="autoroute-rehearsal-", ignore_cleanup_errors=True) as place,
        open_rehearsal(Path(place), environ, options, resolved.config, [fault]) as checked,
    ):
        exit_code = run_in_terminal(begin_run(checked), checked.plan.environ, "plain")
    say(f"\na run of yours would have ended like this: exit code {exit_code}", err=True)
    say("the rehearsal's repository is deleted: its run ids and commands do not apply to yours", err=True)
    return 0
