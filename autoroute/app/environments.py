"""What commands of a run find beside the files of the commit, and whether tests in it import the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autoroute.app.sandbox import check_sandbox
from autoroute.app.setup import setup_row
from autoroute.errors import AutorouteError

if TYPE_CHECKING:
    from pathlib import Path

    from autoroute.preflight.results import CheckResult
    from autoroute.routing import RunConfig, SandboxSettings
    from autoroute.workspace.carried import Carried
    from autoroute.workspace.repository import Repository
    from autoroute.workspace.sandbox.confinement import Sandbox


def is_placed(sandbox: Sandbox | None, repository: Repository) -> bool:
    """Return whether commands see the workspace at the path of the repository."""
    return sandbox is not None and sandbox.place == repository.root


def find_carried(
    config: RunConfig, environ: Mapping[str, str], repository: Repository, base: str = ""
) -> list[Carried]:
    """Return the environments of the user that commands are to have beside the files of ``base`` ("" for HEAD)."""
    from autoroute.workspace.carried import find_environments, find_home_environments

    if config.workspace.carry == "none":
        return []
    return [*find_environments(repository, base or repository.head), *find_home_environments(repository, environ)]


def add_caches(
    carried: Sequence[Carried],
    config: RunConfig,
    environ: Mapping[str, str],
    repository: Repository,
    sandbox: Sandbox | None,
) -> tuple[Carried, ...]:
    """Return what commands are to have in this sandbox: the environments, and the caches of tools.

    What is in the home folder is left out where it cannot be mounted: copies would be large.
    """
    from autoroute.workspace.carried import find_caches

    if not is_placed(sandbox, repository):
        return tuple(item for item in carried if not item.path.startswith("~/"))
    if config.workspace.carry == "none":
        return ()
    return (*carried, *find_caches(environ, repository.root, downloads=bool(config.sandbox.setup)))


def virtual_environments(carried: Sequence[Carried]) -> list[Path]:
    """Return the folders of the virtual environments of Python."""
    return [item.source for item in carried if item.is_python]


def check_environments(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository,
    sandbox: Sandbox | None,
    carried: Sequence[Carried],
) -> list[str]:
    """Return notices about environments that hold this project from elsewhere, and that yet may be used.

    These are those that a set-up command of the user is to replace, and an editable install in a copied environment,
    which is corrected to lead to the workspace. The change needs a verify command that notices it then, see
    ``require_canary``. Any other raises ``ConfigError``: its tests would pass whatever a model writes.
    """
    from autoroute.preflight.foreign_installs import describe_copied, describe_installs, foreign_error
    from autoroute.workspace.foreign_installs import find_foreign_installs

    pythons = virtual_environments(carried)
    installs = find_foreign_installs(repository, environ, pythons, home=sandbox is None)
    placed = is_placed(sandbox, repository)
    copied = [install for install in installs if not placed and install.is_editable_in(pythons)]
    others = [install for install in installs if install not in copied]
    error = foreign_error(others, repository.root, placed=placed)
    if error and not settings.setup:
        raise error
    return [*describe_installs(others, repository.root, placed=placed), *describe_copied(copied, repository.root)]


def require_canary(config: RunConfig) -> RunConfig:
    """Return the configuration of a run whose environments may hold this project from elsewhere.

    That a verify command passes says little there, so none approves a change that it does not notice.
    """
    return replace(config, verify=config.verify.model_copy(update={"canary": "require"}))


def check_commands(
    config: RunConfig, environ: Mapping[str, str], repository: Repository | None, *, attended: bool
) -> list[CheckResult]:
    """Return what commands would run in, as rows of doctor: the sandbox, and the environments. Nothing is spent."""
    carried = find_carried(config, environ, repository) if repository else []
    pythons = virtual_environments(carried)
    row, sandbox = check_sandbox(config.sandbox, environ, repository, pythons, attended=attended)
    if repository is None:
        return [row]
    carried = list(add_caches(carried, config, environ, repository, sandbox))
    return [
        row,
        _check_environments_row(config, environ, repository, sandbox, carried),
        setup_row(config.sandbox, environ, repository, carried, attended=attended),
    ]


def _check_environments_row(
    config: RunConfig,
    environ: Mapping[str, str],
    repository: Repository,
    sandbox: Sandbox | None,
    carried: Sequence[Carried],
) -> CheckResult:
    from autoroute.preflight.results import CheckResult, error_result
    from autoroute.workspace.carried import describe_environments

    try:
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
