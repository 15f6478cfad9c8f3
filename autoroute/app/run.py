"""A run that a caller holds: opened, observed, driven event by event, and left in a state that ``resume`` takes."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from autoroute.app.drive import Driver
from autoroute.app.plan import CheckedPlan, RunPlan
from autoroute.app.ports import Guard, NoGuard, Observer, Store
from autoroute.app.sandbox import RunCommands, open_commands
from autoroute.cancellation import CancelToken
from autoroute.config.paths import (
    lasting_home,
    registry_folder,
    setup_results_folder,
    workspace_folder,
    workspace_name,
)
from autoroute.engine.context import (
    OpenToolbox,
    Origin,
    RunContext,
    RunFiles,
    RunIdentity,
    Setup,
    SittingOptions,
    Workbench,
)
from autoroute.engine.pipeline import run as run_pipeline
from autoroute.engine.policy import Decider, SystemClock, Unattended
from autoroute.errors import UsageError, WorkspaceError
from autoroute.events import Event, Outcome, RunEnded, RunStarted
from autoroute.receipt import Receipt
from autoroute.store import NotRecorded, RunFolder, RunRegistry, new_run_id
from autoroute.tools import open_toolbox
from autoroute.wire import close_idle_connections
from autoroute.workspace.clone import PrivateClone, plan_base
from autoroute.workspace.setup_results import KeptResults, SetupTerms

Stepped = TypeVar("Stepped")


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, or how far this sitting came.

    ``receipt.as_json()`` is what ``receipt.json`` holds. ``warnings`` are about what could not be cleaned up.
    """

    run: str
    folder: Path
    ended: RunEnded
    receipt: Receipt
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """``approved``, ``rejected``, ``waiting``, ``limited``, ``cancelled`` or ``failed``."""
        return self.ended.outcome

    @property
    def exit_code(self) -> int:
        """What ``autoroute run`` would have ended with."""
        return self.ended.exit_code

    @property
    def message(self) -> str:
        """What happened, for people."""
        return self.ended.message

    @property
    def hint(self) -> str:
        """What to do, for people; "" when there is nothing to do."""
        return self.ended.hint

    @property
    def resume(self) -> str:
        """The command that resumes the run in a terminal; "" when nothing is left to do."""
        return self.ended.resume

    @property
    def retry_at(self) -> datetime | None:
        """When the limit that ended the run is expected to pass, UTC; None when there was none or it is unknown."""
        return self.ended.retry_at

    @property
    def branch(self) -> str:
        """The branch in the repository that has the commits; "" before any were published."""
        return self.receipt.branch if self.receipt.commit else ""

    @property
    def commit(self) -> str:
        """The last commit on that branch; "" before any were published."""
        return self.receipt.commit

    @property
    def cost(self) -> float | None:
        """USD over all sittings; None when a price is unknown."""
        return self.receipt.cost_usd


