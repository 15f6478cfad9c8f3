"""The Linux backend ``bubblewrap``: namespaces, a file system of selected mounts, and a seccomp filter.

With these arguments none of 104 attacks succeeded as an ordinary user, where 71 did without a sandbox.
"""

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

from autoroute.workspace.layers import HOME, Layer, mount_command
from autoroute.workspace.mount_points import make_mount_point
from autoroute.workspace.sandbox import seccomp
from autoroute.workspace.sandbox.confinement import (
    OBJECTS_PLACE,
    Confinement,
    Launch,
    Unavailable,
    confine_environment,
    count_tasks,
    find_public_etc,
)

_PROGRAM = "/usr/bin/bwrap"
"""The path of the distribution's package: the AppArmor profile of Ubuntu allows namespaces to this path only."""
_MIN_VERSION = (0, 5)
_VERSION_WITH_SIZE = (0, 7)
_VERSION_WITH_DISABLE_USERNS = (0, 8)
_TOOL_PATH = "/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin"
"""Where prlimit and setpriv are searched. The user's ``PATH`` may contain the tree, where a model can plant others."""
_SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"))
_HOME = "/tmp/home"
_DISK_TEMPORARY = "/var/tmp"
_FORWARDER = "/tmp/forwarder.py"
_PROXY = "/tmp/proxy.sock"
_SHARED_MEMORY_BYTES = 512 * 1024**2
_RUN_BYTES = 16 * 1024**2
_VERSION_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Bubblewrap:
    """The backend that runs ``/usr/bin/bwrap``; tests may pass another ``program``."""

    program: str = _PROGRAM
    name: str = "bubblewrap"
    is_weaker: bool = False
    bypasses_permissions: bool = False
    mounts: bool = True

    def check_available(self) -> Unavailable | None:
        """Return why bubblewrap cannot work here, None if it may."""
        if not sys.platform.startswith("linux"):
            return Unavailable("system", "it requires Linux")
        if not os.access(self.program, os.X_OK):
            return Unavailable("bubblewrap", f"{self.program} not found")
        if not _find_tool("prlimit") or not _find_tool("setpriv"):
            return Unavailable("machine", "prlimit or setpriv (package util-linux) is not installed")
        if not seccomp.is_supported():
            return Unavailable("machine", f"{os.uname().machine} has no seccomp filter yet")
        return None if self._version >= _MIN_VERSION else Unavailable("machine", "it is older than version 0.5")

    def supports_allowlist(self) -> bool:
        """Return True: a separate network namespace reaches only the socket that is mounted into it."""
        return True

    def prepare_launch(
        self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path
    ) -> Launch:
        """Return how to start a command with bwrap."""
        root, place = confinement.path_policy.root, _tree_place(confinement)
        inner = [*_limits(confinement), *_forward(confinement), "/bin/sh", "-c", command]
        overlays = [layer for layer in confinement.layers if layer.slot]
        outer = [self.program, *self._namespaces(confinement), *self._mounts(confinement)]
        filter_fd = os.memfd_create("filter")
        # In the machine's own network namespace, Unix sockets would reach abstract sockets of other programs.
        os.write(filter_fd, seccomp.assemble("internet" if confinement.network == "on" else "all"))
        os.lseek(filter_fd, 0, os.SEEK_SET)
        info_reader, info_writer = os.pipe()
        arguments = [
            *outer,
            *("--remount-ro", "/", "--chdir", str(place / cwd.relative_to(root))),
            *("--seccomp", str(filter_fd), "--info-fd", str(info_writer), "--"),
            *inner,
        ]
        home = str(confinement.home.place) if confinement.home else _HOME
        temporary = "/tmp" if confinement.temporary is None else _DISK_TEMPORARY
        variables = confine_environment(environment, home, temporary)
        return Launch(mount_command(overlays, arguments), variables, (filter_fd, info_writer), info_reader)

    @cached_property
    def _version(self) -> tuple[int, ...]:
        try:
            done = subprocess.run(
                [self.program, "--version"], capture_output=True, timeout=_VERSION_TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ()
        found = re.search(rb"(\d+)\.(\d+)", done.stdout)
        return (int(found[1]), int(found[2])) if found else ()

    def _namespaces(self, confinement: Confinement) -> Iterator[str]:
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
        if confinement.network != "on":
            yield "--unshare-net"
        # --new-session: on the same terminal a command could type into it (TIOCSTI).
        yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
        if confinement.user is not None:
            # Root mounts without a user namespace; setpriv needs these two to become another user.
            yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
            return
        yield "--unshare-user"
        if any(layer.slot for layer in confinement.layers):
            # To mount them we became root of a user namespace; commands are who they were.
            yield from ("--uid", str(os.geteuid()), "--gid", str(os.getegid()))
        # In a user namespace of its own a command would have all capabilities, and more of the kernel to attack.
        if self._version >= _VERSION_WITH_DISABLE_USERNS:
            yield "--disable-userns"

    def _mounts(self, confinement: Confinement) -> Iterator[str]:
        """Yield the file system that a command sees; a later mount covers an earlier one."""
        for link in _SYSTEM:
            if link.is_symlink():
                yield from ("--symlink", str(link.readlink()), str(link))
        system = [folder for folder in _SYSTEM if folder.is_dir() and not folder.is_symlink()]
        system += find_public_etc() if confinement.user is None else (Path("/etc"),)
        for path in system:
            yield from _bind_read_only(path)
        hidden = [path for path in confinement.hidden if any(path.is_relative_to(shown) for shown in system)]
        for path in hidden:
            yield from ("--perms", "0755", "--tmpfs", str(path))
        yield from ("--dev", "/dev", *self._tmpfs("/dev/shm", _SHARED_MEMORY_BYTES), "--remount-ro", "/dev")
        # Run by root, ``/proc/sys/kernel/core_pattern`` is writable even without capabilities: it names a program that
        # the kernel runs outside the sandbox when a process crashes.
        yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
        for folder in ("/tmp", _DISK_TEMPORARY):
            yield from self._tmpfs(folder, confinement.limits.temporary)
        if confinement.temporary is not None:
            yield from ("--bind", str(confinement.temporary), _DISK_TEMPORARY)
        # An empty /run hides the sockets of Docker, D-Bus and key agents, each of which is a way to the host.
        yield from ("--perms", "0777", "--dir", _HOME, *self._tmpfs("/run", _RUN_BYTES))
        if confinement.network == "on":
            yield from _bind_resolver()
        if confinement.objects is not None:
            yield from _bind_read_only(confinement.objects, OBJECTS_PLACE)
        if confinement.socket is not None:
            forwarder = str(Path(__file__).with_name("forwarder.py"))
            yield from ("--ro-bind", forwarder, _FORWARDER, "--bind", str(confinement.socket), _PROXY)
        # After /tmp, which may contain the tree and would cover it.
        yield from _bind_user_folders(confinement)
        # Only now: bwrap had to create the mount points in there.
        for path in hidden:
            yield from ("--remount-ro", str(path))

    def _tmpfs(self, path: str, size: int) -> Iterator[str]:
        """Yield the mount of a folder in memory that everyone may write, of ``size`` bytes if bwrap can limit it."""
        if self._version >= _VERSION_WITH_SIZE:
            yield from ("--size", str(size))
        yield from ("--perms", "1777", "--tmpfs", path)


def _find_tool(name: str) -> str:
    return shutil.which(name, path=_TOOL_PATH) or ""


def _tree_place(confinement: Confinement) -> Path:
    """Return the path at which commands see the tree."""
    policy = confinement.path_policy
    return policy.place or policy.root


def _bind_user_folders(confinement: Confinement) -> Iterator[str]:
    """Yield the mounts of the home folder, of the folders that commands may read, and of the tree.

    What is mounted inside the home folder or the tree needs a mount point there, where earlier commands may have
    planted links; one that cannot be made safely is left out.
    """
    root, place, home = confinement.path_policy.root, _tree_place(confinement), confinement.home
    written: list[tuple[Path, Path]] = []

    def has_mount_point(path: Path, source: Path) -> bool:
        # The innermost folder that commands write: of the tree, if the tree is inside the home folder.
        for shown, folder in reversed(written):
            if path != shown and path.is_relative_to(shown):
                inside, in_tree = str(path.relative_to(shown)), folder == root
                return make_mount_point(folder, inside, is_file=source.is_file(), replace=not in_tree)
        return True

    def bind(option: str, source: Path, path: Path) -> Iterator[str]:
        if has_mount_point(path, source):
            yield from (*_create_parents(path), option, str(source), str(path))

    layers = {layer.path: layer for layer in confinement.layers}
    if home is not None:
        whole = layers.pop(HOME, None)
        yield from bind("--bind", whole.seen if whole else home.folder, home.place)
        written.append((home.place, (whole and whole.written) or home.folder))
    outside = [path for path in confinement.readable if not path.is_relative_to(place)]
    for path in outside:
        yield from bind("--ro-bind", path, path)
    yield from bind("--bind", root, place)
    written.append((place, root))
    if home is None:
        layers = {path: layer for path, layer in layers.items() if not path.startswith(f"{HOME}/")}
    shown = [_layer_place(layer, confinement) for layer in layers.values()]
    for path in confinement.readable:
        if path not in outside and path != place and not any(path.is_relative_to(over) for over in shown):
            yield from bind("--ro-bind", path, path)
    for layer, path in sorted(zip(layers.values(), shown, strict=True), key=lambda pair: len(pair[1].parts)):
        yield from bind("--bind" if layer.slot else "--ro-bind", layer.seen, path)


def _layer_place(layer: Layer, confinement: Confinement) -> Path:
    """Return the path at which commands see a layer."""
    if layer.path.startswith(f"{HOME}/") and confinement.home:
        return confinement.home.place / layer.path.removeprefix(f"{HOME}/")
    return _tree_place(confinement) / layer.path


def _bind_read_only(path: Path, place: Path | None = None) -> Iterator[str]:
    place = place or path
    yield from (*_create_parents(place), "--ro-bind", str(path), str(place))


def _create_parents(path: Path) -> Iterator[str]:
    """Yield the folders above a mount. Those that bwrap creates on its own may not be entered by other users."""
    for folder in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(folder))


