"""What a run will do: the task, the repository and every choice resolved; then checked, before a token is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from autoroute.app.environments import (
    add_caches,
    check_environments,
    find_carried,
    require_canary,
    virtual_environments,
)
from autoroute.app.provider_access import ProviderAccess
from autoroute.app.sandbox import choose_sandbox, sandbox_notices
from autoroute.app.services import open_preflight, runner_opener
from autoroute.app.setup import AskForSetup, choose_setup
from autoroute.config.paths import user_state_folder
from autoroute.config.resolve import ResolvedConfig, resolve_config
from autoroute.config.task import TaskFile, read_task
from autoroute.engine.policy import Approval
from autoroute.errors import AutorouteError
from autoroute.providers.pacing import Pacer
from autoroute.redaction import Redactor, redact_value
from autoroute.routing import Phase, Route, RunConfig
from autoroute.text import join_first
from autoroute.workspace.lfs import describe_filters
from autoroute.workspace.repository import Repository
from autoroute.workspace.submodules import describe_missing, find_dirty, find_submodules

if TYPE_CHECKING:
    from autoroute.preflight import Preflight
    from autoroute.workspace.carried import Carried
    from autoroute.workspace.sandbox.confinement import Sandbox

_SHOWN_PATHS = 5


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a caller asks of one sitting of a run, apart from its configuration.

    ``flags`` are the settings that the caller gave, the topmost layer; ``user_file`` takes the place of the user's
    settings file. ``until`` and ``approval`` are the engine's. ``accept_secrets`` is a person's word that what looks
    like a secret in the commits is none. ``attended`` says that somebody can be asked before each command where no
    sandbox works. ``command`` is what another process is told of this one while it holds the run.
    """

    base: str = ""
    include_dirty: bool = False
    flags: Mapping[str, Any] = field(default_factory=dict)
    user_file: Path | None = None
    until: Phase | None = None
    approval: Approval | None = None
    accept_secrets: bool = False
    attended: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that is resolved: which task, where, on which routes, with which keys. Nothing is spent or made yet."""

    repository: Repository
    task: TaskFile
    resolved: ResolvedConfig
    environ: Mapping[str, str]
    options: RunOptions

    @property
    def config(self) -> RunConfig:
        """The configuration that the engine gets."""
        return self.resolved.config

    @property
    def redactor(self) -> Redactor:
        """What hides the keys of this run."""
        return self.resolved.credentials.redactor

    @property
    def preflight(self) -> Preflight:
        """The checks for this configuration."""
        return open_preflight(self.resolved, self.environ)

    @property
    def holder(self) -> str:
        """What another process that wants the run is told of this one."""
        return self.redactor.redact(self.options.command)

    def base_notices(self) -> list[str]:
        """Return what the user should know about where the work starts from."""
        notices = [self.task.hidden_content] if self.task.hidden_content else []
        repository, options = self.repository, self.options
        if repository.head and not repository.branch and not options.base:
            notices.append(f"HEAD is detached: the run starts from commit {repository.head[:12]}")
        base = repository.resolve_commit(options.base) if options.base else repository.head
        submodules = find_submodules(repository, base)
        notices += [*describe_missing(submodules), *describe_filters(repository, base)]
        if options.include_dirty and (changed := find_dirty(repository, submodules)):
            paths = join_first(changed, _SHOWN_PATHS)
            notices.append(f"uncommitted changes in submodules are not part of this run: {paths}")
        if hooks := repository.find_commit_hooks():
            notices.append(f"your git hooks do not see the commits of a run: {', '.join(hooks)}")
        dirty = [path for path in repository.find_dirty_paths() if not self.task.covers(repository.root / path)]
        if dirty and not options.include_dirty:
            left_out = join_first(dirty, _SHOWN_PATHS)
            notices.append(f"uncommitted changes are not part of this run: {left_out} (--include-dirty adds them)")
        return notices


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan whose preflight has passed; the plan's configuration has what preflight showed of its routes.

    ``sandbox`` passed its self-test; None where commands run without one, and ``notices`` say so. ``carried`` is what
    commands have of the user's beside the files of the commit.
    """

    plan: RunPlan
    providers: ProviderAccess
    sandbox: Sandbox | None
    notices: tuple[str, ...]
    carried: tuple[Carried, ...] = ()


