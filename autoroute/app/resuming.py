"""A run that stopped goes on: its record read and checked, its choices resolved again, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoroute.app.plan import RunOptions, check_plan, plan_task
from autoroute.app.run import Run, config_flag
from autoroute.cancellation import CancelToken
from autoroute.config.paths import registry_folder, workspace_folder, workspace_name
from autoroute.config.resolve import resolve_user_providers
from autoroute.config.task import read_task
from autoroute.config.taskfile import TaskFile
from autoroute.engine.policy import Approval
from autoroute.errors import AutorouteError, UsageError, WorkspaceError
from autoroute.events import RunStarted
from autoroute.redaction import Redactor
from autoroute.routing import Phase, Route, RunConfig, Task
from autoroute.state import RunState
from autoroute.store import RunFolder, RunRegistry
from autoroute.tables import merge
from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.repository import Repository

FLAG_TABLES = frozenset({"phases", "budget", "gates", "recovery", "sandbox"})
"""The tables of settings that flags can set; a journal that sets others was not written by autoroute."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller says about the gate that a run waits at: ``approve``, or ``reject`` with what must change."""

    approve: bool = False
    reject: str = ""


def resume_run(
    name: str,
    repository: Repository,
    options: RunOptions,
    *,
    answer: Answer = Answer(),
    probe: bool | None = None,
    redactor: Redactor | None = None,
    cancel: CancelToken | None = None,
) -> Run | str:
    """Return the run ready to go on, its lock held; its id when it is approved and nothing is left to do.

    ``name`` is an id, the beginning of one, or ``latest``. The flags of ``options`` are laid over those of earlier
    sittings. Raises ``WorkspaceError`` for a run that cannot be resumed here, and what ``check_plan`` raises.
    """
    folder = RunFolder.open(repository.root, name)
    redactor = redactor or Redactor()
    with suppress(AutorouteError):  # the keys of today hide in what the lock says; bad settings are reported below
        resolve_user_providers(repository.environ, options.user_file, redactor)
    with ExitStack() as held:
        held.enter_context(folder.lock(redactor.redact(options.command)))
        state = folder.state()
        started = _started(folder, state)
        if state.is_approved:
            _clean_up_approved(repository, folder, started)
            return folder.id
        _check_origin(repository, folder, started)
        past = folder.take_up()
        ahead = state.phases_ahead
        if options.until is not None and options.until not in ahead:
            raise UsageError(f"--until {options.until}: that phase is over", hint=f"still to come: {', '.join(ahead)}")
        approval = _approval(folder, state, options, answer)
        options = replace(
            options, flags=merge(_flags(state), options.flags, lists_to_join=("gates",)), approval=approval
        )
        before = state.routes
        plan = plan_task(_task(started), repository.environ, repository.root, options, before=before, redactor=redactor)
        checked = check_plan(plan, probe, ahead)
        changes = [
            *_task_changes(started, repository.environ, redactor),
            *_base_changes(started, repository),
            *_route_changes(before, checked.plan.config, ahead),
        ]
        return Run(checked, folder, past=past, notices=changes, held=held.pop_all(), cancel=cancel)
    raise AssertionError


def _started(folder: RunFolder, state: RunState) -> RunStarted:
    if state.started is None:
        raise WorkspaceError(
            f"run {folder.id} stopped before its first event: nothing to resume", hint="autoroute run TASK"
        )
    return state.started


def _clean_up_approved(repository: Repository, folder: RunFolder, started: RunStarted) -> None:
    """Do what the sitting that ended with the approval could not do any more: derived files, workspace."""
    if _is_made_here(repository, folder, started):
        folder.take_up()
        folder.derive()
        place = workspace_folder(repository.environ, repository.root, folder.id)
        PrivateClone(repository, place, folder.id, base="").remove()


def _is_made_here(repository: Repository, folder: RunFolder, started: RunStarted) -> bool:
    name = workspace_name(repository.root, folder.id)
    return RunRegistry(registry_folder(repository.environ)).knows(name, started.token)


def _check_origin(repository: Repository, folder: RunFolder, started: RunStarted) -> None:
    """Raise ``WorkspaceError`` for a run that was not created here: a repository can bring a journal of its own."""
    if not _is_made_here(repository, folder, started):
        raise WorkspaceError(
            f"refusing to resume {folder.id}: it was not created on this machine",
            hint="start a run of your own: autoroute run TASK",
        )


def _flags(state: RunState) -> Mapping[str, Any]:
    """Return the flags of the last sitting, which include those of the sittings before it."""
    flags = state.sitting.flags if state.sitting else {}
    if not set(flags) <= FLAG_TABLES:
        unknown = ", ".join(sorted(set(flags) - FLAG_TABLES))
        raise WorkspaceError(f"the journal sets {unknown} as flags, which no flag can set")
    return flags


def _task(started: RunStarted) -> TaskFile:
    """Return the task as it was when the run began."""
    source = Path(started.source) if started.source else None
    name = source.name if source else "standard input"
    return TaskFile(Task(started.title, started.task, name), started.settings, source)


def _approval(folder: RunFolder, state: RunState, options: RunOptions, answer: Answer) -> Approval | None:
    """Return the answer as the engine takes it, with the artifact as it is in the run's folder now."""
    if not answer.approve and not answer.reject:
        return None
    gate = state.position.waiting_gate
    if gate is None:
        raise UsageError(
            f"run {folder.id} is not waiting for approval",
            hint=f"{folder.resume_command}{config_flag(options.user_file)}",
        )
    if answer.reject:
        return Approval("rejected", answer.reject)
    return Approval("approved", content=folder.artifact(gate.artifact) if gate.artifact else None)


def _task_changes(started: RunStarted, environ: Mapping[str, str], redactor: Redactor) -> list[str]:
    """Return a notice if the task file is not what it was. The task on record was redacted, so compare likewise."""
    if not started.source:
        return []
    try:
        file = read_task(started.source, None, Path(started.source).parent, environ=environ)
    except AutorouteError as error:
        return [f"{error.message}: the run continues with the task as it was"]
    if redactor.redact(file.task.text) == started.task:
        return []
    return [f"{Path(started.source).name} has changed since the run started: the run continues with the task as it was"]


def _base_changes(started: RunStarted, repository: Repository) -> list[str]:
    """Return a notice if the branch that the work started from has moved on."""
    name = started.base_ref or "HEAD"
    try:
        now = repository.resolve_commit(started.base_ref) if started.base_ref else repository.head
    except AutorouteError:
        return [f"{name}, where the run started, no longer exists: its commits stay on {started.base[:12]}"]
    if now == started.base or started.include_dirty:
        return []
    return [f"{name} has moved to {now[:12]}: the run's commits stay on {started.base[:12]}"]


def _route_changes(before: Mapping[Phase, Route], config: RunConfig, ahead: Sequence[Phase]) -> list[str]:
    """Return a notice for each phase to come that continues with another model or account than it had."""
    notices = []
    for phase, routing in config.phases.items():
        if phase not in ahead or phase not in before:
            continue
        was, now = before[phase], routing.primary
        if was.name != now.name:
            source = config.sources.get(f"phases.{phase}.model", "default")
            notices.append(f"{phase} continues with {now.name}, not {was.name} (from {source})")
        elif was.account != now.account:
            notices.append(f"{phase} continues with {now.name} on account {now.account}, not {was.account}")
    return notices
