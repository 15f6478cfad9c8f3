"""Which files there are to look at: all but ``.git`` and what ``.gitignore`` leaves out.

Symbolic links are never followed and never listed, a ``.gitignore`` that is one included.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from autoroute.tools.gitignore import Rule, opinion, read_rules
from autoroute.tools.tool import ToolError
from autoroute.workspace.files import Entry, Files
from autoroute.workspace.path_policy import FileRefused

_SECONDS = 60.0
_MAX_FILES = 500_000

# The rules on the way to a folder, outermost first, each with the folder that it is relative to.
_Rules = tuple[tuple[str, tuple[Rule, ...]], ...]


def list_files(files: Files, *, seconds: float = _SECONDS) -> list[str]:
    """Paths of the files under the root, relative to it, sorted by their parts.

    Raises ``ToolError`` when there are too many, or when ``seconds`` have passed.
    """
    deadline = time.monotonic() + seconds
    paths: list[str] = []
    for found in _walk(files):
        paths += found
        if len(paths) > _MAX_FILES:
            raise ToolError(f"there are more than {_MAX_FILES:,} files; look with `bash`, in a folder of your choice")
        if time.monotonic() > deadline:
            raise ToolError(f"listing the files took longer than {seconds:g} s")
    return sorted(paths, key=lambda path: path.split("/"))


def _walk(files: Files) -> Iterator[list[str]]:
    """Folder by folder, the files that no ``.gitignore`` on the way leaves out. A folder left out is not entered."""
    waiting: list[tuple[str, _Rules]] = [("", ())]
    while waiting:
        folder, above = waiting.pop()
        try:
            entries = files.entries(folder)
        except (FileRefused, OSError):
            continue
        rules = above
        if Entry(".gitignore", "file") in entries:
            rules = (*above, (folder, _rules(files, f"{folder}.gitignore")))
        found: list[str] = []
        for name, kind in entries:
            path = f"{folder}{name}"
            if kind == "folder" and not _ignored(path, rules, is_folder=True):
                waiting.append((f"{path}/", rules))
            elif kind == "file" and not _ignored(path, rules, is_folder=False):
                found.append(path)
        yield found


def _rules(files: Files, path: str) -> tuple[Rule, ...]:
    try:
        return read_rules(files.read(path))
    except (FileRefused, OSError):
        return ()


def _ignored(path: str, rules: _Rules, *, is_folder: bool) -> bool:
    """What the nearest ``.gitignore`` with an opinion says."""
    for folder, here in reversed(rules):
        verdict = opinion(here, os.fsencode(path.removeprefix(folder)), is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False
