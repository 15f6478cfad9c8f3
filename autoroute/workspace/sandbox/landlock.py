"""The Linux backend ``landlock``, for machines without bubblewrap: ``launcher.py`` applies Landlock and seccomp.

It needs no privilege and no package, and hides less than namespaces do: see docs/concepts/security.md.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoroute.workspace.sandbox import seccomp
from autoroute.workspace.sandbox.confinement import (
    Confinement,
    Launch,
    Unavailable,
    confine_environment,
    count_tasks,
    find_public_etc,
)

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1
_MIN_ABI = 6
"""Linux 6.12, with scopes for signals. Before, a command could kill any process of the user, even its launcher."""
_SYSTEM_PATHS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Landlock:
    """The backend that runs ``launcher.py`` with our own Python."""

    name: str = "landlock"
    is_weaker: bool = True
    bypasses_permissions: bool = True
    mounts: bool = False

    def check_available(self) -> Unavailable | None:
        """Return why Landlock cannot work here, None if it may."""
        if not sys.platform.startswith("linux"):
            return Unavailable("system", "it requires Linux")
        if not seccomp.is_supported():
            return Unavailable("machine", f"{os.uname().machine} has no seccomp filter yet")
        abi = ctypes.CDLL(None).syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
        return None if abi >= _MIN_ABI else Unavailable("machine", "it requires Linux 6.12 or newer with Landlock")

    def supports_allowlist(self) -> bool:
        """Return False: without a separate network namespace, sockets cannot be forced through a proxy."""
        return False

    def prepare_launch(
        self,
        command: str,
        confinement: Confinement,
        environment: Mapping[str, str],
        cwd: Path,  # noqa: ARG002 - the process is started there
    ) -> Launch:
        """Return how to start a command, with a scratch folder beside the tree for its temporary files.

        Raises ``OSError`` for a hidden folder inside a system folder: Landlock can only allow whole folders.
        """
        root, user, objects = confinement.path_policy.root, confinement.user, confinement.objects
        system = [*_SYSTEM_PATHS, *map(str, find_public_etc())]
        for path in confinement.hidden:
            if any(path.is_relative_to(os.path.realpath(shown)) for shown in system):
                raise OSError(f"Landlock cannot hide {path}, which is inside a system folder")
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=root.parent))
        home, temporary = confinement.home.folder if confinement.home else scratch / "home", scratch / "tmp"
        for folder in (scratch / "home", temporary):
            folder.mkdir()
        if user is not None:
            for folder in (scratch, scratch / "home", temporary):
                os.chown(folder, user, user)
        limits = confinement.limits
        terms = {
            "parent": os.getpid(),
            "user": user,
            "readable": [*system, *map(str, confinement.readable), *([str(objects)] if objects else [])],
            "writable": [str(root), str(scratch), str(home)],
            "devices": _DEVICES,
            "tcp": confinement.network == "off",
            "filter": seccomp.assemble("internet" if confinement.network == "on" else "none", alone=True).hex(),
            "limits": {
                # Without a user namespace, the kernel counts all tasks of the user.
                "RLIMIT_NPROC": count_tasks(user) + limits.processes,
                "RLIMIT_FSIZE": limits.file_size,
                "RLIMIT_NOFILE": limits.open_files,
                "RLIMIT_CORE": 0,
            },
        }
        launcher = str(Path(__file__).with_name("launcher.py"))
        arguments = [sys.executable, "-I", "-S", launcher, marshal.dumps(terms).hex(), command]
        return Launch(arguments, confine_environment(environment, str(home), str(temporary)), scratch=scratch)
