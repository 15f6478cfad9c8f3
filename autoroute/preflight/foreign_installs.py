"""What a user is told of environments that hold this project from elsewhere, and how to correct it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from autoroute.errors import ConfigError
from autoroute.workspace.foreign_installs import ForeignInstall

_OWN_ENVIRONMENT = '--setup "python3 -m venv .venv && .venv/bin/pip install -e ."'


def describe_installs(installs: Sequence[ForeignInstall], root: Path, *, placed: bool) -> list[str]:
    """Return a sentence for each package that tests would import in place of the change."""
    return [
        f"{_show(install.environment, root)} {install.description}: tests would import {_imported(install)}, "
        "not the change"
        for install in installs
        if not install.leads_to_workspace(placed)
    ]


def describe_copied(installs: Sequence[ForeignInstall], root: Path) -> list[str]:
    """Return a sentence for each editable install in an environment that is copied into the workspace."""
    return [
        f"{_show(install.environment, root)} {install.description}: in the copy for commands it leads to the workspace"
        for install in installs
    ]


def foreign_error(installs: Sequence[ForeignInstall], root: Path, *, placed: bool) -> ConfigError | None:
    """Return the error for packages that tests would import in place of the change; None if every one leads to it.

    ``placed`` says that commands see the workspace at ``root``, the path of the repository.
    """
    wrong = [install for install in installs if not install.leads_to_workspace(placed)]
    if not wrong:
        return None
    hints = dict.fromkeys(_hint(install, root, placed) for install in wrong)
    return ConfigError("\n".join(describe_installs(wrong, root, placed=placed)), hint="\n".join(hints))


def _imported(install: ForeignInstall) -> str:
    if install.kind == "copy":
        return "the copy"
    return "your checkout" if install.is_here else "the other checkout"


def _hint(install: ForeignInstall, root: Path, placed: bool) -> str:
    """Return what to do: first what keeps the environment in use, then what replaces it."""
    environment = shlex.quote(str(install.environment))
    leave = f"deactivate it, or remove {environment}/bin from PATH"
    if install.kind == "link":
        remove = f"npm rm --global {shlex.quote(install.package)}"
        return remove if placed or not install.is_here else f"use --sandbox bubblewrap, or {remove}"
    editable = f"{environment}/bin/python -m pip install -e {shlex.quote(str(root))}"
    if install.kind == "editable" and install.is_here:
        return f"use --sandbox bubblewrap, where the change is at that path; or {leave}; or {_OWN_ENVIRONMENT}"
    if placed:
        return f"{editable}; or {leave}; or {_OWN_ENVIRONMENT}"
    return f"{leave}; or {_OWN_ENVIRONMENT}; or {editable}, with --sandbox bubblewrap"


def _show(environment: Path, root: Path) -> str:
    return str(environment.relative_to(root)) if environment.is_relative_to(root) else str(environment)
