"""``autoroute resume``: a run that stopped goes on where it stopped, on the same routes or on others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.cli.compose import RunOptions, carry_out, command_line, prove, settle
from autoroute.cli.flags import (
    FLAG_TABLES,
    Budgets,
    CodeRoute,
    ConfigFile,
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
    merge,
    phase_named,
    sandbox_layer,
)
from autoroute.cli.say import say
from autoroute.cli.terminal import choose_format
from autoroute.errors import AutorouteError, UsageError, WorkspaceError

if TYPE_CHECKING:
    from autoroute.config.taskfile import TaskFile
    from autoroute.engine.policy import Approval
    from autoroute.events import Event, RunStarted
    from autoroute.routing import Phase, Route, RunConfig
    from autoroute.store import RunFolder
    from autoroute.workspace.repository import Repository


def resume(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run's id or the beginning of it (default: the newest).", show_default=False
        ),
    ] = "latest",
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve what it waits for, as it stands in the run's folder.")
    ] = False,
    reject: Annotated[
        str | None,
        typer.Option("--reject", metavar="WORDS", help="Send what it waits for back, with what must change."),
    ] = None,
    accept_secrets: Annotated[
        bool, typer.Option("--accept-secrets", help="What looks like a secret in its commits is none.")
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
    probe: Probe = None,
    non_interactive: NonInteractive = False,
    format: Format = "",
    config: ConfigFile = None,
) -> None:
    """Go on with a run that stopped: what is done is not paid again. Flags change what is left of it."""
    from autoroute.config.paths import environment
    from autoroute.config.resolve import own_providers
    from autoroute.store import RunFolder
    from autoroute.workspace.repository import Repository

    if approve and reject is not None:
        raise UsageError("--approve and --reject contradict each other")
    if reject is not None and not reject.strip():
        raise UsageError("--reject: say what must change", hint='--reject "S2 is two commits: split it"')
    environ = environment()
    routes = {"spec": spec, "plan": plan, "code": code, "qa": qa}
    recovery = {"on_limit": on_limit, "max_wait": max_wait}
    confined = sandbox_layer(sandbox, network, setup, setup_network)
    flags = flags_layer(routes, effort, budget, fallback, gate, recovery, confined)
    options = RunOptions(
        format=format,
        interactive=not non_interactive,
        config=config,
        until=phase_named("--until", until) if until else None,
        accept_secrets=accept_secrets,
    )
    choose_format(options.format, environ)
    repository = Repository.discover(Path.cwd(), environ)
    folder = RunFolder.open(repository.root, run)
    with suppress(AutorouteError):  # what is wrong with the settings is said later
        own_providers(environ, config, context.obj)
    with folder.lock(command_line(context.obj.redact)):
        past = folder.events()
        started = _started(folder, past)
        if _is_approved(past):
            _finish(repository, folder, started)
            say(f"run {folder.id} is approved: nothing is left to do\n  autoroute merge {folder.id}")
            return
        _check_origin(repository, folder, started)
        past = folder.take_up()
        ahead = _ahead(past)
        _check_until(options.until, ahead)
        approval = _approval(folder, past, options, approve=approve, words=reject or "")
        options = replace(options, flags=merge(_flags(past), flags), approval=approval)
        task, before = _task(started), _routes(past)
        prepared = settle(task, options.flags, environ, repository.root, config, before, context.obj)
        proved = prove(prepared, probe, options, ahead)
        changes = [
            *_changed_task(started, environ, context.obj.redact),
            *_moved_base(started, repository),
            *_rerouted(past, proved.config, ahead),
        ]
        raise typer.Exit(carry_out(proved, options, folder, past, changes))


def _started(folder: RunFolder, past: Sequence[Event]) -> RunStarted:
    from autoroute.events import RunStarted

    started = next((event for event in past if isinstance(event, RunStarted)), None)
    if started is None:
        raise WorkspaceError(f"run {folder.id} was stopped before it began", hint="autoroute run TASK")
    return started


def _finish(repository: Repository, folder: RunFolder, started: RunStarted) -> None:
    """Do what a run that was approved could not do any more at its end."""
    from autoroute.config.paths import workspace_folder
    from autoroute.workspace.clone import PrivateClone

    if _is_made_here(repository, folder, started):
        folder.take_up()
        folder.derive()
        place = workspace_folder(repository.environ, repository.root, folder.id)
        PrivateClone(repository, place, folder.id, base="").remove()


def _is_made_here(repository: Repository, folder: RunFolder, started: RunStarted) -> bool:
    from autoroute.config.paths import registry_folder, workspace_folder
    from autoroute.store import RunRegistry

    name = workspace_folder(repository.environ, repository.root, folder.id).name
    return RunRegistry(registry_folder(repository.environ)).knows(name, started.token)


def _check_origin(repository: Repository, folder: RunFolder, started: RunStarted) -> None:
    """Raise ``WorkspaceError`` for a run that was not made here: a repository can bring a journal of its own."""
    if not _is_made_here(repository, folder, started):
        raise WorkspaceError(
            f"run {folder.id} was not made here: it is not taken up", hint="autoroute run TASK begins a run of your own"
        )


def _ahead(past: Sequence[Event]) -> tuple[Phase, ...]:
    """The phases that may still be worked on; one that is over counts while its gate is open."""
    from autoroute.events import GateDecided, GateReached, PhaseEnded, PhaseStarted
    from autoroute.routing import Phase

    order, place, over = list(Phase), 0, False
    for event in past:
        match event:
            case PhaseStarted():
                place, over = order.index(event.phase), False
            case PhaseEnded(outcome="done" | "approved"):
                over = True
            case GateReached():
                over = False
            case GateDecided():
                over = event.decision == "approved"
    # After qa may come coding, so neither is ever behind.
    return tuple(order[min(place + over, order.index(Phase.CODING)) :])


def _check_until(until: Phase | None, ahead: Sequence[Phase]) -> None:
    if until is not None and until not in ahead:
        raise UsageError(f"--until {until}: that phase is over", hint=f"{', '.join(ahead)} are still to come")


def _is_approved(past: Sequence[Event]) -> bool:
    from autoroute.events import RunEnded, RunResumed

    last = next((event for event in reversed(past) if isinstance(event, RunEnded | RunResumed)), None)
    return isinstance(last, RunEnded) and last.outcome == "approved"


def _flags(past: Sequence[Event]) -> Mapping[str, Any]:
    """The flags of the last sitting, which had those of the sittings before it."""
    from autoroute.events import RunResumed, RunStarted

    flags = next(event.flags for event in reversed(past) if isinstance(event, RunStarted | RunResumed))
    if not set(flags) <= FLAG_TABLES:
        raise WorkspaceError(f"the journal's flags set {', '.join(set(flags) - FLAG_TABLES)}, which no flag can")
    return flags


def _task(started: RunStarted) -> TaskFile:
    """The task as it was when the run began."""
    from autoroute.config.taskfile import TaskFile
    from autoroute.routing import Task

    source = Path(started.source) if started.source else None
    name = source.name if source else "standard input"
    return TaskFile(Task(started.title, started.task, name), started.settings, source)


def _approval(
    folder: RunFolder, past: Sequence[Event], options: RunOptions, *, approve: bool, words: str
) -> Approval | None:
    """What the flags say of the gate that the run waits at, the artifact as it stands in the run's folder included."""
    from autoroute.engine.policy import Approval
    from autoroute.events import GateDecided, GateReached

    if not approve and not words:
        return None
    gate = next((event for event in reversed(past) if isinstance(event, GateReached | GateDecided)), None)
    if not isinstance(gate, GateReached):
        raise UsageError(
            f"run {folder.id} waits for no approval", hint=f"autoroute resume {folder.id}{options.named_config}"
        )
    if words:
        return Approval("rejected", words)
    return Approval("approved", content=folder.artifact(gate.artifact) if gate.artifact else None)


