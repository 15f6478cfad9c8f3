"""Folders that others filled, gone through from the inside out and deleted: however deep, closed or full of links."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = 0o700
_THROUGH_LINKS = os.chmod not in os.supports_follow_symlinks
"""Linux changes the mode of no link by its name; what is one is found out when it is opened."""


def remove_tree(top: Path) -> str:
    """Delete a folder with all that is in it; why some of it stayed, "" when it is gone.

    Folders that their owner may not change are opened on the way. Nothing else may be at work in it.
    """
    stayed = ""
    try:
        for folder, name, is_folder in walk_bottom_up(top, _enter_by_force):
            try:
                (os.rmdir if is_folder else os.unlink)(name, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                stayed = stayed or f"{name}: {error.strerror}"
    except FileNotFoundError:
        return ""
    except OSError as error:
        return stayed or str(error.strerror)
    return stayed


def make_folders_writable(top: Path) -> None:
    """Take back what keeps the owner of a folder, and of those in it, from changing it."""
    for _ in walk_bottom_up(top, _enter_by_force):
        pass


def _enter(name: str, folder: int) -> int:
    return os.open(name, _FOLDER, dir_fd=folder)


def _enter_by_force(name: str, folder: int) -> int:
    try:
        handle = _enter(name, folder)
    except PermissionError:
        os.chmod(name, _OPEN, dir_fd=folder, follow_symlinks=_THROUGH_LINKS)
        return _enter(name, folder)
    with suppress(OSError):  # what cannot be deleted then says so itself
        if os.fstat(handle).st_mode & _OPEN != _OPEN:
            os.fchmod(handle, _OPEN)
    return handle


def walk_bottom_up(top: Path, enter: Callable[[str, int], int] = _enter) -> Iterator[tuple[int, str, bool]]:
    """All that is in a folder from the inside out, the folder itself last, through no link.

    Each as an open handle of the folder that it is in, its name there, and whether it is a folder. One handle is open
    at a time and no path is long, for a model may dig deeper than the stack, the handles and the longest path of a
    system. What cannot be entered comes by itself.
    """
    handle = os.open(top.parent, _FOLDER & ~os.O_NOFOLLOW)
    try:
        levels = [(top.name, _identity(handle), [top.name])]
        while True:
            name, _, folders = levels[-1]
            if folders:
                name = folders.pop()
                try:
                    below = enter(name, handle)
                except OSError:
                    yield handle, name, True
                    continue
                os.close(handle)
                handle = below
                files, folders = _contents(handle)
                levels.append((name, _identity(handle), folders))
                for file in files:
                    yield handle, file, False
            elif len(levels) > 1:
                levels.pop()
                above = os.open("..", _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = above
                if _identity(handle) != levels[-1][1]:
                    # A process that outlived its command: the way up leads elsewhere now.
                    raise OSError(errno.ESTALE, "a folder was moved meanwhile", name)
                yield handle, name, True
            else:
                return
    finally:
        os.close(handle)


def _contents(folder: int) -> tuple[list[str], list[str]]:
    """The names of what is no folder, and of what is one."""
    names: tuple[list[str], list[str]] = ([], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            names[entry.is_dir(follow_symlinks=False)].append(entry.name)
    return names


def _identity(folder: int) -> tuple[int, int]:
    facts = os.fstat(folder)
    return facts.st_dev, facts.st_ino
