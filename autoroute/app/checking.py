"""Every check as rows: the machine, the settings, the sandbox, and each phase with its fallbacks. Nothing is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoroute.app.environments import check_commands
from autoroute.app.plan import RunOptions
from autoroute.app.services import open_preflight, runner_opener
from autoroute.config.paths import user_config_file
from autoroute.config.resolve import ResolvedConfig, resolve_config
from autoroute.config.taskfile import TaskFile
from autoroute.errors import AutorouteError, UsageError
from autoroute.preflight.environment import check_environment
from autoroute.preflight.results import CheckResult, error_result
from autoroute.redaction import Redactor, redact_value
from autoroute.routing import RunConfig
from autoroute.workspace.repository import Repository


def check_everything(
    folder: Path,
    environ: Mapping[str, str],
    options: RunOptions,
    *,
    task: TaskFile | None = None,
    probe: bool = False,
    redactor: Redactor | None = None,
) -> list[CheckResult]:
    """Return a row for each check. A problem is a row with status ``error``; only a wrong flag raises ``UsageError``.

    ``probe`` tries tool calling on every route, which takes a few hundred tokens each.
    """
    redactor = redactor or Redactor()
    repository = find_repository(folder, environ)
    root = repository.root if repository else folder
    files = [options.user_file or user_config_file(environ), root / "autoroute.toml"]
    resolved: ResolvedConfig | AutorouteError
    try:
        resolved = resolve_without_repository(root, environ, options, task=task, redactor=redactor)
    except UsageError:
        raise
    except AutorouteError as error:
        resolved = error
    machine = [*check_environment(folder, environ, files), *_command_rows(resolved, repository, environ, options)]
    return redact_value([*machine, *_route_rows(resolved, environ, probe=probe)], redactor.redact)


def find_repository(folder: Path, environ: Mapping[str, str]) -> Repository | None:
    """Return the repository that a folder is in; None outside of one, which a row of the machine reports."""
    try:
        return Repository.discover(folder, environ)
    except AutorouteError:
        return None


def resolve_without_repository(
    root: Path,
    environ: Mapping[str, str],
    options: RunOptions,
    *,
    task: TaskFile | None = None,
    redactor: Redactor | None = None,
) -> ResolvedConfig:
    """Resolve the configuration for a folder that need not be a repository. Raises ``ConfigError``."""
    return resolve_config(
        repository=root,
        environ=environ,
        flags=options.flags,
        user_file=options.user_file,
        task=task,
        open_runner=runner_opener(environ),
        redactor=redactor,
    )


def _command_rows(
    resolved: ResolvedConfig | AutorouteError,
    repository: Repository | None,
    environ: Mapping[str, str],
    options: RunOptions,
) -> list[CheckResult]:
    config = RunConfig({}, {}) if isinstance(resolved, AutorouteError) else resolved.config
    return check_commands(config, environ, repository, attended=options.attended)


def _route_rows(
    resolved: ResolvedConfig | AutorouteError, environ: Mapping[str, str], *, probe: bool
) -> Sequence[CheckResult]:
    if isinstance(resolved, AutorouteError):
        return [error_result("config", "config", resolved)]
    sources = {key: place for key, place in resolved.config.sources.items() if not key.startswith("providers.")}
    summary = "; ".join(f"{key}: from {place}" for key, place in sources.items())
    row = CheckResult(id="config.sources", category="config", status="ok", summary=summary, details=sources)
    return [row, *open_preflight(resolved, environ).run("always" if probe else "cache_only").results]
