"""Pipes, sockets and devices in a tree: git would wait for them, and cannot commit them.

A command can make a pipe under the name of a file that git reads: ``mkfifo .gitignore`` let ``git add`` wait for 600 s.
git also reads each repository that was made in the tree (``q/.git/HEAD``). Where such a ``.git`` is a file or a link,
the repository may be any folder, so no special file in the tree is harmless then.
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
    leads_elsewhere = False
    for folder, prefix, entry in _walk(top):
        if _is_special(folder, prefix, entry):
            if _is_opened_by_git(prefix, entry.name):
                removed.append(_remove(folder, prefix, entry))
            else:
                others.append(prefix + entry.name)
        elif prefix and entry.name.casefold() == _GIT_FOLDER:
            leads_elsewhere = True
    if leads_elsewhere and others:
        removed += [_remove(*found) for found in _walk(top) if _is_special(*found)]
        others = []
    # What is in the ``.git`` that commands use is their own, and no other git reads it.
    return removed, [path for path in others if not path.startswith(f"{_GIT_FOLDER}/")]


def _remove(folder: int, prefix: str, entry: os.DirEntry[str]) -> str:
    with suppress(OSError):
        os.unlink(entry.name, dir_fd=folder)
    return prefix + entry.name


def _walk(top: Path) -> Iterator[tuple[int, str, os.DirEntry[str]]]:
    """Yield all but folders, each with the descriptor of its folder and the folder's path."""
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
                            waiting.append(f"{prefix}{entry.name}/")
                        else:
                            yield folder, prefix, entry
            finally:
                os.close(folder)
    finally:
        os.close(root)


def _is_special(folder: int, prefix: str, entry: os.DirEntry[str]) -> bool:
    """Return whether this is a special file, or a link that git would follow to one."""
    if entry.is_file(follow_symlinks=False):
        return False
    if not entry.is_symlink():
        return True
    # git before 2.32 follows a link under the names of its own files; every git does within a repository.
    if not _is_opened_by_git(prefix, entry.name):
        return False
    try:
        mode = os.stat(entry.name, dir_fd=folder).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _is_opened_by_git(prefix: str, name: str) -> bool:
    """Return whether our git opens a file of this name in this folder: it is its own, or in a repository below."""
    return name.casefold() in _READ_BY_GIT or f"/{_GIT_FOLDER}/" in prefix.casefold()
