"""The composition root: the parts of a run put together."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoroute.cli.parts import open_preflight, runner_opener
from autoroute.cli.say import say
from autoroute.cli.terminal import SHOW_CURSOR, choose_format, is_attended, open_renderer
from autoroute.errors import AutorouteError, WorkspaceError

if TYPE_CHECKING:
    from autoroute.cli.reach import Reach
    from autoroute.config.resolve import ResolvedConfig
    from autoroute.config.taskfile import TaskFile
    from autoroute.engine.context import Origin
    from autoroute.engine.policy import Approval, Decider
    from autoroute.events import Event
    from autoroute.redaction import Redactor
    from autoroute.render import Renderer
    from autoroute.routing import Phase, Route, RunConfig
    from autoroute.store import RunFolder
    from autoroute.workspace.clone import PrivateClone
    from autoroute.workspace.repository import Repository
    from autoroute.workspace.sandbox.confinement import Sandbox


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told on the command line apart from its configuration.

    ``format`` "" means: what fits. ``flags`` are those that were given, ``config`` the file that took the place of the
    user's; ``until`` and ``approval`` are the engine's, see ``RunContext``; ``token`` is what the run is known by here;
    ``accept_secrets`` is a person's word that what looks like a secret in its commits is none.
    """

    base: str = ""
    include_dirty: bool = False
    format: str = ""
    interactive: bool = True
    flags: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None
    until: Phase | None = None
    approval: Approval | None = None
    token: str = ""
    accept_secrets: bool = False

    @property
    def named_config(self) -> str:
        """The flag that names the settings file again, in a command that works in any folder."""
        return f" --config {shlex.quote(str(self.config.absolute()))}" if self.config else ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose configuration is settled; nothing is spent or made yet."""

    repository: Repository
    file: TaskFile
    settled: ResolvedConfig
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Proved:
    """A run whose preflight has passed. ``config`` has what that showed of its routes; ``notices`` say so.

    ``sandbox`` was tried out; None where nothing holds commands back, and that was said or somebody is asked.
    """

    prepared: Prepared
    config: RunConfig
    reach: Reach
    notices: tuple[str, ...]
    sandbox: Sandbox | None = None


def prepare(
    task: str,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    folder: Path,
    user_file: Path | None,
    redactor: Redactor | None = None,
) -> Prepared:
    """Read the task and settle every choice; ``redactor`` learns the keys."""
    from autoroute.config.task import read_task

    file = read_task(task, sys.stdin.buffer, folder, environ=environ)
    return settle(file, flags, environ, folder, user_file, redactor=redactor)


def settle(
    file: TaskFile,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    folder: Path,
    user_file: Path | None,
    before: Mapping[Phase, Route] | None = None,
    redactor: Redactor | None = None,
) -> Prepared:
    """Settle every choice for a task that was read; ``before`` are the routes of a run that goes on."""
    from autoroute.config.resolve import load
    from autoroute.workspace.repository import Repository

    repository = Repository.discover(folder, environ)
    settled = load(
        repository=repository.root,
        environ=environ,
        flags=flags,
        user_file=user_file,
        task=file,
        open_runner=runner_opener(environ),
        before=before,
        redactor=redactor,
    )
    return Prepared(repository, file, settled, environ)


def prove(prepared: Prepared, probe: bool | None, options: RunOptions, phases: Sequence[Phase] | None = None) -> Proved:
    """Try the sandbox and check every route before a token is spent; raises one error for all that is wrong.

    ``phases`` are those that are still to come; None is all.
    """
    from autoroute.cli import sandbox as holding
    from autoroute.cli.reach import Reach
    from autoroute.config.paths import user_state_folder
    from autoroute.preflight.results import refuse
    from autoroute.providers.pacing import Pacer
    from autoroute.redaction import redact_value

    settled = prepared.settled
    attended = is_attended(prepared.environ, interactive=options.interactive)
    sandbox = holding.choose_sandbox(settled.config.sandbox, prepared.environ, prepared.repository, attended=attended)
    preflight = open_preflight(settled, prepared.environ)
    report = preflight.run("known" if probe is None else "force" if probe else "never", phases)
    refuse(report.findings)
    spent = [f"preflight took {report.tokens} tokens to try tool calling"] if report.tokens else []
    warnings = [
        f"{finding.details['route']}: {finding.summary}"
        for finding in report.findings
        if finding.status == "warning" and "route" in finding.details
    ]
    pacer = Pacer(user_state_folder(prepared.environ) / "pace", settled.profiles, preflight.now)
    reach = Reach(settled, preflight.prices, preflight.cooldowns, pacer, preflight.recheck, preflight.now)
    about_sandbox = holding.notices(settled.config.sandbox, sandbox)
    notices = tuple(dict.fromkeys((*settled.notices, *about_sandbox, *warnings, *spent)))
    # Keys of phases that are over are not checked again, and are hidden from those to come all the same.
    for routing in report.config.phases.values():
        for route in (routing.primary, *routing.fallbacks):
            with suppress(AutorouteError):
                settled.credentials.find(route)
    # A run is called after its task, in places that no event passes.
    prepared = replace(prepared, file=redact_value(prepared.file, settled.credentials.redactor.redact))
    return Proved(prepared, report.config, reach, notices, sandbox)


def check_lock(proved: Proved) -> None:
    """Raise ``ConfigError`` where the routing is not the one that was locked."""
    from autoroute.preflight.lock import FILE, check, describe

    prepared = proved.prepared
    verdicts = open_preflight(prepared.settled, prepared.environ).verdicts
    check(prepared.repository.root / FILE, describe(proved.config, prepared.settled.catalog, verdicts))


def execute(proved: Proved, options: RunOptions) -> int:
    """Run it, in a new folder; the exit code."""
    from autoroute.config.paths import registry_folder, workspace_folder
    from autoroute.engine.policy import SystemClock
    from autoroute.store import RunFolder, RunRegistry, new_run_id

    prepared = proved.prepared
    root, title = prepared.repository.root, prepared.file.task.title
    notices = _notices(prepared.repository, options, prepared.file)
    registry = RunRegistry(registry_folder(prepared.environ))

    def name(run: str) -> str:
        return workspace_folder(prepared.environ, root, run).name

    folder = RunFolder.create(
        root, new_run_id(SystemClock().now(), title), made_here=lambda run: registry.has(name(run))
    )
    try:
        with folder.lock(command_line(prepared.settled.credentials.redactor.redact)):
            token = registry.enter(name(folder.id))
            return carry_out(proved, replace(options, token=token), folder, notices=notices)
    finally:
        if not folder.begun:
            folder.remove()
            registry.forget(name(folder.id))


def carry_out(
    proved: Proved, options: RunOptions, folder: RunFolder, past: Sequence[Event] = (), notices: Sequence[str] = ()
) -> int:
    """Run it in a folder whose lock is held, from where the ``past`` ends; the exit code."""
    import shutil
    from contextlib import ExitStack

    from autoroute.cli.carry import carry
    from autoroute.cli.sandbox import prepare_ground
    from autoroute.cli.signals import Cancellation
    from autoroute.engine.context import Preparation, RunContext
    from autoroute.engine.pipeline import run as run_pipeline
    from autoroute.engine.policy import SystemClock
    from autoroute.store import NotRecorded

    prepared, clone = proved.prepared, _workspace(proved, options, folder, past)
    resume = f"autoroute resume {folder.id}{options.named_config}"
    redactor, held = prepared.settled.credentials.redactor, prepared.settled.config.sandbox
    renderer = open_renderer(options.format, prepared.environ)
    cursor = SHOW_CURSOR if choose_format(options.format, prepared.environ) == "live" else ""
    with Cancellation(f"{cursor}\n{resume}\n") as cancellation, renderer, ExitStack() as stack:
        decider = _decider(options, proved, renderer, folder, resume)
        ground = prepare_ground(
            prepared.settled, proved.sandbox, prepared.environ, clone.root, clone.mark, decider.allow, stack
        )
        context = RunContext(
            run=folder.id,
            task=prepared.file.task,
            repository=str(prepared.repository.root),
            branch=clone.branch,
            config=proved.config,
            workspace=clone,
            commands=ground.commands,
            providers=proved.reach,
            decider=decider,
            clock=SystemClock(),
            logs=folder.logs,
            patch=folder.patch,
            resume=resume,
            origin=_origin(prepared.file, options),
            prices=proved.reach.prices.version,
            notices=(*proved.notices, *notices),
            ripgrep=shutil.which("rg", path=prepared.environ.get("PATH")),
            until=options.until,
            approval=options.approval,
            preparation=Preparation(
                held.setup, ground.setup, whole=proved.sandbox is not None and held.setup_network.network == "on"
            ),
            sandbox=ground.words,
            redact=redactor.redact,
        )
        try:
            exit_code = carry(run_pipeline(context, past), folder, renderer, cancellation, redactor.redact)
        except NotRecorded as error:
            after = f", then {resume}" if folder.begun and not error.lost else ""
            raise WorkspaceError(error.message, hint=f"{error.hint}{after}") from None
        left = _clear_away(clone) if exit_code == 0 else ""
    if left:
        say(f"warning: {left}", err=True)
    return exit_code


def _clear_away(clone: PrivateClone) -> str:
    """Delete the workspace of a run whose commits have arrived; what of it stayed, which changes nothing of that.

    Nothing can be interrupted any more: a second signal kills, and `resume` takes away what is left.
    """
    try:
        clone.remove()
    except WorkspaceError as error:
        return error.message
    return ""


def _workspace(proved: Proved, options: RunOptions, folder: RunFolder, past: Sequence[Event]) -> PrivateClone:
    """The run's private clone, as yet untouched: from where it began, if it has a past."""
    from autoroute.config.paths import workspace_folder
    from autoroute.events import RunStarted
    from autoroute.workspace.clone import PrivateClone

    prepared, owner = proved.prepared, proved.sandbox.confinement.user if proved.sandbox else None
    holds = prepared.settled.credentials.redactor.contains_key
    place = workspace_folder(prepared.environ, prepared.repository.root, folder.id)
    started = next((event for event in past if isinstance(event, RunStarted)), None)
    if started is not None:
        return PrivateClone(
            prepared.repository,
            place,
            folder.id,
            base=started.base,
            include_dirty=started.include_dirty,
            contains_key=holds,
            accept_secrets=options.accept_secrets,
            owner=owner,
        )
    return PrivateClone.plan(
        prepared.repository,
        place,
        folder.id,
        base=options.base or None,
        include_dirty=options.include_dirty,
        contains_key=holds,
        owner=owner,
    )


