"""Files in folders that other programs also write to: replaced atomically, without following a link."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


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
