"""``autoroute clean``: delete the workspaces that runs left on this machine, and what their set-ups made."""

from __future__ import annotations

from typing import Annotated

import typer

from autoroute.cli.console import say
from autoroute.cli.terminal import is_attended
from autoroute.errors import ApprovalNeeded, UsageError


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted, with sizes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete workspaces that failed and stopped runs left, and kept set-ups; branches and run folders stay."""
    from autoroute.app.cleaning import delete_leftover, find_leftovers, show_size
    from autoroute.config.paths import read_environment

    environ = read_environment()
    leftovers = find_leftovers(environ)
    for leftover in leftovers:
        say(leftover.description)
    deletable = [leftover for leftover in leftovers if leftover.state != "running"]
    if not deletable:
        say("nothing to delete")
        return
    total = show_size(sum(leftover.size for leftover in deletable))
    if dry_run:
        say(f"{total} would be deleted")
        return
    if not yes:
        if not is_attended(environ):
            raise UsageError("clean needs a confirmation, and this is not a terminal", hint="autoroute clean --yes")
        if not typer.confirm(f"Delete {total}? Runs that can be resumed then cannot.", err=True):
            raise ApprovalNeeded("nothing was deleted")
    freed = sum(leftover.size for leftover in deletable if delete_leftover(leftover))
    say(f"deleted {show_size(freed)}")
