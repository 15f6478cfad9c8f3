"""The files that tools list and search: all except ``.git`` and what a ``.gitignore`` ignores.

Symbolic links are neither followed nor listed, and a ``.gitignore`` that is a link is not read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from autoroute.tools.gitignore import Rule, match_rules, parse_rules
from autoroute.tools.glob import parse_glob
from autoroute.tools.tool import ToolError
from autoroute.workspace.files import Entry, Files
from autoroute.workspace.path_policy import FileRefused

_TIMEOUT_SECONDS = 60.0
_MAX_FILES = 500_000

_RulesOfFolders = tuple[tuple[str, tuple[Rule, ...]], ...]
"""The rules that apply in a folder, outermost first, each with the folder that its patterns are relative to."""


def select_files(files: Files, path: str | None, glob: str | None) -> list[str]:
    """Return the files beneath ``path`` (None: the root) that match ``glob``, sorted.

    If ``path`` names a file, that file is the result, even if it is ignored or does not match. Raises ``ToolError``
    if nothing exists at ``path``, or if the folder contains no files that are not ignored.
    """
    folder = "" if path is None else files.relative(path)
    if not files.exists(folder):
        raise ToolError(f"path not found: {path}")
    if not files.is_folder(folder):
        return [folder]
    prefix = f"{folder}/" if folder else ""
    paths = [file for file in list_files(files) if file.startswith(prefix)]
    if prefix and not paths:
        raise ToolError(f"{folder} contains no files, or .gitignore excludes them")
    if glob is None:
        return paths
    pattern = parse_glob(glob)
    return [file for file in paths if pattern.matches(file.removeprefix(prefix))]


def list_files(
    files: Files, *, timeout_seconds: float = _TIMEOUT_SECONDS, now: Callable[[], float] = time.monotonic
) -> list[str]:
    """Return the paths of all files, relative to the root, sorted by their parts.

    Raises ``ToolError`` if there are too many, or after ``timeout_seconds``.
    """
    deadline = now() + timeout_seconds
    paths: list[str] = []
    for path in _walk(files):
        # At each file, because a .gitignore of megabytes takes a while for one.
        if now() > deadline:
            raise ToolError(f"listing the files took longer than {timeout_seconds:g} s; list a folder with `bash`")
        if path is not None:
            paths.append(path)
        if len(paths) > _MAX_FILES:
            raise ToolError(f"the project has more than {_MAX_FILES:,} files; list a single folder with `bash`")
    return sorted(paths, key=lambda path: path.split("/"))


def _walk(files: Files) -> Iterator[str | None]:
    """Yield each file that is not ignored, and None for any other entry. An ignored folder is not entered."""
    waiting: list[tuple[str, _RulesOfFolders]] = [("", ())]
    while waiting:
        folder, rules = waiting.pop()
        try:
            entries = files.entries(folder)
        except (FileRefused, OSError):
            continue
        if Entry(".gitignore", "file") in entries:
            rules = (*rules, (folder, _read_rules(files, f"{folder}.gitignore")))
        for name, kind in entries:
            path = f"{folder}{name}"
            is_shown = kind in ("file", "folder") and not _is_ignored(path, rules, is_folder=kind == "folder")
            if is_shown and kind == "folder":
                waiting.append((f"{path}/", rules))
            yield path if is_shown and kind == "file" else None


def _read_rules(files: Files, path: str) -> tuple[Rule, ...]:
    try:
        return parse_rules(files.read(path))
    except (FileRefused, OSError):
        return ()


def _is_ignored(path: str, rules: _RulesOfFolders, *, is_folder: bool) -> bool:
    """Return what the innermost ``.gitignore`` with a matching rule says."""
    for folder, folder_rules in reversed(rules):
        ignored = match_rules(folder_rules, os.fsencode(path.removeprefix(folder)), is_folder=is_folder)
        if ignored is not None:
            return ignored
    return False
