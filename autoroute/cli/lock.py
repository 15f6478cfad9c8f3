"""``autoroute lock``: write down what the routing means today, for ``run --locked`` to insist on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoroute.cli.compose import open_preflight
from autoroute.cli.findings import show_findings
from autoroute.cli.flags import flags_layer


def lock(
    spec: Annotated[str, typer.Option("--spec", metavar="ROUTE", help="As for run.")] = "",
    plan: Annotated[str, typer.Option("--plan", metavar="ROUTE", help="As for run.")] = "",
    code: Annotated[str, typer.Option("--code", metavar="ROUTE", help="As for run.")] = "",
    qa: Annotated[str, typer.Option("--qa", metavar="ROUTE", help="As for run.")] = "",
    effort: Annotated[list[str] | None, typer.Option("--effort", metavar="[PHASE=]LEVEL", help="As for run.")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file in place of your own config.toml.")
    ] = None,
) -> None:
    """Prove the routing, and write its exact models, endpoints and prices to autoroute.lock."""
    from autoroute.config.places import environment
    from autoroute.config.settle import load
    from autoroute.preflight.findings import refuse
    from autoroute.preflight.lock import FILE, describe, write
    from autoroute.workspace.repository import Repository

    environ = environment()
    root = Repository.discover(Path.cwd(), environ).root
    flags = flags_layer({"spec": spec, "plan": plan, "code": code, "qa": qa}, effort or [])
    settled = load(repository=root, environ=environ, flags=flags, user_file=config)
    preflight = open_preflight(settled, environ)
    report = preflight.run("known")
    show_findings([finding for finding in report.findings if finding.status != "ok"])
    refuse(report.findings)
    write(root / FILE, describe(report.config, settled.catalogue, preflight.verdicts))
    typer.echo(f"wrote {root / FILE}")
