"""Creating the folders and files that something is mounted on, beneath a folder that untrusted commands write.

A mount follows links on its way. A command could replace a parent of a mount point by a link that leads out of the
sandbox, and the next launch would create folders there. So each name is opened without following links.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_ENTER = 0o700
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def make_mount_point(folder: Path, path: str, *, is_file: bool = False, replace: bool = False) -> bool:
    """Create the folder (or the file) ``path`` beneath ``folder`` if it is missing; return whether it is there now.

    False means that something else is in the way, or a folder that denies access: nothing can be mounted there. With
    ``replace``, a link or a file in the way is deleted, and such a folder is opened up. No command may be running in
    ``folder``.
    """
    *parents, name = Path(path).parts
    handle = os.open(folder, _OPEN_FOLDER)
    try:
        for parent in parents:
            inner = _open_or_make(handle, parent, replace=replace)
            os.close(handle)
            handle = inner
        if is_file:
            _make_file(handle, name, replace=replace)
        else:
            os.close(_open_or_make(handle, name, replace=replace))
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def make_folders(root: Path, path: str) -> bool:
    """Make each part of a path a folder, in place of a file or link; return whether each was one.

    Raises ``OSError``. No command may be running in ``root``.
    """
    existed = True
    handle = os.open(root, _OPEN_FOLDER)
    try:
        for name in Path(path).parts:
            status = _read_status(handle, name)
            existed = existed and status is not None and stat.S_ISDIR(status.st_mode)
            inner = _open_or_make(handle, name, replace=True)
            os.close(handle)
            handle = inner
    finally:
        os.close(handle)
    return existed


def _open_or_make(folder: int, name: str, *, replace: bool) -> int:
    status = _read_status(folder, name)
    if status is not None and replace:
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=folder)
            status = None
        elif status.st_mode & _ENTER != _ENTER and status.st_uid == os.geteuid():
            os.chmod(name, stat.S_IMODE(status.st_mode) | _ENTER, dir_fd=folder)
    if status is None:
        os.mkdir(name, 0o755, dir_fd=folder)
    return os.open(name, _OPEN_FOLDER, dir_fd=folder)


def _make_file(folder: int, name: str, *, replace: bool) -> None:
    status = _read_status(folder, name)
    if status is not None and stat.S_ISLNK(status.st_mode) and replace:
        os.unlink(name, dir_fd=folder)
    handle = os.open(name, _OPEN_FILE, 0o644, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileExistsError(name)
    finally:
        os.close(handle)


def _read_status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
