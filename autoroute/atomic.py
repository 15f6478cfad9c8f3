"""Files in folders that other programs also write to: replaced atomically, and read without following a link."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

MAX_FILE_BYTES = 512 * 1024 * 1024
"""The longest file that is read: far more than a run of days writes, and less than a machine's memory."""


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file of an existing folder. A symbolic link at ``path`` is replaced, not followed.

    A reader sees the whole old file or the whole new one, whatever interrupts the write. Raises ``OSError``, and
    leaves the old file in place then.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)  # else a power loss after the rename could leave an empty file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file that only this user may read (0600), and make its folder (0700) if it is missing.

    Raises ``OSError``, and ``ValueError`` for lone surrogates, which UTF-8 cannot encode.
    """
    data = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, data)


def read_file(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes that a file has now, if it is a regular file of at most ``limit`` bytes.

    A repository may have brought the file. So a symbolic link is not followed: it could lead to a file of the user's.
    A pipe or a device is not read: it could block or never end. Each of them, and a longer file, raises ``OSError``.
    """
    try:
        # O_NONBLOCK: to open a pipe without a writer would wait forever. O_NOCTTY: a terminal must not become ours.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "it is a symbolic link"
        raise
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if facts.st_size > limit:
            raise OSError(errno.EFBIG, f"it is longer than {limit >> 20} MiB", str(path))
        return file.read(facts.st_size)
