"""Walking and deleting folders that untrusted programs filled: with any depth, permissions and links."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_MODE = 0o700
_FOLLOW_SYMLINKS = os.chmod not in os.supports_follow_symlinks
"""Linux cannot change the mode of a link itself; opening with ``O_NOFOLLOW`` has ruled out a link before."""


def remove_tree(top: Path) -> str:
    """Delete a folder and everything in it; return why something remained, "" when all is gone.

    Folders that deny their owner access are made accessible first. No other process may be working in the folder.
    """
    failure = ""
    try:
        for folder, name, is_folder in walk_bottom_up(top, _enter_by_force):
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
