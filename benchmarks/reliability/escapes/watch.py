"""Detection of changes in some folders, from the file system's metadata, and their restoration."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_Seen = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """The original state: metadata to restore, and the bytes of a file or the target of a link."""

    facts: os.stat_result
    content: bytes | str | None


class Watch:
    """Folders that must not change; folders in ``without`` are ignored.

    In ``loose`` folders only the content counts, not that something came and went.

    Every change moves the change time (contents, mode, owner, times, attributes, links), so the bytes need not be read.
    """

    def __init__(self, folders: Sequence[Path], without: Sequence[Path] = (), loose: Sequence[Path] = ()) -> None:
        self._folders = folders
        self._loose = frozenset(map(str, loose))
        self._without = frozenset(map(str, without))
        self._kept = {path: _Entry(facts, _content(path, facts)) for path, facts in self._walk()}
        self._seen = self._look()

    def changed(self) -> list[str]:
        """Return the paths that changed, appeared or disappeared."""
        now = self._look()
        return sorted(path for path in now.keys() | self._seen.keys() if now.get(path) != self._seen.get(path))

    def restore(self, changed: Sequence[str]) -> None:
        """Restore these paths."""
        # From above: what is below a link that was planted is no longer what it was.
        for path in changed:
            kept = self._kept.get(path)
            if kept is None or not stat.S_ISDIR(kept.facts.st_mode) or not os.path.isdir(path) or os.path.islink(path):  # noqa: PTH112, PTH114
                _remove(path)
        for path in changed:
            if path in self._kept:
                _put(path, self._kept[path])
        # Folders last: restoring their content has changed their times.
        for path in reversed(changed):
            if path in self._kept:
                facts = self._kept[path].facts
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)
        self._seen = self._look()

    def _look(self) -> dict[str, _Seen]:
        return {path: _seen(facts, loose=path in self._loose) for path, facts in self._walk()}

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield every path with its metadata; folders before their content."""
        waiting = [str(folder) for folder in self._folders]
        while waiting:
            path = waiting.pop()
            if path in self._without:
                continue
            try:
                facts = os.lstat(path)
            except FileNotFoundError:
                continue
            yield path, facts
            if stat.S_ISDIR(facts.st_mode):
                with suppress(OSError), os.scandir(path) as entries:
                    waiting += [entry.path for entry in entries]


def _seen(facts: os.stat_result, *, loose: bool) -> _Seen:
    if loose:
        return (facts.st_ino, facts.st_mode)
    return (
        facts.st_ino,
        facts.st_mode,
        facts.st_uid,
        facts.st_gid,
        facts.st_size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
    )


def _content(path: str, facts: os.stat_result) -> bytes | str | None:
    if stat.S_ISLNK(facts.st_mode):
        return str(Path(path).readlink())
    return Path(path).read_bytes() if stat.S_ISREG(facts.st_mode) else None


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            folders = (str(place) for place in Path(path).rglob("*") if place.is_dir() and not place.is_symlink())
            for folder in (path, *folders):
                Path(folder).chmod(0o700)  # no one may read the work folder of an overlay
            shutil.rmtree(path)
        else:
            Path(path).unlink()


def _put(path: str, kept: _Entry) -> None:
    place, mode = Path(path), kept.facts.st_mode
    if stat.S_ISDIR(mode):
        place.mkdir(exist_ok=True)
    elif isinstance(kept.content, str):
        place.symlink_to(kept.content)
    elif kept.content is not None:
        place.write_bytes(kept.content)
    else:
        return  # a socket: its removal is counted, and it is not restored
    if os.geteuid() == 0:
        os.lchown(path, kept.facts.st_uid, kept.facts.st_gid)
    if not stat.S_ISLNK(mode):
        place.chmod(stat.S_IMODE(mode))
