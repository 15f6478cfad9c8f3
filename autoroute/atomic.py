"""Files in a folder that others write in too: replaced in one step, and read without going where a link leads."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

LONGEST = 512 * 1024 * 1024
"""Bytes of the longest file that is read: far more than a run of days writes, and less than a machine has."""


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file in a folder that is there. A link that stands in its place is replaced; what it leads to stays.

    Whoever reads it, whatever strikes, sees the old one or the new one, whole. Raises ``OSError``; the old file is then
    still there.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a text file that only the user may read (0600), and make its folder (0700) if it is missing.

    Raises ``OSError``, and ``ValueError`` for text with lone surrogates, which UTF-8 cannot encode.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, text.encode())


def read_file(path: Path, most: int = LONGEST) -> bytes:
    """A file that a repository may have brought: as much as it has now, if it is one and no longer than ``most``.

    Raises ``OSError``, for a link, a pipe or a device too: those could have no end, or never begin.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "it is a symbolic link"
        raise
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        if facts.st_size > most:
            raise OSError(errno.EFBIG, f"it is longer than {most >> 20} MiB", str(path))
        return file.read(facts.st_size)
