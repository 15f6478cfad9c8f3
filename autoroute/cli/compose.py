"""The composition root: the parts of a run put together, and its events carried to the store and the screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoroute.errors import AutorouteError

if TYPE_CHECKING:
    from autoroute.cli.signals import Cancellation
    from autoroute.config.settle import Settled
    from autoroute.config.taskfile import TaskFile
    from autoroute.engine.policy import Decide
    from autoroute.events import Event
    from autoroute.preflight import Preflight
    from autoroute.providers.prices import Prices
    from autoroute.render import Renderer
    from autoroute.routing import Route, RunConfig
    from autoroute.store import RunFolder
    from autoroute.workspace.repository import Repository


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told on the command line apart from its configuration. ``format`` "" means: what fits."""

    base: str = ""
    include_dirty: bool = False
    format: str = ""
    interactive: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose configuration is settled; nothing is spent or made yet."""

    repository: Repository
    file: TaskFile
    settled: Settled
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Proved:
    """A run whose preflight has passed. ``config`` has what that showed of its routes; ``notices`` say so."""

    prepared: Prepared
    config: RunConfig
    recheck: Callable[[Route], None]
    prices: Prices
    notices: tuple[str, ...]


def prepare(
    task: str, flags: Mapping[str, Any], environ: Mapping[str, str], folder: Path, user_file: Path | None
) -> Prepared:
    """Read the task and settle every choice."""
    from autoroute.config.settle import load
    from autoroute.config.task import read_task
    from autoroute.workspace.repository import Repository

    file = read_task(task, sys.stdin.buffer, folder, environ=environ)
    repository = Repository.discover(folder, environ)
    settled = load(repository=repository.root, environ=environ, flags=flags, user_file=user_file, task=file)
    return Prepared(repository, file, settled, environ)


def open_preflight(settled: Settled, environ: Mapping[str, str]) -> Preflight:
    """The checks for a settled configuration."""
    from autoroute.config.places import user_cache_folder
    from autoroute.engine.policy import SystemClock
    from autoroute.preflight import Preflight
    from autoroute.preflight.verdicts import Verdicts
    from autoroute.providers.prices import Prices

    clock = SystemClock()
    verdicts = Verdicts(user_cache_folder(environ) / "verdicts", clock.now)
    prices = Prices(settled.catalogue, settled.profiles)
    return Preflight(settled.config, settled.credentials, settled.catalogue, prices, verdicts, clock.now)


def prove(prepared: Prepared, probe: bool | None) -> Proved:
    """Check every route before a token is spent on the task; raises one error for all that is wrong."""
    from autoroute.preflight.findings import refuse

    preflight = open_preflight(prepared.settled, prepared.environ)
    report = preflight.run("known" if probe is None else "force" if probe else "never")
    refuse(report.findings)
    spent = [f"preflight took {report.tokens} tokens to try tool calling"] if report.tokens else []
    warnings = [
        f"{finding.details['route']}: {finding.summary}"
        for finding in report.findings
        if finding.status == "warning" and "route" in finding.details
    ]
    notices = tuple(dict.fromkeys((*prepared.settled.notices, *warnings, *spent)))
    return Proved(prepared, report.config, preflight.recheck, preflight.prices, notices)


def check_lock(proved: Proved) -> None:
    """Raise ``ConfigError`` where the routing is not the one that was locked."""
    from autoroute.preflight.lock import FILE, check, describe

    prepared = proved.prepared
    verdicts = open_preflight(prepared.settled, prepared.environ).verdicts
    check(prepared.repository.root / FILE, describe(proved.config, prepared.settled.catalogue, verdicts))


def execute(proved: Proved, options: RunOptions) -> int:
    """Run it; the exit code."""
    import shutil

    from autoroute.cli.signals import Cancellation
    from autoroute.config.places import user_state_folder
    from autoroute.engine.job import Job
    from autoroute.engine.pipeline import run as run_pipeline
    from autoroute.engine.policy import SystemClock
    from autoroute.providers.served import same_model
    from autoroute.store import RunFolder, new_run_id
    from autoroute.workspace.clone import PrivateClone
    from autoroute.workspace.commands import LocalCommands

    clock, prepared = SystemClock(), proved.prepared
    repository, task = prepared.repository, prepared.file.task
    folder = RunFolder.create(repository.root, new_run_id(clock.now(), task.title))
    renderer = _open_renderer(options, prepared.environ)
    with Cancellation() as cancellation, folder.lock(), renderer:
        clone = PrivateClone.create(
            repository,
            user_state_folder(prepared.environ) / "workspaces" / folder.id,
            folder.id,
            base=options.base or None,
            include_dirty=options.include_dirty,
        )
        job = Job(
            run=folder.id,
            task=task,
            repository=str(repository.root),
            branch=clone.branch,
            config=proved.config,
            workspace=clone,
            commands=LocalCommands(prepared.environ),
            connect=partial(_connect, prepared.settled),
            decide=_decider(options, prepared.environ, renderer),
            clock=clock,
            logs=folder.logs,
            patch=folder.patch,
            cost=lambda route, usage: proved.prices.cost(route, usage, clock.now()),
            same_model=partial(same_model, prepared.settled.catalogue),
            recheck=proved.recheck,
            prices=proved.prices.version,
            notices=(*proved.notices, *_notices(repository, options, prepared.file)),
            ripgrep=shutil.which("rg", path=prepared.environ.get("PATH")),
        )
        exit_code = carry(run_pipeline(job), folder, renderer, cancellation)
        if exit_code == 0:
            clone.remove()
    return exit_code


def carry(
    events: Generator[Event, None, None], folder: RunFolder, renderer: Renderer, cancellation: Cancellation
) -> int:
    """Store each event, show it, then ask for the next; the exit code that the last one carries.

    What goes wrong here (a cancellation, a full disk) is thrown into the run, which ends itself with an event.
    """
    from autoroute.events import RunEnded

    exit_code: int | None = None
    following = partial(next, events)
    while True:
        try:
            event = following()
        except StopIteration:
            break
        following = partial(next, events)
        try:
            with cancellation.shield():
                folder.record(event)
            renderer.show(event)
        except AutorouteError as error:
            following = partial(events.throw, error)
        if isinstance(event, RunEnded):
            exit_code = event.exit_code
    if exit_code is None:
        raise AssertionError("a run ended without saying so")
    return exit_code


def _connect(settled: Settled, route: Any) -> Any:
    from autoroute import wire
    from autoroute.routing import Secret

    secret = settled.credentials.find(route)
    return wire.connect(
        settled.config.profile(route), route, secret if isinstance(secret, Secret) else None, settled.config.clocks
    )


def choose_format(options: RunOptions, environ: Mapping[str, str]) -> str:
    """The format that was asked for, or that fits; raises ``UsageError`` for one that does not exist."""
    from autoroute import render

    return render.choose_format(
        options.format or None,
        tty=sys.stderr.isatty(),
        no_color="NO_COLOR" in environ,
        dumb=environ.get("TERM") == "dumb",
    )


def _open_renderer(options: RunOptions, environ: Mapping[str, str]) -> Renderer:
    from autoroute import render

    return render.open_renderer(choose_format(options, environ), stdout=sys.stdout, stderr=sys.stderr)


def _decider(options: RunOptions, environ: Mapping[str, str], renderer: Renderer) -> Decide:
    """Who answers questions: the person at the terminal, or nobody."""
    from autoroute.cli.prompts import ask_at_terminal
    from autoroute.engine.policy import nobody_to_ask

    at_terminal = sys.stdin.isatty() and sys.stderr.isatty() and "CI" not in environ
    return partial(ask_at_terminal, renderer) if options.interactive and at_terminal else nobody_to_ask


def _notices(repository: Repository, options: RunOptions, file: TaskFile) -> tuple[str, ...]:
    """What the user should know about where the work starts from."""
    notices = []
    if repository.head and not repository.branch and not options.base:
        notices.append(f"HEAD is detached: the run starts from commit {repository.head[:12]}")
    dirty = [path for path in repository.dirty() if not file.covers(repository.root / path)]
    if dirty and not options.include_dirty:
        more = f" and {len(dirty) - 5} more" if len(dirty) > 5 else ""
        left_out = ", ".join(dirty[:5]) + more
        notices.append(f"uncommitted changes are not part of this run: {left_out} (--include-dirty brings them in)")
    return tuple(notices)
