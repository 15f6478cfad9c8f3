"""Making the workspace what a checkout of a commit would be: what is verified then is what is delivered.

Commands and models leave more in a tree than git commits: ignored files, empty folders, nested repositories, content
that a filter or an attribute changes on its way into a commit. A verification could pass because of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from autoroute.errors import WorkspaceError
from autoroute.workspace import Differences
from autoroute.workspace.beneath import is_free_of_links
from autoroute.workspace.files import Files
from autoroute.workspace.git import Git, join_paths
from autoroute.workspace.path_policy import FileRefused, PathPolicy
from autoroute.workspace.rmtree import remove_path

CACHE_RULES = ("__pycache__/", "*.py[co]", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".DS_Store")
"""Ignore rules for what test runs leave behind in every project; it is removed and not worth a word."""
_LEFT = ("ls-files", "--others", "--exclude-standard", "--directory", "-z")
_MAX_COMPARED_FILES = 5_000


def check_out_anew(git: Git, root: Path, base: str, commit: str, kept: Collection[str]) -> Differences:
    """Make the tree at ``root`` a checkout of ``commit``; return what it had beyond that.

    Files that differ from ``base``, which was checked out before any model worked, are written anew; all are if the
    attributes of files changed. What is in ``kept`` (paths of folders and files) stays. Raises ``WorkspaceError``.
    """
    git.run("read-tree", commit)
    ignored, untracked = _left(git, kept, "--ignored"), _left(git, kept)
    changed = git.paths("diff-tree", "-r", "--name-only", "--no-renames", "--diff-filter=d", "-z", base, commit)
    before = dict(_read(root, changed))
    for path in (*ignored, *untracked):
        _remove(root, path, kept)
    git.run("read-tree", "--reset", "-u", commit)
    rewritten = changed
    if any(path.rpartition("/")[2] == ".gitattributes" for path in changed):
        rewritten = git.paths("ls-files", "-z")
    _write_anew(git, root, rewritten)
    after = dict(_read(root, changed))
    return Differences(
        ignored=tuple(path for path in ignored if not _is_cache(path)),
        untracked=tuple(path for path in untracked if not _is_cache(path)),
        converted=tuple(path for path, content in before.items() if after.get(path, content) != content),
    )


def list_ignored(git: Git, kept: Collection[str]) -> list[str]:
    """Return the ignored files and folders in the tree, without those that are ``kept`` or hold one that is."""
    return [path for path in _left(git, kept, "--ignored") if not any(one.startswith(f"{path}/") for one in kept)]


def _left(git: Git, kept: Collection[str], *options: str) -> list[str]:
    paths = (path.rstrip("/") for path in git.paths(*_LEFT, *options))
    return [path for path in paths if not any(path == one or path.startswith(f"{one}/") for one in kept)]


def _is_cache(path: str) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, rule.rstrip("/")) for rule in CACHE_RULES)


def _read(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the regular files among ``paths``."""
    files = Files(PathPolicy(root))
    for path in paths[:_MAX_COMPARED_FILES]:
        with suppress(FileRefused, OSError):
            yield path, files.read(path)


def _write_anew(git: Git, root: Path, paths: Iterable[str]) -> None:
    """Check files out again. They are deleted first, because git leaves one that looks unchanged as it is."""
    written = [path for path in paths if _delete(root, path)]
    if written:
        git.run("checkout-index", "--force", "-u", "-z", "--stdin", data=join_paths(written))


def _remove(root: Path, path: str, kept: Collection[str]) -> None:
    """Delete a file or folder in the tree, except what is kept in it."""
    inside = [one for one in kept if one.startswith(f"{path}/")]
    if not inside:
        if not _delete(root, path):
            raise WorkspaceError(f"cannot delete {root / path}", hint="delete it yourself")
        return
    for entry in (root / path).iterdir():
        if f"{path}/{entry.name}" not in kept:
            _remove(root, f"{path}/{entry.name}", inside)


def _delete(root: Path, path: str) -> bool:
    """Delete a file or folder; return False if that is impossible or the way to it leads through a link."""
    return is_free_of_links(root, str(Path(path).parent)) and not remove_path(root / path)