class Run:
    """One sitting of a run: a context manager that yields its events.

    Whoever iterates drives the run; each event is on disk before it is yielded. Leaving the block early stops the run
    at a safe point, resumable. A run is driven from one thread; ``cancel`` may be called from any.
    """

    def __init__(
        self,
        checked: CheckedPlan,
        store: Store,
        *,
        past: Sequence[Event] = (),
        notices: Sequence[str] = (),
        token: str = "",
        held: ExitStack | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Take a checked plan and a store whose lock is held. ``held`` is closed when the run is left."""
        self._checked = checked
        self._store = store
        self._past = tuple(past)
        self._notices = tuple(notices)
        self._token = token
        self._stack = held or ExitStack()
        self._cancel = cancel or CancelToken()
        self._observers: list[Observer] = []
        self._decider: Decider = Unattended(SystemClock(self._cancel))
        self._guard: Guard = NoGuard()
        self._open_toolbox: OpenToolbox = open_toolbox
        self._driver: Driver | None = None
        self._clone: PrivateClone | None = None
        self._warnings: list[str] = []
        self._result: RunResult | None = None

    @property
    def id(self) -> str:
        """The run's id, by which every command knows it."""
        return self._store.id

    @property
    def folder(self) -> Path:
        """The run's folder in the repository: journal, artifacts, receipt."""
        return self._store.path

    @property
    def checked(self) -> CheckedPlan:
        """What the run was built from."""
        return self._checked

    @property
    def resume_command(self) -> str:
        """The command that resumes this run in a terminal."""
        return f"{self._store.resume_command}{config_flag(self._checked.plan.options.user_file)}"

    def observe(self, observer: Observer) -> None:
        """Show every event from now on to an observer too."""
        self._check_not_begun()
        self._observers.append(observer)

    def decide_with(self, decider: Decider) -> None:
        """Ask ``decider`` where a person or a policy has to decide. Without one, the safe defaults apply."""
        self._check_not_begun()
        self._decider = decider

    def use_toolbox(self, open_toolbox: OpenToolbox) -> None:
        """Make the tools of each phase with this function. See ``tools.open_toolbox``, which it may wrap."""
        self._check_not_begun()
        self._open_toolbox = open_toolbox

    def guard_with(self, guard: Guard) -> None:
        """Protect the hand-over of events from what raises asynchronously, such as a signal handler."""
        self._check_not_begun()
        self._guard = guard

    def cancel(self, reason: str = "cancelled by the caller") -> None:
        """Stop the run at its next safe point, resumable. Any thread may call this."""
        self._cancel.cancel(reason)

    @property
    def cancel_token(self) -> CancelToken:
        """The token that ``cancel`` sets."""
        return self._cancel

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop a run that has begun and not ended, and release its lock and its processes."""
        with self._stack:
            driver = self._driver
            if driver is not None and not driver.is_over:
                self._cancel.cancel("stopped by the caller")
                self._drain()
            close_idle_connections()

    def __iter__(self) -> Iterator[Event]:
        """Drive the run and yield its events. Raises ``NotRecorded`` when the disk takes no more events."""
        driver = self._begin()
        while driver.ended is None:
            yield from self._recorded(driver.step)
        self._conclude(driver.ended)

    def finish(self) -> RunResult:
        """Drive the run to its end; return how it ended."""
        self._drain()
        return self.result

    @property
    def result(self) -> RunResult:
        """How the run ended. Raises ``UsageError`` while it has not ended."""
        ended = self._driver.ended if self._driver else None
        if ended is None:
            raise UsageError(f"run {self.id} has not ended", hint="iterate over it, or call finish()")
        if self._result is None:
            self._result = RunResult(self.id, self.folder, ended, self._store.current_receipt(), tuple(self._warnings))
        return self._result

    @property
    def kept_workspace(self) -> Path | None:
        """The workspace that is kept for ``resume``; None if there is none, or the run has ended with its commits."""
        return self._clone.folder if self._clone is not None and self._clone.folder.is_dir() else None

    def _begin(self) -> Driver:
        """Return the driver; make it, with workspace and commands, when first asked."""
        if self._driver is None:
            plan = self._checked.plan
            self._clone = self._open_clone()
            commands = open_commands(
                plan.resolved,
                self._checked.sandbox,
                plan.environ,
                self._clone,
                self._decider.allow,
                self._stack,
                self._cancel,
            )
            events = run_pipeline(self._context(self._clone, commands), self._past)
            self._driver = Driver(events, self._store, self._observers, plan.redactor.redact, self._cancel, self._guard)
        return self._driver

    def _check_not_begun(self) -> None:
        if self._driver is not None:
            raise UsageError(f"run {self.id} has begun already", hint="set observers and decider before iterating")

    def _recorded(self, step: Callable[[], Stepped]) -> Stepped:
        try:
            return step()
        except NotRecorded as error:
            after = f", then {self.resume_command}" if self._store.begun and not error.lost else ""
            raise WorkspaceError(error.message, hint=f"{error.hint}{after}") from None

    def _drain(self) -> None:
        self._conclude(self._recorded(self._begin().drain))

    def _conclude(self, ended: RunEnded) -> None:
        """Delete the workspace of a run whose commits have arrived; raise the Ctrl-C that ended the run, if one did.

        A workspace that cannot be deleted changes nothing about the result; ``resume`` deletes it later.
        """
        if ended.exit_code == 0 and self._clone is not None:
            clone, self._clone = self._clone, None
            try:
                clone.remove()
            except WorkspaceError as error:
                self._warnings.append(error.message)
        if self._cancel.by_keyboard:
            raise KeyboardInterrupt

    def _open_clone(self) -> PrivateClone:
        """Return the run's private clone, not made yet: from where the run began, if it has a past."""
        plan, options = self._checked.plan, self._checked.plan.options
        sandbox = self._checked.sandbox
        owner, place = (sandbox.confinement.user, sandbox.place) if sandbox else (None, None)
        folder = workspace_folder(plan.environ, plan.repository.root, self.id, mounts=place is not None)
        cache = plan.config.workspace.cache
        home = lasting_home(plan.environ, plan.repository.root) if cache == "repository" else None
        started = next((event for event in self._past if isinstance(event, RunStarted)), None)
        include_dirty = started.include_dirty if started else options.include_dirty
        base = started.base if started else plan_base(plan.repository, options.base, include_dirty=include_dirty)
        return PrivateClone(
            plan.repository,
            folder,
            self.id,
            base=base,
            include_dirty=include_dirty,
            contains_key=plan.redactor.contains_key,
            accept_secrets=options.accept_secrets,
            owner=owner,
            place=place,
            carried={item.path: item.source for item in self._checked.carried},
            home=home,
        )

    def _open_setup_results(self, clone: PrivateClone) -> KeptResults | None:
        """Return what set-ups made in earlier runs, None if this run uses none."""
        plan = self._checked.plan
        sandbox, workspace, environ = plan.config.sandbox, plan.config.workspace, plan.environ
        # Where a person is asked before each command, one that only describes programs is not worth a question.
        is_asked = self._checked.sandbox is None and sandbox.mode != "off"
        if not sandbox.setup or not workspace.setup_cache or workspace.cache == "none" or is_asked:
            return None
        names = (*sandbox.variables, *sandbox.setup_variables)
        terms = SetupTerms(
            run=self.id,
            repository=plan.repository.git_dir,
            commands=sandbox.setup,
            variables={name: environ[name] for name in names if name in environ},
            secrets=tuple(environ[name] for name in sandbox.setup_variables if name in environ),
            place=clone.place,
            owner=clone.layers.owner,
        )
        folder = setup_results_folder(environ)
        return KeptResults(folder, clone.layers, terms, clone.list_base, workspace.setup_cache)

    def _context(self, clone: PrivateClone, commands: RunCommands) -> RunContext:
        checked, plan, options = self._checked, self._checked.plan, self._checked.plan.options
        sandbox = plan.config.sandbox
        origin = Origin(
            token=self._token,
            source=str(plan.task.path or ""),
            base_ref=options.base,
            settings=dict(plan.task.settings),
            flags=dict(options.flags),
            include_dirty=options.include_dirty,
        )
        whole_network = checked.sandbox is not None and sandbox.setup_network.mode == "on"
        return RunContext(
            identity=RunIdentity(
                run=self.id,
                task=plan.task.task,
                repository=str(plan.repository.root),
                branch=clone.branch,
                resume=self.resume_command,
                origin=origin,
            ),
            config=plan.config,
            workbench=Workbench(
                workspace=clone,
                commands=commands.commands,
                setup=Setup(sandbox.setup, commands.setup, whole_network, self._open_setup_results(clone)),
                sandbox=commands.description,
                ripgrep=shutil.which("rg", path=plan.environ.get("PATH")),
                open_toolbox=self._open_toolbox,
            ),
            providers=checked.providers,
            decider=self._decider,
            clock=SystemClock(self._cancel),
            files=RunFiles(logs=self._store.logs, patch=self._store.patch),
            options=SittingOptions(
                until=options.until, approval=options.approval, notices=(*checked.notices, *self._notices)
            ),
            redact=plan.redactor.redact,
            cancel=self._cancel,
        )


def begin_run(checked: CheckedPlan, *, store: Store | None = None, cancel: CancelToken | None = None) -> Run:
    """Return a new run of a checked plan, its folder made and locked. Leaving it unbegun removes the folder.

    A ``store`` takes the place of the folder: no command of autoroute knows such a run.
    Raises ``WorkspaceError`` where the folder or the token of the run cannot be written.
    """
    plan, token = checked.plan, ""
    with ExitStack() as stack:
        if store is None:
            store, token = _create_folder(plan, stack)
        else:
            stack.enter_context(store.lock(plan.holder))
        notices, held = plan.base_notices(), stack.pop_all()
    return Run(checked, store, notices=notices, token=token, held=held, cancel=cancel)


def _create_folder(plan: RunPlan, stack: ExitStack) -> tuple[RunFolder, str]:
    """Create, lock and register the folder of a run; return it with the run's token.

    Closing ``stack`` releases the lock, and removes a folder that has no event yet.
    """
    root, registry = plan.repository.root, RunRegistry(registry_folder(plan.environ))

    def registered(run: str) -> str:
        return workspace_name(root, run)

    id = new_run_id(SystemClock().now(), plan.task.task.title)
    folder = RunFolder.create(root, id, made_here=lambda run: registry.has(registered(run)))

    def forget_unbegun() -> None:
        if not folder.begun:
            folder.remove()
            registry.forget(registered(folder.id))

    stack.callback(forget_unbegun)
    stack.enter_context(folder.lock(plan.holder))
    return folder, registry.enter(registered(folder.id))


def config_flag(user_file: Path | None) -> str:
    """Return the flag that names the settings file again, in a command that works in any folder."""
    return f" --config {shlex.quote(str(user_file.absolute()))}" if user_file else ""
