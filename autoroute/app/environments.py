"""The environment that commands of a run find: whether tests in it import the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoroute.app.sandbox import check_sandbox
from autoroute.errors import AutorouteError

if TYPE_CHECKING:
    from autoroute.preflight.results import CheckResult
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.repository import Repository
    from autoroute.workspace.sandbox.confinement import Sandbox


def is_placed(sandbox: Sandbox | None, repository: Repository) -> bool:
    """Return whether commands see the workspace at the path of the repository."""
    return getattr(sandbox, "place", None) == repository.root


def check_environments(
    settings: SandboxSettings, environ: Mapping[str, str], repository: Repository, sandbox: Sandbox | None
) -> list[str]:
    """Return notices about environments that hold this project from elsewhere, where the user gives a set-up command.

    Without one, such an environment raises ``ConfigError``: its tests would pass whatever a model writes.
    """
    from autoroute.preflight.foreign_installs import describe_installs, foreign_error
    from autoroute.workspace.foreign_installs import find_foreign_installs

    installs = find_foreign_installs(repository, environ, home=sandbox is None)
    placed = is_placed(sandbox, repository)
    if error := foreign_error(installs, repository.root, placed=placed):
        if not settings.setup:
            raise error
        return describe_installs(installs, repository.root, placed=placed)
    return []


def check_commands(
    settings: SandboxSettings, environ: Mapping[str, str], repository: Repository | None, *, attended: bool
) -> list[CheckResult]:
    """Return what commands would run in, as rows of doctor: the sandbox, and the environments. Nothing is spent."""
    row, sandbox = check_sandbox(settings, environ, repository, attended=attended)
    return [row, _check_environments_row(settings, environ, repository, sandbox)] if repository else [row]


def _check_environments_row(
    settings: SandboxSettings, environ: Mapping[str, str], repository: Repository, sandbox: Sandbox | None
) -> CheckResult:
    from autoroute.preflight.results import CheckResult, error_result

    try:
        notices = check_environments(settings, environ, repository, sandbox)
    except AutorouteError as error:
        return error_result("environments", "machine", error)
    return CheckResult(
        id="environments",
        category="machine",
        status="warning" if notices else "ok",
        summary="; ".join(notices) or "no environment on PATH holds another version of this project",
    )
