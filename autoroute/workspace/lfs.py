"""Git LFS and other filters: content comes from the user's own store, and goes there with the commits.

A commit holds *pointers* in place of large files. The git of autoroute turns them into content and back by a program of
ours (``lfs_filter.py``), never by one that a configuration names. What the user's store lacks stays a pointer.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autoroute.errors import WorkspaceError
from autoroute.patterns import pattern
from autoroute.text import join_first
from autoroute.workspace import lfs_filter
from autoroute.workspace.git import Git
from autoroute.workspace.lfs_filter import MAX_POINTER_BYTES, Pointer, find_object, keep_object, parse_pointer
from autoroute.workspace.repository import Repository
from autoroute.workspace.secret_scan import ContainsKey, SecretFinding, find_kinds

_LFS = "lfs"
_MAX_NAMED = 5
_FILTER = pattern(r"\s(?:filter=([^\s]+))")
_BLOCK_BYTES = 8 * 1024 * 1024
_OVERLAP_BYTES = 64 * 1024
"""How much of a block is scanned again with the next one: more than a secret is long."""


def lfs_store(repository: Repository) -> Path:
    """Return the folder of the user's LFS objects, which need not exist."""
    storage = repository.git.run("config", "--type=path", "--get", "lfs.storage", accept=(0, 1)).decode().strip()
    return repository.git_dir / (storage or _LFS) / "objects"


def filter_settings(cache: Path, store: Path) -> tuple[str, ...]:
    """Return the settings under which git keeps new LFS content in ``cache``, and takes other from ``store``."""
    program = Path(lfs_filter.__file__).resolve()
    words = (sys.executable, "-I", "-S", str(program), str(cache), str(store))
    return (f"filter.lfs.process={shlex.join(words)}", "filter.lfs.required=true")


def find_filters(git: Git, commit: str) -> dict[str, list[str]]:
    """Map each filter that ``.gitattributes`` files of a commit name to the patterns of its files."""
    found: dict[str, list[str]] = {}
    entries = git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0") if commit else []
    for entry in entries:
        head, _, path = entry.partition(b"\t")
        if head[:4] != b"1006" or path.rpartition(b"/")[2] != b".gitattributes":
            continue
        folder = path.rpartition(b"/")[0].decode("utf-8", "replace")
        text = git.run("cat-file", "blob", head.split(b" ")[2].decode()).decode("utf-8", "replace")
        for line in text.splitlines():
            if not line.lstrip().startswith("#") and (name := _FILTER.search(line)):
                pattern = line.split()[0]
                found.setdefault(name[1], []).append(f"{folder}/{pattern}" if folder else pattern)
    return found


def find_pointers(git: Git, objects: Mapping[str, str]) -> dict[str, Pointer]:
    """Map paths to pointers, for the blobs (by path) that are pointers."""
    names = sorted(set(objects.values()))
    data = "".join(f"{name}\n" for name in names).encode()
    checked = git.run("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", data=data).decode()
    rows = [line.split(" ") for line in checked.splitlines()]
    small = [row[0] for row in rows if row[1] == "blob" and 0 < int(row[2]) < MAX_POINTER_BYTES]
    found = dict(_read_pointers(git, small))
    return {path: found[name] for path, name in objects.items() if name in found}


def describe_filters(repository: Repository, commit: str) -> list[str]:
    """Return a sentence for each filter whose files are not as the user has them."""
    filters = find_filters(repository.git, commit)
    told = []
    if _LFS in filters and (missing := _find_missing(repository, commit)):
        told.append(
            f"{len(missing)} Git LFS file{'s' if len(missing) > 1 else ''} without content in your store: "
            f"{join_first(missing, _MAX_NAMED)}; a run has pointers there (git lfs pull)"
        )
    for name, patterns in sorted(filters.items()):
        if name != _LFS:
            files = join_first(list(dict.fromkeys(patterns)), _MAX_NAMED)
            told.append(f"filter {name} is not run: {files} hold what the repository stores")
    return told