def plan_run(
    task: str,
    environ: Mapping[str, str],
    folder: Path,
    options: RunOptions,
    *,
    stdin: BinaryIO | None = None,
    redactor: Redactor | None = None,
) -> RunPlan:
    """Read the task and resolve every choice. ``redactor`` learns the keys; ``stdin`` is what a task ``-`` means.

    Raises ``TaskError``, ``ConfigError``, ``WorkspaceError``.
    """
    file = read_task(task, stdin, folder, environ=environ)
    return plan_task(file, environ, folder, options, redactor=redactor)


def plan_task(
    task: TaskFile,
    environ: Mapping[str, str],
    folder: Path,
    options: RunOptions,
    *,
    before: Mapping[Phase, Route] | None = None,
    redactor: Redactor | None = None,
) -> RunPlan:
    """Resolve every choice for a task that was read. ``before`` are the routes of a run that goes on."""
    repository = Repository.discover(folder, environ)
    resolved = resolve_config(
        repository=repository.root,
        environ=environ,
        flags=options.flags,
        user_file=options.user_file,
        task=task,
        open_runner=runner_opener(environ),
        earlier_routes=before,
        redactor=redactor,
    )
    if options.base:
        repository.resolve_commit(options.base)
    return RunPlan(repository, task, resolved, environ, options)


def check_plan(
    plan: RunPlan,
    probe: bool | None = None,
    phases: Sequence[Phase] | None = None,
    ask_for_setup: AskForSetup | None = None,
) -> CheckedPlan:
    """Test the sandbox, the environment and every route before a token is spent. Raises one error for all routes.

    ``probe``: try tool calling on every route (True), on none (False), or where nothing is known yet (None).
    ``phases`` are those that are still to come; None is all. ``ask_for_setup`` asks a person about setup commands.
    """
    from autoroute.preflight.results import raise_for_errors

    resolved, settings = plan.resolved, plan.config.sandbox
    carried = find_carried(plan.config, plan.environ, plan.repository, plan.options.base)
    pythons = virtual_environments(carried)
    sandbox = choose_sandbox(settings, plan.environ, plan.repository, pythons, attended=plan.options.attended)
    setup = choose_setup(settings, plan.environ, plan.repository, carried, ask_for_setup, required=phases is None)
    settings = settings.model_copy(update={"setup": setup})
    config = replace(plan.config, sandbox=settings)
    shown = add_caches(carried, config, plan.environ, plan.repository, sandbox)
    environments = check_environments(settings, plan.environ, plan.repository, sandbox, shown)
    needs_canary = bool(environments)
    if needs_canary and plan.config.verify.canary != "require":
        environments.append('no change is approved that no verify command notices (verify.canary = "require")')
    preflight = plan.preflight
    report = preflight.run("if_unknown" if probe is None else "always" if probe else "never", phases)
    raise_for_errors(report.results)
    spent = [f"preflight took {report.tokens} tokens to try tool calling"] if report.tokens else []
    warnings = [
        f"{result.details['route']}: {result.summary}"
        for result in report.results
        if result.status == "warning" and "route" in result.details
    ]
    prices, cooldowns, now = preflight.services.prices, preflight.services.cooldowns, preflight.services.now
    pacer = Pacer(user_state_folder(plan.environ) / "pace", resolved.profiles, now)
    providers = ProviderAccess(resolved, prices, cooldowns, pacer, preflight.recheck, now)
    notices = dict.fromkeys((*resolved.notices, *sandbox_notices(settings, sandbox), *environments, *warnings, *spent))
    # Keys of phases that are over are not checked again, but must be hidden from the phases to come.
    for routing in report.config.phases.values():
        for route in (routing.primary, *routing.fallbacks):
            with suppress(AutorouteError):
                resolved.credentials.find(route)
    # A run is named after its task, in places that no event passes.
    task = redact_value(plan.task, plan.redactor.redact)
    config = replace(report.config, sandbox=settings)
    config = require_canary(config) if needs_canary else config
    plan = replace(plan, task=task, resolved=replace(resolved, config=config))
    return CheckedPlan(plan, providers, sandbox, tuple(notices), shown)


def check_lock(checked: CheckedPlan) -> None:
    """Raise ``ConfigError`` where the routing is not the one in ``autoroute.lock``."""
    from autoroute.preflight.routing_lock import LOCK_FILE, check_lock, lock_rows

    plan = checked.plan
    services = plan.preflight.services
    check_lock(plan.repository.root / LOCK_FILE, lock_rows(plan.config, services.catalog, services.probe_cache))
