"""``autoroute lock``: write down what the routing means today, for ``run --locked`` to insist on."""

from __future__ import annotations

from pathlib import Path

import typer

from autoroute.app.services import open_preflight, runner_opener
from autoroute.cli.check_results import show_check_results
from autoroute.cli.console import say
from autoroute.cli.flags import (
    CodeRoute,
    ConfigFile,
    Efforts,
    Fallbacks,
    PlanRoute,
    QaRoute,
    SpecRoute,
    flags_layer,
)


def lock(
    context: typer.Context,
    spec: SpecRoute = "",
    plan: PlanRoute = "",
    code: CodeRoute = "",
    qa: QaRoute = "",
    fallback: Fallbacks = None,
    effort: Efforts = None,
    config: ConfigFile = None,
) -> None:
    """Prove the routing, and write its exact models, endpoints and prices to autoroute.lock."""
    from autoroute.config.paths import read_environment
    from autoroute.config.resolve import resolve_config
    from autoroute.preflight.results import raise_for_errors
    from autoroute.preflight.routing_lock import LOCK_FILE, lock_rows, write_lock
    from autoroute.workspace.repository import Repository

    environ = read_environment(harden=True)
    root = Repository.discover(Path.cwd(), environ).root
    flags = flags_layer({"spec": spec, "plan": plan, "code": code, "qa": qa}, effort, fallbacks=fallback)
    settled = resolve_config(
        repository=root,
        environ=environ,
        flags=flags,
        user_file=config,
        open_runner=runner_opener(environ),
        redactor=context.obj,
    )
    preflight = open_preflight(settled, environ)
    report = preflight.run("known")
    show_check_results([finding for finding in report.findings if finding.status != "ok"])
    raise_for_errors(report.findings)
    write_lock(root / LOCK_FILE, lock_rows(report.config, settled.catalog, preflight.verdicts))
    say(f"wrote {root / LOCK_FILE}")
