"""The words of this room: what commands may see and use (``Confinement``), how one is started in it (``Launch``)."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from autoroute.errors import WorkspaceError
from autoroute.network import NetworkMode
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.resource_limits import ResourceLimits
from autoroute.workspace.rmtree import remove_tree

_LONGEST_WORD = 4_096
_DYING = 5.0
"""Seconds that a kernel is given to end the processes of a namespace."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """Where commands work and what they may reach, whatever holds them to it.

    ``boundary.root`` is the one folder that is written, ``readable`` are what is seen beside the system's folders, and
    ``hidden`` are what is not seen of those: the user's own folders, where they lie beneath the system's.
    ``user`` is the id that commands run as in place of root's, None where they keep ours; ``socket`` is where a proxy
    of ours listens when the network is ``listed``.
    """

    path_policy: PathPolicy
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    network: NetworkMode = "off"
    socket: Path | None = None
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    user: int | None = None


@dataclass(slots=True)
class Launch:
    """A command line, its environment, and the open descriptors that it is given.

    ``told`` is one that the process tells on, as JSON, which process it is whose end ends all that was started.
    ``scratch`` is a folder of this command alone.
    """

    arguments: list[str]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()
    told: int | None = None
    scratch: Path | None = None

    def close(self) -> None:
        """The command is over: wait until all of it is gone, let go of the descriptors, delete the scratch folder.

        Raises ``WorkspaceError`` where some of that folder stays.
        """
        if self.told is not None:
            _wait_for(self.told)
        for descriptor in (*self.descriptors, *(() if self.told is None else (self.told,))):
            with suppress(OSError):
                os.close(descriptor)
        self.descriptors, self.told = (), None
        if self.scratch is not None and (stayed := remove_tree(self.scratch)):
            raise WorkspaceError(f"cannot delete {self.scratch}: {stayed}", hint="delete it yourself")


def _wait_for(told: int) -> None:
    """Wait for the end of the first process of a namespace: the kernel kills the others before it lets that one go."""
    os.set_blocking(told, False)
    with suppress(OSError, ValueError, KeyError, TypeError):
        first = os.pidfd_open(json.loads(os.read(told, _LONGEST_WORD))["child-pid"])
        try:
            select.select([first], [], [], _DYING)
        finally:
            os.close(first)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a layer cannot be used here. ``kind`` says what would mend it.

    That is another ``system``, ``bubblewrap`` installed, a ``network`` that is on or off; ``machine`` is anything else.
    """

    kind: Literal["system", "bubblewrap", "network", "machine"]
    words: str


class Backend(Protocol):
    """A way to hold commands to a confinement; one row of the ladder."""

    @property
    def name(self) -> str:
        """Its name in settings and flags."""
        ...

    @property
    def is_weaker(self) -> bool:
        """Whether it leaves more open than the others, so that it is not taken unasked where nobody sees that it is."""
        ...

    @property
    def bypasses_permissions(self) -> bool:
        """Whether commands in it read what they are shown also where it is closed to the user they run as."""
        ...

    def missing(self) -> Unavailable | None:
        """Why it cannot be here at all (no such program, another system), None when it may work; nothing is started."""
        ...

    def supports_allowlist(self) -> bool:
        """Whether it can let commands reach some addresses and no others."""
        ...

    def launch(self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path) -> Launch:
        """How ``/bin/sh -c command`` is started, in a folder that is ``confinement.path_policy.root`` or within it."""
        ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A layer that works here, and what it holds commands to. ``variables`` are added to each command's environment.

    ``note`` says what of it is weaker here than it could be.
    """

    backend: Backend
    confinement: Confinement
    variables: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def launch(self, command: str, environment: Mapping[str, str], cwd: Path) -> Launch:
        """How a command is started in it."""
        return self.backend.launch(command, self.confinement, {**environment, **self.variables}, cwd)


_SETTINGS = """
    passwd group hosts host.conf hostname resolv.conf nsswitch.conf gai.conf services protocols localtime timezone
    ld.so.cache ld.so.conf ld.so.conf.d alternatives locale.alias locale.conf default/locale mime.types os-release
    lsb-release debian_version machine-id magic terminfo inputrc fonts profile bash.bashrc python3* perl java
    ssl/certs ssl/openssl.cnf pki/tls/certs pki/ca-trust ca-certificates ca-certificates.conf
"""
"""Below ``/etc``: what programs read to work, and no key among it."""


def public_settings() -> tuple[Path, ...]:
    """What of ``/etc`` is shown: all of it, and to root, who could read what is not for everybody, the public part."""
    if os.geteuid() != 0:
        return (Path("/etc"),)
    return tuple(place for name in _SETTINGS.split() for place in sorted(Path("/etc").glob(name)))


def processes_now(user: int | None) -> int:
    """How many the user that commands run as has already: the kernel counts them all together."""
    owner, count = os.geteuid() if user is None else user, 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                count += len(os.listdir(f"/proc/{entry.name}/task")) if entry.stat().st_uid == owner else 0  # noqa: PTH208
            except OSError:
                continue
    return count


def inside(variables: Mapping[str, str], home: str, temporary: str) -> dict[str, str]:
    """The environment of a confined command: a home folder and a place for temporary files of its own."""
    given = {"HOME": home, "TMPDIR": temporary, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return {**variables, **given}
