"""Pipes, sockets and devices in a tree: git would wait for them, and cannot commit them.

A command can make a pipe under the name of a file that git reads: ``mkfifo .gitignore`` let ``git add`` wait for 600 s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from autoroute.workspace.beneath import select_open_beneath
from autoroute.workspace.path_policy import FileRefused

_READ_BY_GIT = frozenset({".gitignore", ".gitattributes", ".gitmodules"})
_GIT_FOLDER = ".git"
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_special_files(top: Path) -> tuple[list[str], list[str]]:
    """Delete the special files in a tree that git would read; return their paths, and those of the other ones.

    A folder that cannot be entered, such as one with too long a path, is left out: git cannot enter it either.
    80,000 files take 0.2 s.
    """
    removed: list[str] = []
    others: list[str] = []
    for folder, prefix, entry in _find_special(top):
        if entry.name.casefold() in _READ_BY_GIT:
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
            removed.append(prefix + entry.name)
        else:
            others.append(prefix + entry.name)
    return removed, others


def _find_special(top: Path) -> Iterator[tuple[int, str, os.DirEntry[str]]]:
    """Yield each special file, with the descriptor of its folder and the folder's path from ``top``."""
    open_beneath = select_open_beneath()
    root = os.open(top, _OPEN_FOLDER)
    try:
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            try:
                folder = open_beneath(root, prefix or ".", _OPEN_FOLDER)
            except (FileRefused, OSError):
                continue
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if entry.name != _GIT_FOLDER:
                                waiting.append(f"{prefix}{entry.name}/")
                        elif not entry.is_file(follow_symlinks=False) and _is_special(folder, entry):
                            yield folder, prefix, entry
            finally:
                os.close(folder)
    finally:
        os.close(root)


def _is_special(folder: int, entry: os.DirEntry[str]) -> bool:
    """Return whether something that is neither a folder nor a regular file is not a harmless link either."""
    if not entry.is_symlink():
        return True
    if entry.name.casefold() not in _READ_BY_GIT:
        return False
    # git before 2.32 follows a link under these names.
    try:
        mode = os.stat(entry.name, dir_fd=folder).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
