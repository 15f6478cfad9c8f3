"""The runs that this machine created: a token for each in the user's state folder, repeated in the run's journal.

A repository can contain a forged run folder, journal included. ``resume`` accepts only runs that were created here.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from pathlib import Path

from autoroute.atomic import write_private
from autoroute.errors import WorkspaceError
from autoroute.store.journal import sync_folder


class RunRegistry:
    """The tokens, one private file each. ``name`` identifies a run among all runs of this user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def enter(self, name: str) -> str:
        """Create and return the token of a new run. Raises ``WorkspaceError`` where it cannot be written."""
        token = secrets.token_hex(16)
        path = self._folder / name
        try:
            write_private(path, token)
            sync_folder(self._folder)
        except OSError as error:
            raise WorkspaceError(
                f"{path} cannot be written: {error.strerror}", hint=f"check that you may write in {path.parent}"
            ) from None
        return token

    def has(self, name: str) -> bool:
        """Return whether a run of this name was created here, whatever its journal says."""
        return (self._folder / name).is_file()

    def knows(self, name: str, token: str) -> bool:
        """Return whether the run of this name has this token."""
        try:
            known = (self._folder / name).read_text(encoding="ascii")
        except (OSError, ValueError):
            return False
        return bool(known) and hmac.compare_digest(known.encode(), token.encode("utf-8", "replace"))

    def forget(self, name: str) -> None:
        """Delete the token of a run that was deleted."""
        with suppress(OSError):
            (self._folder / name).unlink()
