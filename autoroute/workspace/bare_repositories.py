"""Folders of a tree that git takes for a repository: ``HEAD`` beside ``objects`` and ``refs``, without any ``.git``.

git looks for one in each folder from the current one up. With ``config`` in it, ``git status`` in such a folder runs
what ``core.fsmonitor`` names there. Commits can hold these names, so a change leaves them out like other repositories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import PurePosixPath

from autoroute.workspace.conversions import Staged
from autoroute.workspace.git import Git
from autoroute.workspace.path_policy import fold_name

_HEAD = "head"
_STORES = (frozenset({"objects", "refs"}), frozenset({"commondir"}))
"""What ``is_git_directory`` in git's setup.c asks for beside HEAD: one of these. Links and programs count there too."""
_MARKS = frozenset({_HEAD}).union(*_STORES)
_OWN = _MARKS | {
    *("config", "config.worktree", "gitdir", "description", "index", "packed-refs", "shallow", "reftable"),
    *("hooks", "info", "logs", "branches", "modules", "worktrees", "lfs", "rr-cache", "fetch_head", "orig_head"),
}
"""The names that git itself writes in a repository."""


def find_bare_repositories(paths: Iterable[str]) -> set[str]:
    """Return the folders, by their folded names, that git takes for repositories if a tree has these files.

    The root is not one of them: it has ``.git``, which git looks for first.
    """
    found: dict[str, set[str]] = {}
    for path in paths:
        for folder, name in _places(path):
            if name in _MARKS:
                found.setdefault(folder, set()).add(name)
    return {folder for folder, names in found.items() if _HEAD in names and any(store <= names for store in _STORES)}


def belongs_to(path: str, repositories: Set[str]) -> str:
    """Return the folder of the bare repository that a path is a part of, "" if it is of none."""
    parts = PurePosixPath(path).parts
    for index, (folder, name) in enumerate(_places(path), start=1):
        if folder in repositories and name in _OWN:
            return "/".join(parts[:index])
    return ""


def may_make_one(paths: Iterable[str]) -> bool:
    """Return whether a change of these paths can make or change a bare repository."""
    return any(name in _OWN for path in paths for _, name in _places(path))


def find_staged_parts(git: Git, tip: str, staged: Sequence[Staged]) -> dict[str, str]:
    """Map each added path that makes a folder of the index a repository, which ``tip`` has not, to that folder."""
    added = [one.path for one in staged if one.kind == "A"]
    if not may_make_one(added):
        return {}
    before = find_bare_repositories(git.paths("ls-tree", "-r", "-z", "--name-only", tip))
    made = find_bare_repositories(git.paths("ls-files", "-z")) - before
    return {path: folder for path in added if (folder := belongs_to(path, made))}


def find_around(path: str, exists: Callable[[str], bool]) -> str:
    """Return the folder of the bare repository that a path is a part of, where ``exists`` tells what a tree has."""
    parts = PurePosixPath(path).parts
    for index in range(1, len(parts)):
        folder = "/".join(parts[:index])
        is_part = fold_name(parts[index]) in _OWN and exists(f"{folder}/HEAD")
        if is_part and any(all(exists(f"{folder}/{name}") for name in store) for store in _STORES):
            return folder
    return ""


def _places(path: str) -> Iterable[tuple[str, str]]:
    """Yield each component of a path below the first, folded, after the folded path of its folder."""
    folded = "/".join(map(fold_name, path.split("/")))
    start = folded.find("/")
    while start >= 0:
        end = folded.find("/", start + 1)
        yield folded[:start], folded[start + 1 : end if end >= 0 else None]
        start = end
