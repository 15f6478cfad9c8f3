"""The reading of files that someone else may have put there: regular ones only, without waiting, within a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_FILE_BYTES = 512 * 1024 * 1024
"""The longest file that is read: far more than a run of days writes, and less than a machine's memory."""
_KIB, _MIB = 1024, 1024 * 1024
# O_NONBLOCK: to open a pipe without a writer would wait forever. O_NOCTTY: a terminal must not become ours.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class NotRegular(OSError):
    """A folder, pipe, socket or device in place of a file."""


def open_regular(path: Path, limit: int | None = None, *, follow_links: bool = False) -> BinaryIO:
    """Open a regular file of at most ``limit`` bytes for reading.

    Raises ``OSError`` for anything else: a pipe blocks, a device may never end.

    A repository may have brought the file. So a symbolic link is refused, unless ``follow_links``: it could lead to a
    file of the user's.
    """
    try:
        handle = os.open(path, _FLAGS | (0 if follow_links else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP and not follow_links:
            error.strerror = "it is a symbolic link"
        if error.errno != errno.ENXIO:
            raise
        # A socket cannot be opened at all.
        raise _not_regular(path) from None
    facts = os.fstat(handle)
    if stat.S_ISREG(facts.st_mode) and (limit is None or facts.st_size <= limit):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if limit is None or not stat.S_ISREG(facts.st_mode):
        raise _not_regular(path)
    raise OSError(errno.EFBIG, f"it is longer than {format_limit(limit)}", str(path))


def read_file(path: Path, limit: int = MAX_FILE_BYTES, *, follow_links: bool = False) -> bytes:
    """Return the bytes that a regular file of at most ``limit`` bytes has now. Raises ``OSError``."""
    with open_regular(path, limit, follow_links=follow_links) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def format_limit(limit: int) -> str:
    """Return a number of bytes as ``256 KiB`` or ``512 MiB``."""
    return f"{limit // _MIB} MiB" if limit >= _MIB else f"{limit // _KIB} KiB"


def _not_regular(path: Path) -> NotRegular:
    return NotRegular(errno.EINVAL, "it is not a regular file", str(path))
