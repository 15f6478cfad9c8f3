"""Reading what installers and projects leave on disk: a bounded part of it, and never waiting for a pipe."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from autoroute.regular_files import open_regular

_MAX_FILE_BYTES = 256 * 1024
_MAX_NAMES = 2_000


def read_start(path: Path, limit: int = _MAX_FILE_BYTES) -> str:
    """Return at most ``limit`` bytes of a file as text, "" if it cannot be read or is not a regular one."""
    try:
        with open_regular(path, follow_links=True) as file:
            return file.read(limit).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def list_names(folder: Path, limit: int = _MAX_NAMES) -> list[str]:
    """Return at most ``limit`` of the names in a folder, sorted; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, limit))
    except OSError:
        return []
