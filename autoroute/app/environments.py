"""What commands of a run find beside the files of the commit, and whether tests in it import the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autoroute.app.sandbox import check_sandbox
from autoroute.errors import AutorouteError

if TYPE_CHECKING:
    from autoroute.preflight.results import CheckResult
    from autoroute.routing import RunConfig, SandboxSettings
    from autoroute.workspace.carried import Carried
    from autoroute.workspace.repository import Repository
    from autoroute.workspace.sandbox.confinement import Sandbox


def is_placed(sandbox: Sandbox | None, repository: Repository) -> bool:
    """Return whether commands see the workspace at the path of the repository."""
    return getattr(sandbox, "place", None) == repository.root


def find_carried(
    config: RunConfig, environ: Mapping[str, str], repository: Repository, base: str, sandbox: Sandbox | None
) -> list[Carried]:
    """Return what commands are to have of the user's beside the files of the commit ``base``, "" for HEAD.

    Caches and environments in the home folder are left out where they could not be mounted: copies would be large.
    """
    from autoroute.workspace.carried import find_caches, find_environments, find_home_environments

    if config.workspace.carry == "none":
        return []
    found = find_environments(repository, base or repository.head)
    if is_placed(sandbox, repository):
        found += find_home_environments(repository, environ)
        found += find_caches(environ, repository.root, downloads=bool(config.sandbox.setup))
    return found


def check_environments(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository,
    sandbox: Sandbox | None,
    carried: Sequence[Carried],
) -> list[str]:
    """Return notices about environments that hold this project from elsewhere, where the user gives a set-up command.

    Without one, such an environment raises ``ConfigError``: its tests would pass whatever a model writes.
    """
    from autoroute.preflight.foreign_installs import describe_installs, foreign_error
    from autoroute.workspace.foreign_installs import find_foreign_installs

    pythons = [item.source for item in carried if item.is_python]
    installs = find_foreign_installs(repository, environ, pythons, home=sandbox is None)
    placed = is_placed(sandbox, repository)
    if error := foreign_error(installs, repository.root, placed=placed):
        if not settings.setup:
            raise error
        return describe_installs(installs, repository.root, placed=placed)
    return []


def check_commands(
    config: RunConfig, environ: Mapping[str, str], repository: Repository | None, *, attended: bool
) -> list[CheckResult]:
    """Return what commands would run in, as rows of doctor: the sandbox, and the environments. Nothing is spent."""
    row, sandbox = check_sandbox(config.sandbox, environ, repository, attended=attended)
    return [row, _check_environments_row(config, environ, repository, sandbox)] if repository else [row]


def _check_environments_row(
    config: RunConfig, environ: Mapping[str, str], repository: Repository, sandbox: Sandbox | None
) -> CheckResult:
    from autoroute.preflight.results import CheckResult, error_result
    from autoroute.workspace.carried import describe_environments

    try:
        carried = find_carried(config, environ, repository, "", sandbox)
        notices = check_environments(config.sandbox, environ, repository, sandbox, carried)
    except AutorouteError as error:
        return error_result("environments", "machine", error)
    found = describe_environments(carried)
    return CheckResult(
        id="environments",
        category="machine",
        status="warning" if notices else "ok",
        summary="; ".join(notices) or f"environments: {found or 'none in this checkout'}",
    )
