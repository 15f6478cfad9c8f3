"""File access for tools, inside the workspace by construction: no path and no link leads out of it."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from autoroute.workspace.boundary import Boundary, FileRefused

MAX_BYTES = 10 * 1024 * 1024
"""The largest file that is read."""


class Files:
    """The regular files within a boundary.

    Every folder on the way is opened without following links, and the next name is looked up in it: whatever is renamed
    meanwhile, what is reached is beneath the root. Methods raise ``FileRefused``, and ``OSError`` for what the system
    refuses (no such file, no permission).
    """

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary

    def relative(self, path: str) -> str:
        """The path relative to the root, "" for the root itself; see ``Boundary``."""
        return self._boundary.relative(path)

    def read(self, path: str) -> bytes:
        """The whole file, at most ``MAX_BYTES``."""
        with self._folder_of(path) as (folder, name):
            # Non-blocking: opening a FIFO would wait for a writer.
            handle = _open(name, os.O_RDONLY | os.O_NONBLOCK, folder, path)
        try:
            facts = os.fstat(handle)
            _check_regular(facts, path)
            if facts.st_size > MAX_BYTES:
                raise FileRefused(f"{path} has {facts.st_size:,} bytes; files over {MAX_BYTES:,} are not read whole")
            with os.fdopen(os.dup(handle), "rb") as file:
                return file.read(MAX_BYTES)
        finally:
            os.close(handle)

    def write(self, path: str, data: bytes) -> None:
        """Replace or create the file in one step; folders on the way are made, an existing file keeps its mode."""
        with self._folder_of(path, make=True) as (folder, name):
            mode = 0o666 & ~_umask()
            with suppress(FileNotFoundError):
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                _check_regular(facts, path)
                mode = stat.S_IMODE(facts.st_mode) & 0o777
            # A new file that takes the name: never half written, and a hard link elsewhere keeps its bytes.
            temporary = f".autoroute-{uuid.uuid4().hex}"
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    @contextmanager
    def _folder_of(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder that holds ``path``, and the name in it."""
        parts = self.relative(path).split("/")
        if parts == [""]:
            raise FileRefused(f"{path} is a folder")
        folder = os.open(self._boundary.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = _open(part, os.O_RDONLY | os.O_DIRECTORY, folder, path)
                os.close(folder)
                folder = inner
            yield folder, parts[-1]
        finally:
            os.close(folder)


def _open(name: str, flags: int, folder: int, path: str) -> int:
    """Open a name in a folder, unless it is a symbolic link."""
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        with suppress(OSError):
            target = os.readlink(name, dir_fd=folder)
            raise FileRefused(f"{path} goes through a symbolic link to {target}; use the path it leads to") from None
        raise


def _check_regular(facts: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise FileRefused(f"{path} is a folder")
    if stat.S_ISLNK(facts.st_mode):
        raise FileRefused(f"{path} is a symbolic link; use the path it leads to")
    if not stat.S_ISREG(facts.st_mode):
        raise FileRefused(f"{path} is no regular file")


def _umask() -> int:
    # There is no other way to ask than to set it; tools that write run one after the other.
    current = os.umask(0o022)
    os.umask(current)
    return current
