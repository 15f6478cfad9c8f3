"""``autoroute resume``: continue a stopped run where it stopped, on the same routes or on others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from autoroute.errors import UsageError


def resume(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run's id or the beginning of it (default: the newest).", show_default=False
        ),
    ] = "latest",
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve what the run waits for, as it is in the run's folder.")
    ] = False,
    reject: Annotated[
        str | None,
        typer.Option("--reject", metavar="WORDS", help="Reject what the run waits for; WORDS say what must change."),
    ] = None,
    accept_secrets: Annotated[
        bool, typer.Option("--accept-secrets", help="Accept what looks like a secret in its commits.")
    ] = False,
    spec: SpecRoute = "",
    plan: PlanRoute = "",
    code: CodeRoute = "",
    qa: QaRoute = "",
    fallback: Fallbacks = None,
    effort: Efforts = None,
    until: Until = "",
    gate: Gates = None,
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
    non_interactive: NonInteractive = False,
    format: Format = "",
    deltas: Deltas = False,
    config: ConfigFile = None,
) -> None:
    """Continue a stopped run; finished work is not paid again. Flags change what is left of it."""
    from autoroute.app.plan import RunOptions
    from autoroute.app.resuming import Answer, resume_run
    from autoroute.config.paths import read_environment
    from autoroute.phases import parse_phase
    from autoroute.workspace.repository import Repository

    if approve and reject is not None:
        raise UsageError("--approve and --reject contradict each other", hint="give one of them")
    if reject is not None and not reject.strip():
        raise UsageError("--reject: say what must change", hint='--reject "S2 is two commits: split it"')
    environ = read_environment()
    routes = {"spec": spec, "plan": plan, "code": code, "qa": qa}
    recovery = {"on_limit": on_limit, "max_wait": max_wait}
    confined = sandbox_layer(sandbox, network, setup, setup_network)
    kept = {"carry": carry, "cache": cache}
    options = RunOptions(
        flags=flags_layer(routes, effort, budget, fallback, gate, recovery, confined, kept),
        user_file=config,
        until=parse_phase("--until", until) if until else None,
        accept_secrets=accept_secrets,
        attended=is_attended(environ, interactive=not non_interactive),
        command=command_line(),
    )
    choose_format(format, environ, deltas=deltas)
    repository = Repository.discover(Path.cwd(), environ)
    resumed = resume_run(
        run, repository, options, answer=Answer(approve, reject or ""), probe=probe, redactor=context.obj
    )
    if isinstance(resumed, str):
        say(f"run {resumed} is approved: nothing is left to do\n  autoroute merge {resumed}")
        return
    raise typer.Exit(run_in_terminal(resumed, environ, format, deltas=deltas))
