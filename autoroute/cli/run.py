"""``autoroute run``: put the parts of a run together, and carry its events to the store and the screen."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.errors import AutorouteError, UsageError

if TYPE_CHECKING:
    from autoroute.cli.signals import Cancellation
    from autoroute.config.settle import Settled
    from autoroute.config.task import TaskFile
    from autoroute.engine.policy import Decide
    from autoroute.events import Event
    from autoroute.render import Renderer
    from autoroute.store import RunFolder
    from autoroute.workspace.repository import Repository

_ROUTE = "ROUTE: an alias (opus-4.5), a model id, or provider/model."


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A Markdown file, or - for standard input.")],
    spec: Annotated[str, typer.Option("--spec", metavar="ROUTE", help=f"Who writes the spec. {_ROUTE}")] = "",
    plan: Annotated[str, typer.Option("--plan", metavar="ROUTE", help="Who plans; spec and qa follow it.")] = "",
    code: Annotated[str, typer.Option("--code", metavar="ROUTE", help="Who codes.")] = "",
    qa: Annotated[str, typer.Option("--qa", metavar="ROUTE", help="Who judges the result.")] = "",
    effort: Annotated[
        list[str] | None,
        typer.Option("--effort", metavar="[PHASE=]LEVEL", help="low, medium or high, for all phases or for one."),
    ] = None,
    base: Annotated[str, typer.Option(metavar="REF", help="Commit or branch to start from (default: HEAD).")] = "",
    include_dirty: Annotated[
        bool, typer.Option("--include-dirty", help="Start from your uncommitted changes too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the routing and where each value came from; ask no model.")
    ] = False,
    non_interactive: Annotated[bool, typer.Option("--non-interactive", help="Never ask anything.")] = False,
    format: Annotated[str, typer.Option(metavar="live|plain|jsonl", help="How progress is shown.")] = "",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file in place of your own config.toml.")
    ] = None,
) -> None:
    """Carry a task through spec, planning, coding and qa, and leave the commits on a branch of your repository."""
    from autoroute.config.places import environment

    options = RunOptions(base=base, include_dirty=include_dirty, format=format, interactive=not non_interactive)
    flags = _flags({"spec": spec, "plan": plan, "code": code, "qa": qa}, effort or [])
    prepared = prepare(task, flags, environment(), Path.cwd(), config)
    if dry_run:
        show_routing(prepared.settled)
        return
    raise typer.Exit(execute(prepared, options))


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told on the command line apart from its configuration. ``format`` "" means: what fits."""

    base: str = ""
    include_dirty: bool = False
    format: str = ""
    interactive: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose configuration is settled and whose preflight has passed; nothing is spent or made yet."""

    repository: Repository
    file: TaskFile
    settled: Settled
    environ: Mapping[str, str]


def prepare(
    task: str, flags: Mapping[str, Any], environ: Mapping[str, str], folder: Path, user_file: Path | None
) -> Prepared:
    """Everything that can be checked before a token is spent or a file is written."""
    from autoroute import preflight
    from autoroute.config.settle import load
    from autoroute.config.task import read_task
    from autoroute.engine.policy import SystemClock
    from autoroute.workspace.repository import Repository

    file = read_task(task, sys.stdin.buffer, folder)
    repository = Repository.discover(folder, environ)
    today = SystemClock().now().date()
    settled = load(
        repository=repository.root, environ=environ, flags=flags, today=today, user_file=user_file, task=file
    )
    preflight.check(settled.config, settled.secrets)
    return Prepared(repository, file, settled, environ)


def execute(prepared: Prepared, options: RunOptions) -> int:
    """Run it; the exit code."""
    import shutil

    from autoroute.cli.signals import Cancellation
    from autoroute.config.places import user_state_folder
    from autoroute.engine.job import Job
    from autoroute.engine.pipeline import run as run_pipeline
    from autoroute.engine.policy import SystemClock
    from autoroute.store import RunFolder, new_run_id
    from autoroute.workspace.clone import PrivateClone
    from autoroute.workspace.commands import LocalCommands

    clock = SystemClock()
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
            config=prepared.settled.config,
            workspace=clone,
            commands=LocalCommands(prepared.environ),
            connect=partial(_connect, prepared.settled),
            decide=_decider(options, prepared.environ, renderer),
            clock=clock,
            logs=folder.logs,
            patch=folder.patch,
            notices=(*prepared.settled.notices, *_notices(repository, options, prepared.file)),
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


def show_routing(settled: Settled) -> None:
    """The resolved routing on stdout: phase, route, endpoint, key source, and where the choice came from."""
    from autoroute.phases import PHASES
    from autoroute.routing import Secret

    for phase in PHASES:
        routing = settled.config.phases[phase]
        source = settled.config.sources.get(f"phases.{phase}.model", "default")
        for place, route in enumerate((routing.primary, *routing.fallbacks)):
            secret = settled.secrets.find(route)
            key = f"key from {secret.source}" if isinstance(secret, Secret) else "no key needed"
            name = phase.value if place == 0 else f"  fallback {place}"
            typer.echo(f"{name:<12} {route.name:<36} {route.host:<28} {key}; {source}")


def _connect(settled: Settled, route: Any) -> Any:
    from autoroute import wire
    from autoroute.routing import Secret

    secret = settled.secrets.find(route)
    return wire.connect(
        settled.config.profile(route), route, secret if isinstance(secret, Secret) else None, settled.config.clocks
    )


def _flags(routes: Mapping[str, str], efforts: list[str]) -> dict[str, Any]:
    """The flags as one more layer of settings."""
    from autoroute.phases import PHASES, by_name

    phases: dict[str, dict[str, str]] = {}
    for flag, route in routes.items():
        if route:
            phases.setdefault(flag, {})["model"] = route
    for effort in efforts:
        name, _, level = effort.rpartition("=")
        row = by_name(name)
        if name and row is None:
            raise UsageError(f"--effort {effort}: {name!r} is no phase", hint="spec, planning, coding or qa")
        for chosen in [row] if row else PHASES.values():
            phases.setdefault(chosen.flag, {})["effort"] = level
    return {"phases": phases} if phases else {}


def _open_renderer(options: RunOptions, environ: Mapping[str, str]) -> Renderer:
    from autoroute import render

    name = render.choose_format(
        options.format or None,
        tty=sys.stderr.isatty(),
        no_color="NO_COLOR" in environ,
        dumb=environ.get("TERM") == "dumb",
    )
    return render.open_renderer(name, stdout=sys.stdout, stderr=sys.stderr)


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
    dirty = [path for path in repository.dirty() if repository.root / path != file.path]
    if dirty and not options.include_dirty:
        more = f" and {len(dirty) - 5} more" if len(dirty) > 5 else ""
        left_out = ", ".join(dirty[:5]) + more
        notices.append(f"uncommitted changes are not part of this run: {left_out} (--include-dirty brings them in)")
    return tuple(notices)
