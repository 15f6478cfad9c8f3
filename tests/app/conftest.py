"""The same world as that of the commands: what a caller of the API leaves must be what the command line would."""

from __future__ import annotations

from tests.commands.conftest import world

__all__ = ["world"]
