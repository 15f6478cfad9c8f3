"""``autoroute demo``: the whole pipeline on a small repository and scripted models, with no key and no network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from autoroute.cli.console import say
from autoroute.cli.run_in_terminal import command_line, run_in_terminal
from autoroute.cli.terminal import choose_format, is_attended
from autoroute.errors import UsageError


def demo(
    format: Annotated[str, typer.Option(metavar="live|plain|jsonl", help="How to show progress.")] = "",
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for the repository (default: a temporary one).")
    ] = None,
) -> None:
    """Practice: plan with Claude's protocol, code with GLM's, on scripted models; no key, no network."""
    from autoroute.app.plan import RunOptions
    from autoroute.app.rehearsal import open_demo
    from autoroute.app.run import begin_run
    from autoroute.config.paths import read_environment
    from autoroute.render.patch import show_patch
    from autoroute.store import RunFolder

    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="autoroute-demo-"))
    project = place / "project"
    if project.exists():
        raise UsageError(f"{project} already exists", hint="autoroute demo --folder ANOTHER")
    environ = read_environment()
    choose_format(format, environ)
    say("The models of this demo are scripted; the pipeline, HTTP, git and the tests are real.\n", err=True)
    options = RunOptions(attended=is_attended(environ), command=command_line())
    with open_demo(place, environ, options) as checked:
        exit_code = run_in_terminal(begin_run(checked), environ, format)
    change = RunFolder.open(project, "latest").change()
    if format != "jsonl" and change:
        say()
        show_patch(change)
    way_on = "Continue in" if exit_code == 0 else "They have stopped, so this run cannot be resumed. Look at"
    say(f"\nThe models were scripted, the rest was real. {way_on} the demo's repository:  cd {project}", err=True)
    raise typer.Exit(exit_code)
