"""Linux without bubblewrap: Landlock for files, seccomp for all else, by a launcher of our own (``launcher.py``).

It needs no privilege and no package, and hides less than namespaces do: see docs/concepts/security.md.
"""

from __future__ import annotations

import ctypes
import json
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
    inside,
    processes_now,
    public_settings,
)

_CREATE_RULESET = 444
_ONLY_THE_VERSION = 1
_OLDEST = 6
"""Linux 6.12. With older ones a command may kill whatever the user runs, what holds it to its bounds included."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Landlock:
    """The launcher under the Python that runs us."""

    name: str = "landlock"
    is_weaker: bool = True
    bypasses_permissions: bool = True

    def missing(self) -> Unavailable | None:
        """Why it cannot be here, None when it may work."""
        if not sys.platform.startswith("linux"):
            return Unavailable("system", "it is for Linux")
        if not seccomp.supported():
            return Unavailable("machine", f"no seccomp filter for {os.uname().machine} yet")
        version = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _ONLY_THE_VERSION)
        return (
            None
            if version >= _OLDEST
            else Unavailable("machine", "this kernel has no Landlock, or one before Linux 6.12")
        )

    def supports_allowlist(self) -> bool:
        """Sockets are made or they are not: there is no network of its own to lead them through a proxy."""
        return False

    def launch(self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path) -> Launch:  # noqa: ARG002 - it starts there
        """How a command is started. It gets a scratch folder beside the tree, for its home and temporary files.

        Raises ``OSError`` where it would see what is to be hidden.
        """
        root, user = confinement.path_policy.root, confinement.user
        system = [*_SYSTEM, *map(str, public_settings())]
        for place in confinement.hidden:
            if any(place.is_relative_to(os.path.realpath(shown)) for shown in system):
                raise OSError(f"{place} lies in a folder of the system, and Landlock cannot hide it there")
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=root.parent))
        home, temporary = scratch / "home", scratch / "tmp"
        for folder in (home, temporary):
            folder.mkdir()
        if user is not None:
            for folder in (scratch, home, temporary):
                os.chown(folder, user, user)
        allowed = confinement.limits
        terms = {
            "parent": os.getpid(),
            "user": user,
            "readable": [*system, *map(str, confinement.readable)],
            "writable": [str(root), str(scratch)],
            "devices": _DEVICES,
            "tcp": confinement.network == "off",
            "filter": seccomp.assemble("internet" if confinement.network == "on" else "none", alone=True).hex(),
            "limits": {
                "RLIMIT_NPROC": processes_now(user) + allowed.processes,
                "RLIMIT_FSIZE": allowed.file_size,
                "RLIMIT_NOFILE": allowed.open_files,
                "RLIMIT_CORE": 0,
            },
        }
        launcher = str(Path(__file__).with_name("launcher.py"))
        arguments = [sys.executable, "-I", "-S", launcher, json.dumps(terms), command]
        return Launch(arguments, inside(environment, str(home), str(temporary)), scratch=scratch)
