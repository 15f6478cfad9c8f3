"""Linux with bubblewrap: namespaces and mounts that hold nothing but what is shown, and a seccomp filter."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
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

_PROGRAM = "/usr/bin/bwrap"
"""The distribution's: AppArmor profiles know it by this path, and let no copy make namespaces."""
_OLDEST = (0, 5)
_BOUNDS_FOLDERS = (0, 7)
_DISABLES_NESTING = (0, 8)
_TOOLS = "/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin"
"""Where the programs are looked for that stand between bwrap and a command: a ``PATH`` may lead into the tree first."""
_SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"))
_HOME = "/tmp/home"
_FORWARDER = "/tmp/forwarder.py"
_PROXY = "/tmp/proxy.sock"
_SHARED_MEMORY = 512 * 1024**2
_SOCKETS = 16 * 1024**2
_SECONDS = 10


@dataclass(frozen=True)
class Bubblewrap:
    """``/usr/bin/bwrap``; ``program`` is another one for tests."""

    program: str = _PROGRAM
    name: str = "bubblewrap"
    is_weaker: bool = False
    bypasses_permissions: bool = False

    def missing(self) -> Unavailable | None:
        """Why it cannot be here, None when it may work."""
        if not sys.platform.startswith("linux"):
            return Unavailable("system", "it is for Linux")
        if not os.access(self.program, os.X_OK):
            return Unavailable("bubblewrap", f"there is no {self.program}")
        if not _tool("prlimit") or not _tool("setpriv"):
            return Unavailable("machine", "prlimit or setpriv (util-linux) is not installed")
        if not seccomp.supported():
            return Unavailable("machine", f"no seccomp filter for {os.uname().machine} yet")
        return None if self._version >= _OLDEST else Unavailable("machine", "it is older than 0.5")

    def supports_allowlist(self) -> bool:
        """A network namespace of its own reaches nothing but the socket that is put into it."""
        return True

    def launch(self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path) -> Launch:
        """How a command is started."""
        inner = [*_limits(confinement), *_forward(confinement), "/bin/sh", "-c", command]
        outer = [self.program, *self._namespaces(confinement), *self._mounts(confinement)]
        program = os.memfd_create("filter")
        os.write(program, seccomp.assemble("internet" if confinement.network == "on" else "all"))
        os.lseek(program, 0, os.SEEK_SET)
        told, telling = os.pipe()
        arguments = [
            *outer,
            *("--remount-ro", "/", "--chdir", str(cwd), "--seccomp", str(program), "--info-fd", str(telling), "--"),
            *inner,
        ]
        return Launch(arguments, inside(environment, _HOME, "/tmp"), (program, telling), told)

    @cached_property
    def _version(self) -> tuple[int, ...]:
        try:
            done = subprocess.run([self.program, "--version"], capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ()
        found = re.search(rb"(\d+)\.(\d+)", done.stdout)
        return (int(found[1]), int(found[2])) if found else ()

    def _namespaces(self, confinement: Confinement) -> Iterator[str]:
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
        if confinement.network != "on":
            yield "--unshare-net"
        yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
        if confinement.user is not None:
            # Root mounts without a user namespace, then becomes somebody else, which takes these two.
            yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
            return
        yield "--unshare-user"
        if self._version >= _DISABLES_NESTING:
            yield "--disable-userns"

    def _mounts(self, confinement: Confinement) -> Iterator[str]:
        """The file system that a command sees; later mounts lie over earlier ones."""
        for link in _SYSTEM:
            if link.is_symlink():
                yield from ("--symlink", str(link.readlink()), str(link))
        system = [folder for folder in _SYSTEM if folder.is_dir() and not folder.is_symlink()]
        system += public_settings() if confinement.user is None else (Path("/etc"),)
        for place in system:
            yield from _bound(place)
        hidden = [place for place in confinement.hidden if any(place.is_relative_to(shown) for shown in system)]
        for place in hidden:
            yield from ("--perms", "0755", "--tmpfs", str(place))
        yield from ("--dev", "/dev", *self._memory("/dev/shm", _SHARED_MEMORY), "--remount-ro", "/dev")
        yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
        for folder in ("/tmp", "/var/tmp"):
            yield from self._memory(folder, confinement.limits.temporary)
        yield from ("--perms", "0777", "--dir", _HOME, *self._memory("/run", _SOCKETS))
        if confinement.network == "on":
            yield from _resolver()
        for place in confinement.readable:
            yield from _bound(place)
        if confinement.socket is not None:
            forwarder = str(Path(__file__).with_name("forwarder.py"))
            yield from ("--ro-bind", forwarder, _FORWARDER, "--bind", str(confinement.socket), _PROXY)
        root = confinement.path_policy.root
        yield from (*_way_to(root), "--bind", str(root), str(root))
        for place in hidden:
            yield from ("--remount-ro", str(place))

    def _memory(self, place: str, size: int) -> Iterator[str]:
        """A folder in memory that everybody may write, of so many bytes where bwrap can bound it."""
        if self._version >= _BOUNDS_FOLDERS:
            yield from ("--size", str(size))
        yield from ("--perms", "1777", "--tmpfs", place)


def _tool(name: str) -> str:
    return shutil.which(name, path=_TOOLS) or ""


def _bound(place: Path) -> Iterator[str]:
    """A file or folder, to be read."""
    yield from (*_way_to(place), "--ro-bind", str(place), str(place))


def _way_to(place: Path) -> Iterator[str]:
    """The folders above a mount, empty but for what is mounted in them; left to itself, bwrap lets nobody through."""
    for folder in reversed(place.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(folder))


def _resolver() -> Iterator[str]:
    """What ``/etc/resolv.conf`` leads to, where that is in a folder that is hidden."""
    real = Path("/etc/resolv.conf").resolve()
    if real.is_file() and not real.is_relative_to("/etc"):
        yield from _bound(real)


def _limits(confinement: Confinement) -> Iterator[str]:
    """Programs that lower what the command may use, and end as it."""
    if confinement.user is not None:
        user = str(confinement.user)
        yield from (_tool("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--")
    allowed = confinement.limits
    # In a user namespace of its own only the command is counted; without one, all that the other user runs.
    running = 0 if confinement.user is None else processes_now(confinement.user)
    # Memory is weighed from outside: a limit of its address space would refuse what sanitizers reserve and never use.
    bounds = (
        ("nproc", resource.RLIMIT_NPROC, running + allowed.processes),
        ("fsize", resource.RLIMIT_FSIZE, allowed.file_size),
        ("nofile", resource.RLIMIT_NOFILE, allowed.open_files),
        ("core", resource.RLIMIT_CORE, 0),
    )
    yield _tool("prlimit")
    for name, kind, bound in bounds:
        # Nobody raises a limit that was given to them: where ours is above it, that one holds.
        hard = resource.getrlimit(kind)[1]
        yield f"--{name}={bound if hard == resource.RLIM_INFINITY else min(bound, hard)}"
    yield "--"


def _forward(confinement: Confinement) -> Iterator[str]:
    if confinement.socket is not None:
        yield from (os.path.realpath(sys.executable), "-I", "-S", _FORWARDER, _PROXY, "--")
