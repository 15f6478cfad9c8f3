"""``autoroute runs, show, diff, merge, discard``: the runs of a repository, and what becomes of their results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoroute.cli.console import say, say_json
from autoroute.cli.terminal import is_attended
from autoroute.errors import ApprovalNeeded, AutorouteError, UsageError, WorkspaceError

if TYPE_CHECKING:
    from autoroute.redaction import Redactor
    from autoroute.store import RunFolder
    from autoroute.workspace.repository import Repository

_LONGEST_PATH = 500
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's id or the beginning of it (default: the newest).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def runs(context: typer.Context, as_json: AsJson = False) -> None:
    """List the runs of this repository, newest first."""
    from dataclasses import asdict

    from autoroute.redaction import redact_value
    from autoroute.store import list_runs

    summaries = redact_value(list_runs(_repository().root), _redaction(context))
    if as_json:
        say_json([asdict(summary) for summary in summaries])
        return
    if not summaries:
        say("no runs in this repository yet", err=True)
    for summary in summaries:
        say(_row(f"{summary.id:<44} {summary.state:<12} {summary.title}"))


def show(context: typer.Context, run: Run = "latest", as_json: AsJson = False) -> None:
    """Show what a run did: its verdict, who served each phase, and where everything is."""
    from autoroute.redaction import redact_value
    from autoroute.render.receipt_lines import receipt_lines

    folder = _open(_repository(), run)
    receipt = redact_value(folder.receipt(), _redaction(context))
    if as_json:
        say_json(receipt.as_json())
        return
    say("\n".join(map(_row, receipt_lines(receipt, folder.path))))


def diff(run: Run = "latest") -> None:
    """Print the change that a run made, as a patch."""
    from autoroute.render.patch import show_patch

    repository = _repository()
    folder = _open(repository, run)
    change = folder.change()
    if change is None:
        raise WorkspaceError(f"run {folder.id} has no change yet", hint=f"autoroute show {folder.id}")
    show_patch(change)


def merge(
    run: Run = "latest",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Merge files that run automatically without asking.")
    ] = False,
) -> None:
    """Merge a run's branch into the current branch."""
    from autoroute.workspace.repository import RUN_BRANCHES

    repository = _repository()
    folder = _open(repository, run)
    summary = folder.summary()
    if summary.state != "approved":
        say(f"warning: run {folder.id} was not approved (state: {summary.state})", err=True)
    # Not the branch that the journal names: a repository can bring a journal of its own.
    branch = f"{RUN_BRANCHES}{folder.id}"
    if not yes:
        _confirm_auto_executed(repository, branch, folder.id)
    new = repository.merge(branch)
    say(f"merged {branch} into {repository.branch}" if new else f"{branch} is already merged into {repository.branch}")


def _confirm_auto_executed(repository: Repository, branch: str, run: str) -> None:
    """Show which files of a change run automatically, and ask. Raises ``ApprovalNeeded`` without a yes."""
    found = repository.find_auto_executed(branch)
    if not found:
        return
    from autoroute.render.clean import clean_line

    say("this change touches files that run automatically:", err=True)
    for path, why in found.items():
        say(f"  {clean_line(path, _LONGEST_PATH)} ({why})", err=True)
    if not is_attended(repository.environ):
        raise ApprovalNeeded(
            "merge needs a confirmation, and this is not a terminal",
            hint=f"look at autoroute diff {run}, then run autoroute merge {run} --yes",
        )
    if not typer.confirm("Merge it?", err=True):
        raise ApprovalNeeded("nothing was merged", hint=f"autoroute diff {run}")


def discard(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or the beginning of it, or latest.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run: its branch, its folder and its workspace."""
    from autoroute.config.paths import registry_folder, workspace_folder, workspace_name
    from autoroute.store import RunRegistry
    from autoroute.workspace.clone import PrivateClone

    repository = _repository()
    folder = _open(repository, run)
    if not yes:
        if not is_attended(repository.environ):
            raise UsageError(
                "discard needs a confirmation, and this is not a terminal", hint=f"autoroute discard {folder.id} --yes"
            )
        say(f"branch {folder.summary().branch}, folder {folder.path}", err=True)
        if not typer.confirm("Delete both?", err=True):
            raise ApprovalNeeded("nothing was deleted")
    with folder.lock(f"autoroute discard {folder.id}"):
        repository.delete_branch(folder.id, _commits(folder))
        place = workspace_folder(repository.environ, repository.root, folder.id)
        PrivateClone(repository, place, folder.id, base="").remove()
        RunRegistry(registry_folder(repository.environ)).forget(workspace_name(repository.root, folder.id))
        folder.remove()
    say(f"discarded {folder.id}")


def _commits(folder: RunFolder) -> set[str]:
    """Return the commits of a run, as far as its journal can be read."""
    from autoroute.events import Committed, RunStarted

    made = set()
    with suppress(WorkspaceError):
        for event in folder.events():
            if isinstance(event, Committed):
                made.add(event.commit)
            elif isinstance(event, RunStarted):
                made.add(event.base)
    return made


def _repository() -> Repository:
    from autoroute.config.paths import read_environment
    from autoroute.workspace.repository import Repository

    return Repository.discover(Path.cwd(), read_environment())


def _open(repository: Repository, run: str) -> RunFolder:
    from autoroute.store import RunFolder

    return RunFolder.open(repository.root, run)


def _redaction(context: typer.Context) -> Callable[[str], str]:
    """Return the redaction of the keys known now: a journal may be older than a key."""
    from autoroute.config.paths import read_environment
    from autoroute.config.resolve import resolve_user_providers

    known: Redactor = context.obj
    with suppress(AutorouteError):  # bad settings must not prevent a look at a run
        resolve_user_providers(read_environment(), redactor=known)
    return known.redact


def _row(text: str) -> str:
    """Indent what follows the first line of a text from elsewhere, so that it does not look like a row of ours."""
    return "\n    ".join(text.splitlines())
