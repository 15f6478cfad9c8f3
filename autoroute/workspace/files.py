"""File access for tools that stays inside the workspace: neither a path nor a link leads out of it."""

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
"""The size of the largest file that tools read."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY


class Entry(NamedTuple):
    """A name in a folder and its kind; ``other`` is a symbolic link, a pipe and the like."""

    name: str
    kind: Literal["folder", "file", "other"]


class Files:
    """The regular files that a path policy allows.

    Every path is opened by ``open_beneath``, so links and renames cannot lead outside the root, not even while a method
    runs; the default is the best function for this machine. Methods accept any path that the policy accepts. They raise
    ``FileRefused``, and ``OSError`` when the system refuses (no such file, no permission).
    """

    def __init__(self, path_policy: PathPolicy, open_beneath: OpenBeneath | None = None) -> None:
        self._path_policy = path_policy
        self._open = open_beneath or select_open_beneath()

    def relative(self, path: str) -> str:
        """Return the path relative to the root, "" for the root itself; see ``PathPolicy``."""
        return self._path_policy.relative(path)

    def check_writable(self, path: str) -> None:
        """Raise ``FileRefused`` for a path that tools may read and not change."""
        self._path_policy.check_writable(self._path_policy.relative(path))

    def exists(self, path: str) -> bool:
        """Return whether the path exists; refuse a symbolic link at the path or on the way."""
        return self._find_status(path) is not None

    def is_folder(self, path: str) -> bool:
        """Return whether the path is a folder; refuse a symbolic link at the path or on the way."""
        status = self._find_status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def size(self, path: str) -> int | None:
        """Return the size in bytes of a file that ``read`` would accept, None for anything else."""
        try:
            status = self._find_status(path)
        except (FileRefused, OSError):
            return None
        return status.st_size if status and stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else None

    def entries(self, path: str) -> list[Entry]:
        """Return the entries of a folder, unsorted, without protected names."""
        with self._open_root() as root:
            folder = self._open(root, self.relative(path) or ".", _OPEN_FOLDER)
        try:
            with os.scandir(folder) as found:
                return [Entry(one.name, _kind_of(one)) for one in found if not self._path_policy.is_protected(one.name)]
        finally:
            os.close(folder)

    def read(self, path: str, limit: int = MAX_BYTES) -> bytes:
        """Return the whole file; refuse one of more than ``limit`` bytes, and one that has hard links."""
        handle = self._open_file(path)
        try:
            status = os.fstat(handle)
            _refuse_irregular(status, path)
            _refuse_hard_links(status, path)
            size = status.st_size
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
        """Replace or create the file in one step, durably; create missing folders on the way.

        An existing file keeps its mode. Run by root, new files and folders get the owner of the folder they are in.
        """
        self.check_writable(path)
        with self._open_parent(path, make=True) as (folder, name):
            status = _read_status(folder, name, path)
            if status:
                _refuse_irregular(status, path)
            # A new file takes over the name: a kill leaves no half-written file, and a hard link to a file of the
            # user's outside the workspace keeps its content, where writing in place would change both.
            temporary = f".autoroute-{uuid.uuid4().hex}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            handle = os.open(temporary, flags, 0o600 if status else 0o666, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    _give_to_folder_owner(folder, handle)
                    if status:
                        os.fchmod(handle, stat.S_IMODE(status.st_mode) & 0o777)
                    file.write(data)
                    file.flush()
                    os.fsync(handle)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def _find_status(self, path: str) -> os.stat_result | None:
        """Return the status of a path, None if it does not exist."""
        if not self.relative(path):
            return self._path_policy.root.stat()
        try:
            with self._open_parent(path) as (folder, name):
                return _read_status(folder, name, path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _open_file(self, path: str) -> int:
        inside = self._path_below_root(path)
        with self._open_root() as root:
            try:
                # Without O_NONBLOCK, opening a FIFO waits for a writer, forever.
                return self._open(root, inside, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a socket
                    raise _irregular_file(path) from None
                raise

    @contextmanager
    def _open_parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of ``path``; yield its descriptor and the name in it."""
        parent, _, name = self._path_below_root(path).rpartition("/")
        with self._open_root() as root:
            try:
                folder = self._open(root, parent or ".", _OPEN_FOLDER)
            except FileNotFoundError:
                if not make:
                    raise
                folder = self._make_folder(root, parent)
        try:
            yield folder, name
        finally:
            os.close(folder)

    def _make_folder(self, root: int, path: str) -> int:
        """Create the folder ``path`` and missing folders on the way; return its descriptor."""
        folder = os.dup(root)
        try:
            for name in path.split("/"):
                created = True
                try:
                    os.mkdir(name, dir_fd=folder)
                except FileExistsError:
                    created = False
                outer, folder = folder, self._open(folder, name, _OPEN_FOLDER)
                try:
                    if created:
                        _give_to_folder_owner(outer, folder)
                        os.fsync(outer)
                finally:
                    os.close(outer)
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _path_below_root(self, path: str) -> str:
        """Return the path relative to the root; refuse the root itself."""
        inside = self.relative(path)
        if not inside:
            raise FileRefused(f"{path or '.'} is a folder")
        return inside

    @contextmanager
    def _open_root(self) -> Iterator[int]:
        root = os.open(self._path_policy.root, _OPEN_FOLDER)
        try:
            yield root
        finally:
            os.close(root)


def _read_status(folder: int, name: str, path: str) -> os.stat_result | None:
    """Return the status of ``name`` in ``folder``, None if it does not exist; refuse a symbolic link."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        refuse_symlink(folder, name, path)
    return status


def _refuse_irregular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileRefused(f"{path} is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise _irregular_file(path)


def _refuse_hard_links(status: os.stat_result, path: str) -> None:
    """Refuse a file with hard links: another name of it may be a file of the user's outside the project."""
    if status.st_nlink > 1:
        raise FileRefused(
            f"{path} has {status.st_nlink} names (hard links), some perhaps outside the project; "
            "use bash to read it, or to replace it with a copy"
        )


def _irregular_file(path: str) -> FileRefused:
    return FileRefused(f"{path} is not a regular file")


def _kind_of(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _give_to_folder_owner(folder: int, handle: int) -> None:
    """Give what root created to the owner of the folder, because commands may run as that user and must reach it."""
    if os.geteuid() == 0:
        owner, ours = os.fstat(folder), os.fstat(handle)
        if (owner.st_uid, owner.st_gid) != (ours.st_uid, ours.st_gid):
            # In a container where root may not change owners, commands run as root too.
            with suppress(OSError):
                os.fchown(handle, owner.st_uid, owner.st_gid)
