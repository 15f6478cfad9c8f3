"""A small world around a workspace: a home folder with secrets, and every sandbox backend of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autoroute.workspace import CommandResult
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.resource_limits import ResourceLimits
from autoroute.workspace.sandbox.backends import BACKENDS, try_backends
from autoroute.workspace.sandbox.confinement import Confinement, Sandbox
from autoroute.workspace.sandbox.toolchains import find_toolchains, own_python

SECRET = "canary-in-the-home-folder"
HERE = [layer.name for layer in BACKENDS if not ((lack := layer.check_available()) and lack.kind == "system")]
"""The backends of this system."""


@dataclass
class Ground:
    """The folders in which commands of a test work: ``tree`` and ``home`` in ``folder``."""

    folder: Path
    sandbox: Sandbox

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def limit(self, **changes: int) -> Ground:
        """Return the same sandbox with other limits."""
        confinement = replace(self.sandbox.confinement, limits=ResourceLimits(**changes))
        return Ground(self.folder, replace(self.sandbox, confinement=confinement))

    def run(self, command: str, *, timeout: float = 30.0, environ: dict[str, str] | None = None) -> CommandResult:
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.home), **(environ or {})}
        commands = LocalCommands(variables, sandbox=self.sandbox)
        return commands.run(command, timeout=timeout, cwd=self.tree, log=self.folder / "log")


def ground_of(name: str, folder: Path) -> Ground:
    """Create the world in ``folder`` under a backend; skip the test, with the reason, if the backend does not work."""
    tree = folder / "tree"
    (folder / "home/.ssh").mkdir(parents=True)
    (folder / "home/.ssh/id").write_text(SECRET)
    tree.mkdir()
    toolchains = find_toolchains(os.environ, [own_python()])
    confinement = Confinement(PathPolicy(tree), toolchains.folders)
    (candidate,) = try_backends(name, confinement, toolchains.variables)
    if candidate.sandbox is None:
        pytest.skip(f"{name}: {candidate.reason}")
    if candidate.sandbox.confinement.user is not None:
        os.chown(tree, candidate.sandbox.confinement.user, candidate.sandbox.confinement.user)
    return Ground(folder, candidate.sandbox)


@pytest.fixture(params=HERE)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return ground_of(request.param, tmp_path)


@pytest.fixture
def bubblewrap(tmp_path: Path) -> Ground:
    return ground_of("bubblewrap", tmp_path)
