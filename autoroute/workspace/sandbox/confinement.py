"""What commands may see and use (``Confinement``), and what a sandbox backend makes of it (``Backend``, ``Launch``)."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from autoroute.network import NetworkMode
from autoroute.workspace.available import find_available, use_environments
from autoroute.workspace.layers import Layer, Layers
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.processes import reap
from autoroute.workspace.removal import delete
from autoroute.workspace.resource_limits import ResourceLimits

_MAX_INFO_BYTES = 4_096
_EXIT_SECONDS = 5.0
"""How long the kernel may take to end the processes of a namespace."""


OBJECTS_PLACE = Path("/run/autoroute/objects")
"""Where a backend that mounts shows the objects of the user's repository, which the tree's own ``.git`` shares.

Their own path is not free: the tree is shown at the repository's path, with the tree's ``.git`` in it.
"""


@dataclass(frozen=True, slots=True)
class Home:
    """The home folder of commands, which lasts for the run: ``folder``, shown at ``place`` by backends that mount."""

    folder: Path
    place: Path


@dataclass(frozen=True, slots=True)
class Confinement:
    """Where commands work and what they may reach, for any backend.

    ``path_policy.root`` and the folder of ``home`` are all that commands may write; without a ``home``, each command
    has one of its own. ``layers`` are mounted in both, where the backend can. ``temporary`` is a folder on disk for
    temporary files; None leaves it to the backend. ``readable`` are the folders that they see beyond those of the
    system, ``objects`` the objects of the user's repository. ``hidden`` are folders of the user inside a system folder
    that they must not see. ``user`` is the id that commands run as when root runs autoroute, None for ours. ``socket``
    is the socket of the proxy when the network is ``listed``.
    """

    path_policy: PathPolicy
    readable: tuple[Path, ...] = ()
    objects: Path | None = None
    home: Home | None = None
    layers: tuple[Layer, ...] = ()
    temporary: Path | None = None
    hidden: tuple[Path, ...] = ()
    network: NetworkMode = "off"
    socket: Path | None = None
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    user: int | None = None


@dataclass(slots=True)
class Launch:
    """The arguments and environment to start one command with, and the descriptors that it inherits.

    On ``info_descriptor`` the backend reports, as JSON, the first process of the namespace: its end is the end of all
    others. ``scratch`` is a folder for this command only.
    """

    arguments: list[str]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()
    info_descriptor: int | None = None
    scratch: Path | None = None

    def close(self) -> None:
        """After the command, wait until its processes are gone, close the descriptors and delete the scratch folder.

        Raises ``WorkspaceError`` when part of the folder remains.
        """
        if self.info_descriptor is not None:
            _wait_for_namespace(self.info_descriptor)
        for descriptor in (*self.descriptors, *(() if self.info_descriptor is None else (self.info_descriptor,))):
            with suppress(OSError):
                os.close(descriptor)
        self.descriptors, self.info_descriptor = (), None
        if self.scratch is not None:
            delete(self.scratch)


def _wait_for_namespace(info_descriptor: int) -> None:
    """Wait for the first process of a PID namespace to end: it stays until the kernel has killed all others.

    bwrap does not wait for it. Where we are the one who inherits it, as the first process of a container, it would stay
    as a zombie: one for each command, until no process can be started.
    """
    os.set_blocking(info_descriptor, False)
    with suppress(OSError, ValueError, KeyError, TypeError):
        number = json.loads(os.read(info_descriptor, _MAX_INFO_BYTES))["child-pid"]
        first = os.pidfd_open(number)
        try:
            select.select([first], [], [], _EXIT_SECONDS)
        finally:
            os.close(first)
        reap(number)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a backend cannot be used here, as a sentence without its name.

    ``kind`` says what would help: another operating ``system``, installing ``bubblewrap``, allowing it ``namespaces``,
    another ``network`` setting, or something else about the ``machine``.
    """

    kind: Literal["system", "bubblewrap", "namespaces", "network", "machine"]
    reason: str


class Backend(Protocol):
    """A program or kernel feature that confines commands."""

    @property
    def name(self) -> str:
        """The name in settings and flags."""
        ...

    @property
    def is_weaker(self) -> bool:
        """Whether it leaves more open than other backends, so that unattended runs use it only on request."""
        ...

    @property
    def bypasses_permissions(self) -> bool:
        """Whether commands can read a folder that is shown to them although its mode denies it to their user."""
        ...

    def check_available(self) -> Unavailable | None:
        """Return why this backend cannot work here (other system, missing program), None if it may. Run no command."""
        ...

    @property
    def mounts(self) -> bool:
        """Whether commands see the tree at ``path_policy.place``, and the home folder at ``home.place``."""
        ...

    def supports_allowlist(self) -> bool:
        """Return whether it can let commands reach some addresses and no others."""
        ...

    def prepare_launch(
        self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path
    ) -> Launch:
        """Return how to start ``/bin/sh -c command`` in ``cwd``, a folder in ``confinement.path_policy.root``."""
        ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A backend that passed its self-test, and the confinement that it enforces.

    ``variables`` are added to the environment of each command. ``note`` says what is weaker here than usual. ``layers``
    are those of the run, as they are when a command starts.
    """

    backend: Backend
    confinement: Confinement
    variables: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    layers: Layers | None = None

    @property
    def place(self) -> Path | None:
        """The path at which commands see the tree; None where that is its own."""
        return self.confinement.path_policy.place if self.backend.mounts else None

    def prepare_launch(self, command: str, environment: Mapping[str, str], cwd: Path) -> Launch:
        """Return how to start a command in this sandbox."""
        confinement, variables = self.confinement, {**environment, **self.variables}
        if self.layers is not None:
            confinement = replace(confinement, layers=self.layers.mounted)
            home = confinement.home.place if self.backend.mounts and confinement.home else self.layers.home
            variables = use_environments(variables, find_available(self.layers), self.place or self.layers.tree, home)
        return self.backend.prepare_launch(command, confinement, variables, cwd)


_PUBLIC_ETC = """
    passwd group hosts host.conf hostname resolv.conf nsswitch.conf gai.conf services protocols localtime timezone
    ld.so.cache ld.so.conf ld.so.conf.d alternatives locale.alias locale.conf default/locale mime.types os-release
    lsb-release debian_version machine-id magic terminfo inputrc fonts profile bash.bashrc python3* perl java
    ssl/certs ssl/openssl.cnf pki/tls/certs pki/ca-trust ca-certificates ca-certificates.conf
"""
"""Files and folders in ``/etc`` that programs need and that contain no keys."""


def find_public_etc() -> tuple[Path, ...]:
    """Return what commands may see of ``/etc``: all of it, but for root only the public part.

    Root could read the rest, such as ``/etc/shadow`` and private keys.
    """
    if os.geteuid() != 0:
        return (Path("/etc"),)
    return tuple(path for name in _PUBLIC_ETC.split() for path in sorted(Path("/etc").glob(name)))


def count_tasks(user: int | None) -> int:
    """Return the number of processes and threads of the user that commands run as: ``RLIMIT_NPROC`` counts them all."""
    owner, count = os.geteuid() if user is None else user, 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                count += len(os.listdir(f"/proc/{entry.name}/task")) if entry.stat().st_uid == owner else 0  # noqa: PTH208
            except OSError:
                continue
    return count


def confine_environment(variables: Mapping[str, str], home: str, temporary: str) -> dict[str, str]:
    """Return the environment of a confined command, with a home folder and a folder for temporary files of its own.

    git must not look for the user's configuration: it fails when it may not read it.
    """
    own = {"HOME": home, "TMPDIR": temporary, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return {**variables, **own}
