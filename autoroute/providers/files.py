"""How this room writes its small private files, which all runs on the machine share."""

from __future__ import annotations

from pathlib import Path

from autoroute.atomic import replace_file


def write_private(path: Path, text: str) -> None:
    """Replace a file (0600) and make, where need be, its folder (0700).

    Raises ``OSError``, and ``ValueError`` for half characters.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, text.encode())
