"""The public Python API: open a run, resume one, check everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoroute.app.checking import check_everything
from autoroute.app.plan import RunOptions, check_plan, plan_run
from autoroute.app.ports import Observer, Store
from autoroute.app.resuming import FLAG_TABLES, Answer, resume_run
from autoroute.app.run import Run, begin_run
from autoroute.cancellation import CancelToken
from autoroute.config.paths import read_environment
from autoroute.config.task import read_task
from autoroute.engine.context import OpenToolbox
from autoroute.engine.policy import Decider
from autoroute.errors import UsageError, WorkspaceError
from autoroute.phases import parse_phase
from autoroute.preflight.results import CheckResult
from autoroute.redaction import Redactor
from autoroute.tables import merge
from autoroute.workspace.repository import Repository


def open_run(
    task: str | Path,
    *,
    repository: str | Path = ".",
    spec: str = "",
    plan: str = "",
    code: str = "",
    qa: str = "",
    settings: Mapping[str, Any] | None = None,
    base: str = "",
    include_dirty: bool = False,
    until: str = "",
    probe: bool | None = None,
    config_file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    observers: Sequence[Observer] = (),
    decider: Decider | None = None,
    toolbox: OpenToolbox | None = None,
    store: Store | None = None,
    cancel: CancelToken | None = None,
) -> Run:
    """Resolve and check a new run, and return it ready to be driven: iterate over it within a ``with`` block.

    ``task`` is a Markdown file or an Auto-Claude spec folder, relative to ``repository``, which may be any folder of a
    git repository. ``spec``, ``plan``, ``code`` and ``qa`` are routes as on the command line. ``settings`` are further
    settings with the keys of ``config.toml``, of the tables phases, budget, gates, recovery and sandbox; they override
    every file. ``until`` names the last phase of this sitting. ``config_file`` takes the place of the user's settings.
    ``environ`` takes the place of the process's environment: keys are read from it, and it is never changed.

    ``observers`` get every event once it is on disk. ``decider`` answers questions, gates and limits; without one the
    safe defaults apply, and a gate ends the sitting. ``toolbox`` makes the tools of each phase. ``store``
    keeps the run in place of a folder in the repository; ``resume`` does not know such a run. Setting ``cancel`` from
    any thread stops the run, resumable. Ctrl-C does the same, and is raised again once the run has ended in order.

    Raises a ``TaskError``, ``ConfigError``, ``WorkspaceError`` or ``ProviderError`` that says what is wrong and what to
    do, before anything is spent.
    """
    options = RunOptions(
        base=base,
        include_dirty=include_dirty,
        flags=_flags({"spec": spec, "plan": plan, "code": code, "qa": qa}, settings),
        user_file=Path(config_file) if config_file else None,
        until=parse_phase("until", until) if until else None,
        attended=decider is not None,
        command="a Python program (autoroute.open_run)",
    )
    planned = plan_run(str(task), _variables(environ), Path(repository).absolute(), options)
    run = begin_run(check_plan(planned, probe), store=store, cancel=cancel)
    return _connect(run, observers, decider, toolbox)


def resume(
    run: str = "latest",
    *,
    repository: str | Path = ".",
    approve: bool = False,
    reject: str = "",
    spec: str = "",
    plan: str = "",
    code: str = "",
    qa: str = "",
    settings: Mapping[str, Any] | None = None,
    until: str = "",
    probe: bool | None = None,
    config_file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    observers: Sequence[Observer] = (),
    decider: Decider | None = None,
    toolbox: OpenToolbox | None = None,
    cancel: CancelToken | None = None,
) -> Run:
    """Return a run that stopped, ready to go on where it stopped; what is done is not paid again.

    ``run`` is an id, the beginning of one, or ``latest``. ``approve`` or ``reject`` answers the gate that the run waits
    at. Everything else is as in ``open_run``, and changes what is left of the run. Raises ``WorkspaceError`` when there
    is nothing to resume.
    """
    found = Repository.discover(Path(repository).absolute(), _variables(environ))
    options = RunOptions(
        flags=_flags({"spec": spec, "plan": plan, "code": code, "qa": qa}, settings),
        user_file=Path(config_file) if config_file else None,
        until=parse_phase("until", until) if until else None,
        attended=decider is not None,
        command="a Python program (autoroute.resume)",
    )
    resumed = resume_run(run, found, options, answer=Answer(approve, reject), probe=probe, cancel=cancel)
    if isinstance(resumed, str):
        raise WorkspaceError(f"run {resumed} is approved: nothing is left to do", hint=f"autoroute merge {resumed}")
    return _connect(resumed, observers, decider, toolbox)


def check(
    task: str | Path | None = None,
    *,
    repository: str | Path = ".",
    spec: str = "",
    plan: str = "",
    code: str = "",
    qa: str = "",
    settings: Mapping[str, Any] | None = None,
    probe: bool = False,
    config_file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Return a row for each check of the machine, the settings and every route, as ``autoroute doctor`` does.

    A problem is a row whose status is ``error``; nothing is spent unless ``probe`` asks to try tool calling.
    """
    variables, folder = _variables(environ), Path(repository).absolute()
    options = RunOptions(
        flags=_flags({"spec": spec, "plan": plan, "code": code, "qa": qa}, settings),
        user_file=Path(config_file) if config_file else None,
    )
    file = read_task(str(task), None, folder, environ=variables) if task is not None else None
    return check_everything(folder, variables, options, task=file, probe=probe, redactor=Redactor())


def _connect(run: Run, observers: Sequence[Observer], decider: Decider | None, toolbox: OpenToolbox | None) -> Run:
    for observer in observers:
        run.observe(observer)
    if decider is not None:
        run.decide_with(decider)
    if toolbox is not None:
        run.use_toolbox(toolbox)
    return run


def _flags(routes: Mapping[str, str], settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return routes and settings as the topmost layer of settings."""
    layer = dict(settings or {})
    unknown = sorted(set(layer) - FLAG_TABLES)
    if unknown:
        raise UsageError(
            f"settings: {', '.join(unknown)} cannot be set for one run",
            hint=f"use the tables {', '.join(sorted(FLAG_TABLES))}; everything else belongs in config.toml",
        )
    phases = {name: {"model": route} for name, route in routes.items() if route}
    return merge(layer, {"phases": phases}) if phases else layer


def _variables(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return read_environment() if environ is None else environ