def _find_missing(repository: Repository, commit: str) -> list[str]:
    entries = repository.git.paths("ls-tree", "-r", "-z", "--full-tree", commit)
    blobs = {path: head.split(" ")[2] for head, _, path in (entry.partition("\t") for entry in entries)}
    store = lfs_store(repository)
    pointers = find_pointers(repository.git, blobs)
    return sorted(path for path, pointer in pointers.items() if not _has(store, pointer))


def _has(store: Path, pointer: Pointer) -> bool:
    try:
        return lfs_filter.object_path(store, pointer.oid).stat().st_size == pointer.size
    except OSError:
        return False


def _read_pointers(git: Git, names: Sequence[str]) -> Iterator[tuple[str, Pointer]]:
    data = git.run("cat-file", "--batch", data="".join(f"{name}\n" for name in names).encode())
    place = 0
    while place < len(data):
        end = data.index(b"\n", place)
        name, _, size = data[place:end].decode().split(" ")
        if pointer := parse_pointer(data[end + 1 : end + 1 + int(size)]):
            yield name, pointer
        place = end + int(size) + 2


class NewObjects:
    """The LFS content that a run has made, in a folder of its own, ``cache``; ``store`` is the user's."""

    def __init__(self, git: Git, cache: Path, store: Path) -> None:
        self._git = git
        self._cache = cache
        self._store = store

    def scan_tree(self, before: str, after: str, contains_key: ContainsKey) -> list[SecretFinding]:
        """Return the apparent secrets in the new content from one tree or commit to another."""
        return self._scan(self._changed(before, after), contains_key)

    def scan_commits(self, tip: str, base: str, contains_key: ContainsKey) -> list[SecretFinding]:
        """Return the apparent secrets in the new content of the commits from ``base`` to ``tip``."""
        return self._scan(self._added(tip, base), contains_key)

    def _scan(self, pointers: Mapping[str, Pointer], contains_key: ContainsKey) -> list[SecretFinding]:
        files = {path: find_object(pointer, [self._cache]) for path, pointer in pointers.items()}
        return [
            SecretFinding(path, 0, "", kind)
            for path, file in files.items()
            if file is not None
            for kind in _scan(file, contains_key)
        ]

    def deliver(self, tip: str, base: str) -> list[str]:
        """Copy the content that commits from ``base`` to ``tip`` need into the user's store, in whole files.

        Return the paths whose content is nowhere. Raises ``WorkspaceError`` if a file cannot be written.
        """
        missing = []
        for path, pointer in self._added(tip, base).items():
            if _has(self._store, pointer):
                continue
            file = find_object(pointer, [self._cache])
            if file is None:
                missing.append(path)
                continue
            try:
                self._store.mkdir(parents=True, exist_ok=True)
                keep_object(_read_blocks(file), self._store)
            except OSError as error:
                raise WorkspaceError(
                    f"cannot store the Git LFS content of {path} in {self._store}: {error.strerror}",
                    hint="free some space there",
                ) from None
        return missing

    def _changed(self, before: str, after: str) -> dict[str, Pointer]:
        fields = self._git.paths("diff-tree", "-r", "--raw", "--no-abbrev", "--no-renames", "-z", before, after)
        blobs = {path: line.split(" ")[3] for line, path in zip(fields[::2], fields[1::2], strict=True)}
        return find_pointers(self._git, {path: name for path, name in blobs.items() if name.strip("0")})

    def _added(self, tip: str, base: str) -> dict[str, Pointer]:
        lines = self._git.text("rev-list", "--objects", tip, *([f"^{base}"] if base else [])).splitlines()
        named = [line.partition(" ") for line in lines]
        return find_pointers(self._git, {path or name: name for name, _, path in named})


def _scan(file: Path, contains_key: ContainsKey) -> list[str]:
    """Return the kinds of apparent secrets in a file of any size."""
    kinds: dict[str, None] = {}
    rest = b""
    for block in _read_blocks(file):
        kinds |= dict.fromkeys(find_kinds(rest + block, contains_key))
        rest = block[-_OVERLAP_BYTES:]
    return list(kinds)


def _read_blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            yield block
