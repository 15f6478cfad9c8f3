"""Deleting a file or folder of ours, with one message where part of it remains."""

from __future__ import annotations

from pathlib import Path

from autoroute.errors import WorkspaceError
from autoroute.workspace.rmtree import remove_path


def delete(path: Path) -> None:
    """Delete a folder with all in it, or a file or link; raise ``WorkspaceError`` if part of it remains."""
    if reason := remove_path(path):
        raise cannot_delete(path, reason)


def cannot_delete(path: Path, reason: str) -> WorkspaceError:
    """Return the error for what could not be deleted."""
    return WorkspaceError(f"cannot delete {path}: {reason}", hint="delete it yourself")
