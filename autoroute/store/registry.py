"""Which runs this machine has made: a token for each, in the user's state folder, which the run's journal repeats.

A repository can bring a run folder of its own, journal included. What is taken up again is only what was made here.
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
    """The tokens, a private file each; ``name`` tells a run from all others of this user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def enter(self, name: str) -> str:
        """A new run's token. Raises ``WorkspaceError`` where none can be kept."""
        token = secrets.token_hex(16)
        path = self._folder / name
        try:
            write_private(path, token)
            sync_folder(self._folder)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be written: {error.strerror}", hint="check the folder") from None
        return token

    def has(self, name: str) -> bool:
        """Whether a run of this name was made here, whatever its journal says."""
        return (self._folder / name).is_file()

    def knows(self, name: str, token: str) -> bool:
        """Whether this token was given to the run of this name."""
        try:
            known = (self._folder / name).read_text(encoding="ascii")
        except (OSError, ValueError):
            return False
        return bool(known) and hmac.compare_digest(known.encode(), token.encode("utf-8", "replace"))

    def forget(self, name: str) -> None:
        """The run is gone."""
        with suppress(OSError):
            (self._folder / name).unlink()