def _bind_resolver() -> Iterator[str]:
    """Yield the mount of the target of ``/etc/resolv.conf``, which is often in ``/run`` and hidden there."""
    real = Path("/etc/resolv.conf").resolve()
    if real.is_file() and not real.is_relative_to("/etc"):
        yield from _bind_read_only(real)


def _limits(confinement: Confinement) -> Iterator[str]:
    """Yield the programs that lower the limits and then execute the command in their place."""
    if confinement.user is not None:
        user = str(confinement.user)
        yield from (_find_tool("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--")
    limits = confinement.limits
    # In a new user namespace only the tasks of the command count; without one, all tasks of the other user do.
    running = 0 if confinement.user is None else count_tasks(confinement.user)
    # Memory is left to ``ResourceMonitor``: RLIMIT_AS would refuse address space that sanitizers reserve and never use.
    values = (
        ("nproc", resource.RLIMIT_NPROC, running + limits.processes),
        ("fsize", resource.RLIMIT_FSIZE, limits.file_size),
        ("nofile", resource.RLIMIT_NOFILE, limits.open_files),
        ("core", resource.RLIMIT_CORE, 0),
    )
    yield _find_tool("prlimit")
    for name, kind, value in values:
        # A process without privileges cannot raise its hard limit, and prlimit fails if it tries.
        hard = resource.getrlimit(kind)[1]
        yield f"--{name}={value if hard == resource.RLIM_INFINITY else min(value, hard)}"
    yield "--"


def _forward(confinement: Confinement) -> Iterator[str]:
    if confinement.socket is not None:
        yield from (os.path.realpath(sys.executable), "-I", "-S", _FORWARDER, _PROXY, "--")
