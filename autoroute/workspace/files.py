"""File access for tools, inside the workspace by construction: no path and no link leads out of it."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

from autoroute.workspace.beneath import OpenBeneath, refuse_symlink, select_open_beneath
from autoroute.workspace.path_policy import FileRefused, PathPolicy

MAX_BYTES = 10 * 1024 * 1024
"""The largest file that is read."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY


class Entry(NamedTuple):
    """A name in a folder; ``other`` is a symbolic link, a pipe and the like."""

    name: str
    kind: Literal["folder", "file", "other"]


class Files:
    """The regular files within a boundary.

    Whatever is renamed or linked meanwhile, what is reached is beneath the root: see ``beneath``, which is chosen for
    this machine when it is not given. Methods take any path that the boundary takes, and raise ``FileRefused``, and
    ``OSError`` for what the system refuses (no such file, no permission).
    """

    def __init__(self, path_policy: PathPolicy, open_beneath: OpenBeneath | None = None) -> None:
        self._path_policy = path_policy
        self._open = open_beneath or select_open_beneath()

    def relative(self, path: str) -> str:
        """The path relative to the root, "" for the root itself; see ``PathPolicy``."""
        return self._path_policy.relative(path)

    def exists(self, path: str) -> bool:
        """Whether there is something; a symbolic link, there or on the way, is refused."""
        return self._look(path) is not None

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder; a symbolic link, there or on the way, is refused."""
        facts = self._look(path)
        return facts is not None and stat.S_ISDIR(facts.st_mode)

    def size(self, path: str) -> int | None:
        """The size in bytes of a file that can be read, None where there is none such."""
        try:
            facts = self._look(path)
        except (FileRefused, OSError):
            return None
        return facts.st_size if facts and stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 else None

    def entries(self, path: str) -> list[Entry]:
        """What is in a folder, in no order, without what is protected."""
        with self._opened_root() as root:
            folder = self._open(root, self.relative(path) or ".", _FOLDER)
        try:
            with os.scandir(folder) as found:
                return [Entry(one.name, _kind(one)) for one in found if not self._path_policy.protects(one.name)]
        finally:
            os.close(folder)

    def read(self, path: str, limit: int = MAX_BYTES) -> bytes:
        """The whole file, at most ``limit`` bytes; one that has more names than this one is refused."""
        handle = self._open_file(path)
        try:
            facts = os.fstat(handle)
            _check_regular(facts, path)
            _check_single(facts, path)
            size = facts.st_size
            if size <= limit:
                with os.fdopen(handle, "rb", closefd=False) as file:
                    data = file.read(limit + 1)
                size = len(data)
            if size > limit:
                raise FileRefused(f"{path} has {size:,} bytes; files over {limit:,} are not read whole")
            return data
        finally:
            os.close(handle)

    def write(self, path: str, data: bytes) -> None:
        """Replace or create the file in one step, and on the disk; folders on the way are made.

        An existing file keeps its mode. As root, what is made gets the owner of the folder that it is in.
        """
        with self._folder_of(path, make=True) as (folder, name):
            facts = _facts(folder, name, path)
            if facts:
                _check_regular(facts, path)
            # A new file that takes the name: never half written, and a hard link elsewhere keeps its bytes.
            temporary = f".autoroute-{uuid.uuid4().hex}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            handle = os.open(temporary, flags, 0o600 if facts else 0o666, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    _give_to_owner_of(folder, handle)
                    if facts:
                        os.fchmod(handle, stat.S_IMODE(facts.st_mode) & 0o777)
                    file.write(data)
                    file.flush()
                    os.fsync(handle)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def _look(self, path: str) -> os.stat_result | None:
        """What the system knows of a path, None where there is nothing."""
        if not self.relative(path):
            return self._path_policy.root.stat()
        try:
            with self._folder_of(path) as (folder, name):
                return _facts(folder, name, path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _open_file(self, path: str) -> int:
        inside = self._below(path)
        with self._opened_root() as root:
            try:
                # Non-blocking: opening a FIFO would wait for a writer.
                return self._open(root, inside, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            except OSError as error:
                if error.errno == errno.ENXIO:  # what opening a socket gives
                    raise _irregular(path) from None
                raise

    @contextmanager
    def _folder_of(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder that holds ``path``, and the name in it."""
        parent, _, name = self._below(path).rpartition("/")
        with self._opened_root() as root:
            try:
                folder = self._open(root, parent or ".", _FOLDER)
            except FileNotFoundError:
                if not make:
                    raise
                folder = self._make_folder(root, parent)
        try:
            yield folder, name
        finally:
            os.close(folder)

    def _make_folder(self, root: int, path: str) -> int:
        """The open folder at ``path``, made with those on the way as far as they are missing."""
        folder = os.dup(root)
        try:
            for name in path.split("/"):
                made = True
                try:
                    os.mkdir(name, dir_fd=folder)
                except FileExistsError:
                    made = False
                outer, folder = folder, self._open(folder, name, _FOLDER)
                try:
                    if made:
                        _give_to_owner_of(outer, folder)
                        os.fsync(outer)
                finally:
                    os.close(outer)
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _below(self, path: str) -> str:
        """The path relative to the root, which it is not itself."""
        inside = self.relative(path)
        if not inside:
            raise FileRefused(f"{path or '.'} is a folder")
        return inside

    @contextmanager
    def _opened_root(self) -> Iterator[int]:
        root = os.open(self._path_policy.root, _FOLDER)
        try:
            yield root
        finally:
            os.close(root)


def _facts(folder: int, name: str, path: str) -> os.stat_result | None:
    """What ``name`` in ``folder``, a part of ``path``, is; None where there is nothing. A link is refused."""
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(facts.st_mode):
        refuse_symlink(folder, name, path)
    return facts


def _check_regular(facts: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise FileRefused(f"{path} is a folder")
    if not stat.S_ISREG(facts.st_mode):
        raise _irregular(path)


def _check_single(facts: os.stat_result, path: str) -> None:
    """A file with a second name may be a file of the user's outside, which the path does not tell."""
    if facts.st_nlink > 1:
        raise FileRefused(
            f"{path} has {facts.st_nlink} names (hard links), and they may be outside the project; "
            "use bash to look at it, or to put a copy in its place"
        )


def _irregular(path: str) -> FileRefused:
    return FileRefused(f"{path} is no regular file")


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _give_to_owner_of(folder: int, handle: int) -> None:
    """What root makes belongs to the folder's owner: commands may run as that user, and must not be shut out."""
    if os.geteuid() == 0:
        owner, ours = os.fstat(folder), os.fstat(handle)
        if (owner.st_uid, owner.st_gid) != (ours.st_uid, ours.st_gid):
            # A root that may not, as in some containers, has no other user to run commands as either.
            with suppress(OSError):
                os.fchown(handle, owner.st_uid, owner.st_gid)
