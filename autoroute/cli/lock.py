"""``autoroute lock``: writes what the routing resolves to today, so that ``run --locked`` can reject any other."""

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
    """Check the routing, and write its exact models, endpoints and prices to autoroute.lock."""
    from autoroute.config.paths import read_environment
    from autoroute.config.resolve import resolve_config
    from autoroute.preflight.results import raise_for_errors
    from autoroute.preflight.routing_lock import LOCK_FILE, lock_rows, write_lock
    from autoroute.workspace.repository import Repository

    environ = read_environment()
    root = Repository.discover(Path.cwd(), environ).root
    flags = flags_layer({"spec": spec, "plan": plan, "code": code, "qa": qa}, effort, fallbacks=fallback)
    resolved = resolve_config(
        repository=root,
        environ=environ,
        flags=flags,
        user_file=config,
        open_runner=runner_opener(environ),
        redactor=context.obj,
    )
    preflight = open_preflight(resolved, environ)
    report = preflight.run("if_unknown")
    show_check_results([result for result in report.results if result.status != "ok"])
    raise_for_errors(report.results)
    write_lock(root / LOCK_FILE, lock_rows(report.config, resolved.catalog, preflight.services.probe_cache))
    say(f"wrote {root / LOCK_FILE}")
