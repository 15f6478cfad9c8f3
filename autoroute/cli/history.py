"""``autoroute runs, show, diff, merge, discard``: the runs of a repository, and what becomes of their results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

    folder = _open(_repository(), run)
    receipt = redact_value(folder.receipt(), _redaction(context))
    if as_json:
        say_json(receipt)
        return
    say("\n".join(map(_row, _receipt_lines(receipt, folder.path))))


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
    from autoroute.config.paths import registry_folder, workspace_folder
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
        RunRegistry(registry_folder(repository.environ)).forget(place.name)
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

    return Repository.discover(Path.cwd(), read_environment(harden=True))


def _open(repository: Repository, run: str) -> RunFolder:
    from autoroute.store import RunFolder

    return RunFolder.open(repository.root, run)


def _redaction(context: typer.Context) -> Callable[[str], str]:
    """Return the redaction of the keys known now: a journal may be older than a key."""
    from autoroute.config.paths import read_environment
    from autoroute.config.resolve import resolve_user_providers

    known: Redactor = context.obj
    with suppress(AutorouteError):  # bad settings must not prevent a look at a run
        resolve_user_providers(read_environment(harden=True), redactor=known)
    return known.redact


def _row(text: str) -> str:
    """Indent what follows the first line of a text from elsewhere, so that it does not look like a row of ours."""
    return "\n    ".join(text.splitlines())


def _receipt_lines(receipt: dict[str, Any], folder: Path) -> list[str]:
    """Return a receipt for people: verdict, phases and routes, decisions, commands."""
    ending = receipt.get("message") or "still running or interrupted"
    lines = [f"{receipt.get('title', '')}", f"{receipt.get('outcome', 'unfinished')}: {ending}", ""]
    for row in receipt["phases"]:
        served = ", ".join(name or "(not named)" for name in row["served"]) or "(nothing)"
        tokens = row["tokens"]
        cached = tokens["cache_read"] + tokens["cache_write"]
        retries = f", {row['retries']} retries" if row["retries"] else ""
        lines.append(
            f"{row['phase']:<9} {row['provider']}/{row['model']} (requested as {row['requested']}), served by {served}"
        )
        lines.append(
            f"          {row['host']}, account {row['account']}; {_counted(row['requests'], 'request')}{retries}; "
            f"{tokens['input']} in, {cached} cached, {tokens['output']} out; {_usd(row)}; {row['seconds']:.1f} s"
        )
    lines += ["", *map(_decision, receipt["decisions"]), *map(_gate, receipt["gates"])] if _decided(receipt) else []
    lines += ["", *(f"{'passed' if run['passed'] else 'FAILED'}  {run['command']}" for run in receipt["verification"])]
    if receipt.get("sandbox"):
        lines.append(f"sandbox {receipt['sandbox']}")
    if receipt.get("commit"):
        lines += [
            "",
            f"branch {receipt['branch']}, {_counted(receipt['commits'], 'commit')}, tip {receipt['commit'][:12]}",
        ]
    lines += [f"runs automatically: {path} ({why})" for path, why in receipt.get("auto_executed", {}).items()]
    prices = f" ({receipt['prices']})" if receipt.get("prices") else ""
    return [*lines, f"cost {_usd(receipt)}{prices}", f"folder {folder}"]


def _decided(receipt: dict[str, Any]) -> bool:
    return bool(receipt["decisions"] or receipt["gates"])


def _decision(row: dict[str, Any]) -> str:
    """Return what was done about a provider's problem, and who decided it."""
    from autoroute.render.labels import ERRORS, LIMITS

    why = LIMITS.get(row["limit"]) or ERRORS.get(row["error"], row["error"])
    ways = {
        "wait": f"waited {row['waited'] or 0:.0f} s for {row['to']}",
        "switch": f"switched to account {row['to_account']}",
        "fallback": f"fell back to {row['to']}",
        "stop": "the run stopped",
    }
    by = "a person chose it" if row["by"] == "person" else "by the settings"
    head = f"{row['phase']:<9} {row['route']} (account {row['account']}), {why}"
    return f"{head}: {ways.get(row['action'], row['action'])}; {by}"


def _gate(row: dict[str, Any]) -> str:
    words = f": {row['words']}" if row["words"] else ""
    return f"{row['phase']:<9} {row['decision']} by a person{words}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _usd(row: dict[str, Any]) -> str:
    cost = row.get("cost_usd")
    return "not known" if cost is None else f"${cost:.4f}"
