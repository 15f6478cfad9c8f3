"""Files that git would store differently though no one changed them.

Attributes such as ``text``, ``ident`` and ``working-tree-encoding`` convert files between a commit and the work tree.
A repository may hold files that it committed before, or without, such a rule: with CRLF under ``text``, for example.
Any ``git add`` then rewrites every line of them, if it only looks at the file again. Here such a file keeps its content
in the commit as long as it is as the checkout made it, and once edited, only the edited lines change.

What a rule would do is found by experiment: the commit's version of a file is checked out and stored again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from autoroute.patterns import pattern
from autoroute.workspace.files import Files
from autoroute.workspace.git import Git, join_paths
from autoroute.workspace.path_policy import FileRefused

_ATTRIBUTES = ("text", "crlf", "eol", "ident", "working-tree-encoding", "filter")
"""What converts files. ``crlf`` is the old name of ``text``."""
_OWN_FILTER = b"lfs"
"""The filter that is a program of ours in the workspace: see ``lfs.py``."""
_INACTIVE = (b"unspecified", b"unset")
_ATTRIBUTES_FILE = ".gitattributes"
_REGULAR = (b"100644", b"100755")
_MAX_BYTES = 64 * 1024 * 1024
_MAX_ALIGNED_LINES = 20_000
_MAX_PATTERN_CHARACTERS = 2_000
"""git ignores longer lines of attributes, from 2,048 on."""
_GLOB_CHARACTERS = pattern(r"[\\*?\[]")
_QUOTED_CHARACTERS = pattern(r'[\x00-\x1f\\"\x7f]')


class Staged(NamedTuple):
    """A line of ``git diff-index --raw -z``: kind of change, path, and mode and object before and after."""

    kind: str
    path: str
    old_mode: bytes
    new_mode: bytes
    old: str
    new: str


def read_staged(git: Git, commit: str) -> list[Staged]:
    """Return the changes from a commit or tree to the index."""
    fields = git.run("diff-index", "--cached", "--raw", "--no-abbrev", "-z", "--no-renames", commit).split(b"\0")
    found = []
    for line, path in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, kind = line.removeprefix(b":").split(b" ")
        found.append(Staged(kind.decode(), os.fsdecode(path), old_mode, new_mode, old.decode(), new.decode()))
    return found


def attribute_pattern(path: str) -> str:
    """Return the pattern that matches exactly one path in a file of attributes, "" if it would be too long."""
    escaped = _GLOB_CHARACTERS.sub(r"\\\g<0>", f"/{path}")
    quoted = _QUOTED_CHARACTERS.sub(lambda match: f"\\{ord(match[0]):03o}", escaped)
    return f'"{quoted}"' if len(os.fsencode(quoted)) < _MAX_PATTERN_CHARACTERS else ""


@dataclass(frozen=True, slots=True)
class Kept:
    """How files are stored that git's conversions would rewrite.

    ``as_is`` are stored without conversion from now on. ``objects`` maps each other one to the object to store.
    """

    as_is: tuple[str, ...] = ()
    objects: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.as_is or self.objects)


def find_kept(
    git: Git, commit: str, staged: Sequence[Staged], files: Files, scratch: Path, *, by_attributes: bool = True
) -> Kept:
    """Return how to store the staged files that the conversions of ``commit`` would rewrite.

    ``git`` has just staged ``files``. Temporary files are made in ``scratch``. Without attributes this costs one call.
    If the caller cannot change files ``by_attributes``, ``as_is`` stays empty.
    """
    changed = {one.path: one for one in staged if one.kind == "M" and {one.old_mode, one.new_mode} <= {*_REGULAR}}
    paths = _select(git, changed, staged)
    moved = _find_moved(git, staged, files) if by_attributes else ()
    if not paths:
        return Kept(moved)
    as_is, objects = [*moved], {}
    with _checked_out(git, commit, paths, scratch) as (there, folder):
        there.run("update-index", "-z", "--stdin", data=join_paths(paths))
        rewritten = {one.path for one in read_staged(there, commit)}
        for path in paths:
            now, fresh = _read(files, path), _read_fresh(folder, path)
            if now is None or fresh is None:
                continue
            stored = git.run("cat-file", "blob", changed[path].old)
            if by_attributes and path in rewritten and stored == fresh and attribute_pattern(path):
                as_is.append(path)
            elif now in (fresh, stored):
                objects[path] = changed[path].old
            elif path in rewritten:
                mapped = _map_lines(stored, fresh, now)
                objects[path] = git.run("hash-object", "-w", "--no-filters", "--stdin", data=mapped).decode().strip()
    return Kept(tuple(as_is), objects)


def find_untouched(git: Git, commit: str, paths: Sequence[str], files: Files) -> set[str]:
    """Return which of the changed ``paths`` have the content that a checkout of ``commit`` gives them."""
    paths = _select(git, paths, ())
    if not paths:
        return set()
    with TemporaryDirectory(prefix="autoroute-") as scratch, _checked_out(git, commit, paths, Path(scratch)) as there:
        return {
            path for path in paths if (now := _read(files, path)) is not None and now == _read_fresh(there[1], path)
        }


def _select(git: Git, paths: Iterable[str], staged: Sequence[Staged]) -> list[str]:
    """Return the paths that attributes may convert: all of them if the change is to the attributes."""
    paths = sorted(paths)
    if not paths:
        return []
    active: set[str] = set()
    filtered: set[str] = set()
    fields = git.run("check-attr", "--cached", "-z", "--stdin", *_ATTRIBUTES, data=join_paths(paths)).split(b"\0")
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        if value not in _INACTIVE:
            (filtered if name == b"filter" and value != _OWN_FILTER else active).add(os.fsdecode(path))
    if any(one.path.rpartition("/")[2] == _ATTRIBUTES_FILE for one in staged):
        active |= set(paths)
    # The program of another filter is not run here; whether such a file has changed, only the filter knows.
    return [path for path in paths if path in active - filtered]


def _find_moved(git: Git, staged: Sequence[Staged], files: Files) -> tuple[str, ...]:
    """Return the new files that are deleted ones under a new name, to the byte, but would be stored differently."""
    deleted = {one.old for one in staged if one.kind == "D" and one.old_mode in _REGULAR}
    added = {one.path: one.new for one in staged if one.kind == "A" and one.new_mode in _REGULAR}
    if not deleted or not added:
        return ()
    return tuple(
        path
        for path in _select(git, added, staged)
        if (now := _read(files, path)) is not None
        and (name := _object_name(now, len(added[path]))) in deleted
        and name != added[path]
        and attribute_pattern(path)
    )


def _object_name(data: bytes, digits: int) -> str:
    """Return the name of a blob, as SHA-1 or SHA-256 by its number of hexadecimal digits."""
    algorithm = hashlib.sha1 if digits == hashlib.sha1().digest_size * 2 else hashlib.sha256
    return algorithm(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def _checked_out(git: Git, commit: str, paths: Sequence[str], scratch: Path) -> Iterator[tuple[Git, Path]]:
    """Check out some files of a commit in a new folder; yield git there, with an index of its own, and the folder."""
    with TemporaryDirectory(prefix="checkout-", dir=scratch) as made:
        folder = Path(made) / "tree"
        folder.mkdir()
        git_dir = git.git_dir or Path(git.text("rev-parse", "--path-format=absolute", "--git-common-dir"))
        there = replace(git, folder=folder, git_dir=git_dir, work_tree=folder)
        there = there.with_variables(GIT_INDEX_FILE=str(Path(made) / "index"))
        there.run("read-tree", commit)
        there.run("checkout-index", "--force", "-z", "--stdin", data=join_paths(paths))
        yield there, folder


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path, _MAX_BYTES)
    except (FileRefused, OSError):
        return None


def _read_fresh(folder: Path, path: str) -> bytes | None:
    file = folder / path
    return file.read_bytes() if file.is_file() and file.stat().st_size <= _MAX_BYTES else None


def _map_lines(stored: bytes, fresh: bytes, now: bytes) -> bytes:
    """Return ``now`` with each line that equals one of ``fresh`` as it is in ``stored``."""
    before, checked_out, after = (text.splitlines(keepends=True) for text in (stored, fresh, now))
    if len(before) != len(checked_out) or max(len(before), len(after)) > _MAX_ALIGNED_LINES:
        return now
    for block in SequenceMatcher(None, checked_out, after).get_matching_blocks():
        after[block.b : block.b + block.size] = before[block.a : block.a + block.size]
    return b"".join(after)