def _changed_task(started: RunStarted, environ: Mapping[str, str], redact: Callable[[str], str]) -> list[str]:
    """What is to be said when the task is not what it was; what is on record was redacted."""
    from autoroute.config.task import read_task

    if not started.source:
        return []
    try:
        file = read_task(started.source, sys.stdin.buffer, Path(started.source).parent, environ=environ)
    except AutorouteError as error:
        return [f"{error.message}: the run goes on with the task as it was"]
    if redact(file.task.text) == started.task:
        return []
    name = Path(started.source).name
    return [f"{name} has changed since the run began: the run goes on with the task as it was"]


def _moved_base(started: RunStarted, repository: Repository) -> list[str]:
    """What is to be said when the branch that the work started from has moved on."""
    name = started.base_ref or "HEAD"
    try:
        now = repository.resolve(started.base_ref) if started.base_ref else repository.head
    except AutorouteError:
        return [f"{name}, where the work started, is gone: the run's commits stay on {started.base[:12]}"]
    if now == started.base or started.include_dirty:
        return []
    return [f"{name} has moved to {now[:12]} since: the run's commits stay on {started.base[:12]}"]


def _rerouted(past: Sequence[Event], config: RunConfig, ahead: Sequence[Phase]) -> list[str]:
    """What is to be said of phases that go on with another model or account than they had."""
    before = _routes(past)
    said = []
    for phase, routing in config.phases.items():
        if phase not in ahead or phase not in before:
            continue
        was, now = before[phase], routing.primary
        if was.name != now.name:
            source = config.sources.get(f"phases.{phase}.model", "default")
            said.append(f"{phase} goes on with {now.name}, not {was.name}: {source}")
        elif was.account != now.account:
            said.append(f"{phase} goes on with {now.name} on account {now.account}, not {was.account}")
    return said


def _routes(past: Sequence[Event]) -> Mapping[Phase, Route]:
    """The routes of the last sitting."""
    from autoroute.events import RunResumed, RunStarted

    return next(event.routes for event in reversed(past) if isinstance(event, RunStarted | RunResumed))
