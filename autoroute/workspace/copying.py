"""Copying a folder of ours, with the system's own reason where that fails."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoroute.errors import WorkspaceError


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to where nothing is yet, links as links. Raises ``WorkspaceError``."""
    try:
        shutil.copytree(source, target, symlinks=True)
    except OSError as error:
        # shutil collects the failures: source, target and reason of each, without an errno.
        failures = error.args[0] if isinstance(error, shutil.Error) else ()
        reason = failures[0][2] if failures else error.strerror or error
        raise WorkspaceError(f"cannot copy {source}: {reason}", hint="free some space there") from None
