"""Walking and deleting folders that untrusted programs filled: with any depth, permissions and links.

Run as ``python -I rmtree.py FOLDER``, this deletes what was set aside in that folder. It imports nothing of ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import overload

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_MODE = 0o700
_SET_ASIDE = "removed-"
_MAX_WAIT_SECONDS = 1.0
_LOWEST_PRIORITY = 19
_FOLLOW_SYMLINKS = os.chmod not in os.supports_follow_symlinks
"""Linux cannot change the mode of a link itself; opening with ``O_NOFOLLOW`` has ruled out a link before."""


@overload
def remove_tree(top: Path) -> str: ...
@overload
def remove_tree(top: Path, *, deadline: float) -> str | None: ...
def remove_tree(top: Path, *, deadline: float = inf) -> str | None:
    """Delete a folder and everything in it; return why something remained, "" when all is gone.

    Folders that deny their owner access are made accessible first. No other process may be working in the folder.
    If ``time.monotonic()`` reaches ``deadline``, this stops and returns None.
    """
    failure = ""
    try:
        for folder, name, is_folder in walk_bottom_up(top, _enter_by_force):
            if time.monotonic() > deadline:
                return None
            try:
                (os.rmdir if is_folder else os.unlink)(name, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                failure = failure or f"{name}: {error.strerror}"
    except FileNotFoundError:
        return ""
    except OSError as error:
        return failure or str(error.strerror)
    return failure


def remove_folder(folder: Path, *, max_wait: float = _MAX_WAIT_SECONDS) -> str:
    """Delete a folder, in the background after ``max_wait`` seconds; return why something remained, "" otherwise.

    The workspace of a large repository has 80,000 files, and deleting them took 41 to 68 s after the result. So the
    rest is renamed and left to a process of low priority that outlives autoroute. ``sweep`` replaces a killed one.
    """
    reason = remove_tree(folder, deadline=time.monotonic() + max_wait)
    if reason is not None:
        return reason
    try:
        folder.rename(folder.with_name(f"{_SET_ASIDE}{uuid.uuid4().hex}"))
    except OSError:
        return remove_tree(folder) or ""
    sweep(folder.parent)
    return ""


def sweep(place: Path) -> None:
    """Start a process that removes what was set aside in ``place``, if there is anything."""
    if not any(place.glob(f"{_SET_ASIDE}*")):
        return
    # No key reaches this process. It starts another one and ends, so that no caller has to wait for a child.
    with suppress(OSError):
        null = subprocess.DEVNULL
        command = [sys.executable, "-I", "-B", str(Path(__file__).resolve()), str(place)]
        subprocess.run(command, cwd="/", env={}, stdin=null, stdout=null, stderr=null, check=False)


def remove_path(path: Path) -> str:
    """Delete a folder with all in it, or a file or link; return why something remained, "" when all is gone."""
    if path.is_dir() and not path.is_symlink():
        return remove_tree(path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return str(error.strerror)
    return ""


def make_folders_writable(top: Path) -> None:
    """Give the owner read, write and search permission on a folder and all folders in it."""
    for _ in walk_bottom_up(top, _enter_by_force):
        pass


def _enter(name: str, folder: int) -> int:
    return os.open(name, _OPEN_FOLDER, dir_fd=folder)


def _enter_by_force(name: str, folder: int) -> int:
    try:
        handle = _enter(name, folder)
    except PermissionError:
        os.chmod(name, _OWNER_MODE, dir_fd=folder, follow_symlinks=_FOLLOW_SYMLINKS)
        return _enter(name, folder)
    with suppress(OSError):  # if this matters, the deletion fails and reports it
        if os.fstat(handle).st_mode & _OWNER_MODE != _OWNER_MODE:
            os.fchmod(handle, _OWNER_MODE)
    return handle


def walk_bottom_up(top: Path, enter: Callable[[str, int], int] = _enter) -> Iterator[tuple[int, str, bool]]:
    """Yield everything in a folder, each folder after its contents and ``top`` last, without following links.

    Each item is the descriptor of the containing folder, the name in it, and whether that is a folder. A folder that
    ``enter`` cannot open is yielded without its contents. A command may nest folders deeper than Python's stack, the
    limit on open files and ``PATH_MAX``, so this uses no recursion, one descriptor at a time and no path.
    """
    handle = os.open(top.parent, _OPEN_FOLDER & ~os.O_NOFOLLOW)
    try:
        levels = [(top.name, _identity(handle), [top.name])]
        while True:
            name, _, folders = levels[-1]
            if folders:
                name = folders.pop()
                try:
                    inner = enter(name, handle)
                except OSError:
                    yield handle, name, True
                    continue
                os.close(handle)
                handle = inner
                files, folders = _contents(handle)
                levels.append((name, _identity(handle), folders))
                for file in files:
                    yield handle, file, False
            elif len(levels) > 1:
                levels.pop()
                outer = os.open("..", _OPEN_FOLDER, dir_fd=handle)
                os.close(handle)
                handle = outer
                if _identity(handle) != levels[-1][1]:
                    # A process that outlived its command moved the folder: deleting on would delete something else.
                    raise OSError(errno.ESTALE, "a folder was moved meanwhile", name)
                yield handle, name, True
            else:
                return
    finally:
        os.close(handle)


def measure(folder: Path) -> int:
    """Return the size of a folder on the disk, in bytes, as far as it can be read. No link is followed."""
    total = 0
    with suppress(OSError):
        for parent, name, _ in walk_bottom_up(folder):
            with suppress(OSError):
                total += os.stat(name, dir_fd=parent, follow_symlinks=False).st_blocks * 512
    return total


def _contents(folder: int) -> tuple[list[str], list[str]]:
    """Return the names of files and other non-folders, and the names of folders."""
    names: tuple[list[str], list[str]] = ([], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            names[entry.is_dir(follow_symlinks=False)].append(entry.name)
    return names


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


def main(place: Path) -> None:
    """Remove what was set aside in ``place``, in a new process."""
    if os.fork():
        return
    os.setsid()
    os.nice(_LOWEST_PRIORITY)
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a file system without locks: two that remove the same do no harm
        fcntl.flock(handle, fcntl.LOCK_EX)
    # Again, because another run may set something aside while this one waits or works.
    while found := sorted(path for path in place.glob(f"{_SET_ASIDE}*") if path.is_dir() and not path.is_symlink()):
        failures = [remove_tree(path) for path in found]
        if any(failures):
            break
    with suppress(OSError):
        place.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