def _origin(file: TaskFile, options: RunOptions) -> Origin:
    from autoroute.engine.context import Origin

    return Origin(
        token=options.token,
        source=str(file.path or ""),
        base_ref=options.base,
        settings=dict(file.settings),
        flags=dict(options.flags),
        include_dirty=options.include_dirty,
    )


def command_line(redact: Callable[[str], str]) -> str:
    """What this process is, for those who find a run taken."""
    return redact(shlex.join(["autoroute", *sys.argv[1:]]))


def _decider(options: RunOptions, proved: Proved, renderer: Renderer, folder: RunFolder, resume: str) -> Decider:
    """Who decides: the person at the terminal, or nobody."""
    from autoroute.engine.policy import SystemClock, Unattended

    environ = proved.prepared.environ
    if not is_attended(environ, interactive=options.interactive):
        return Unattended(SystemClock())
    from autoroute.cli.prompts import AtTerminal

    editor = environ.get("VISUAL") or environ.get("EDITOR", "")
    return AtTerminal(renderer, SystemClock(), folder.path, proved.config.recovery.ask_for, resume, editor)


def _notices(repository: Repository, options: RunOptions, file: TaskFile) -> tuple[str, ...]:
    """What the user should know about where the work starts from."""
    notices = [file.hidden] if file.hidden else []
    if repository.head and not repository.branch and not options.base:
        notices.append(f"HEAD is detached: the run starts from commit {repository.head[:12]}")
    dirty = [path for path in repository.dirty() if not file.covers(repository.root / path)]
    if dirty and not options.include_dirty:
        more = f" and {len(dirty) - 5} more" if len(dirty) > 5 else ""
        left_out = ", ".join(dirty[:5]) + more
        notices.append(f"uncommitted changes are not part of this run: {left_out} (--include-dirty brings them in)")
    return tuple(notices)
