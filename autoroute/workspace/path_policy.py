"""What a run may touch: one rule for the file tools and for the commands in the sandbox."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

_SEPARATORS = re.compile(r"[/\\]")
_SHORT_NAME = re.compile(r"~[0-9]+$")


class FileRefused(Exception):
    """A path or file that tools may not touch; ``reason`` tells the model why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """The tree beneath ``root``, without what bears a ``protected`` name (given in lower case) at any depth."""

    root: Path
    protected: frozenset[str] = frozenset({".git"})

    def relative(self, path: str) -> str:
        """The path relative to the root, "" for the root itself; absolute paths beneath the root are taken too.

        It is text only: nothing is looked up, so what it says holds for the name and not for the links on the way.
        Raises ``FileRefused`` for a path that leads out, is protected, or cannot be a path.
        """
        if "\0" in path:
            raise FileRefused("a path cannot hold NUL")
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise FileRefused("a path cannot hold half of a surrogate pair") from None
        whole = os.path.normpath(os.path.join(self.root, path))  # noqa: PTH118 - pathlib keeps ".."
        inside = os.path.relpath(whole, self.root)
        if inside == os.pardir or inside.startswith(os.pardir + os.sep):
            raise FileRefused(f"{path} is outside the project")
        if self.protects(inside):
            names = ", ".join(sorted(self.protected))
            raise FileRefused(f"{names} is not for tools; use git commands in bash to look at history")
        return "" if inside == os.curdir else inside

    def protects(self, path: str) -> bool:
        """Whether some file system or git takes a part of this path for a protected name.

        As git does (``core.protectHFS``, ``core.protectNTFS``): in any case, in any form of its letters, with
        characters that are not seen, with dots, spaces or a stream's name at the end, as a short name (``git~1``).
        """
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        seen = folded if folded.isascii() else "".join(c for c in folded if unicodedata.category(c) != "Cf")
        for part in _SEPARATORS.split(seen):
            name = part.partition(":")[0].rstrip(". ")
            if name in self.protected or (_SHORT_NAME.search(name) and self._is_short(_SHORT_NAME.sub("", name))):
                return True
        return False

    def _is_short(self, stem: str) -> bool:
        """Whether a short name that begins so may stand for a protected one; dots go, and six characters stay."""
        return any(name.replace(".", "")[:6] == stem for name in self.protected)
