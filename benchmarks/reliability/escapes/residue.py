"""What a layer is known to let through, and why: the exact residue. Anything else that succeeds breaks a promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Residue:
    """One class of what gets through; ``snippets`` are patterns of ``group/snippet``."""

    name: str
    reason: str
    snippets: tuple[str, ...]

    def covers(self, snippet: str) -> bool:
        """Whether ``group/snippet`` is of this class."""
        return any(fnmatchcase(snippet, pattern) for pattern in self.snippets)


_LANDLOCK = (
    Residue(
        "facts of the user's own files",
        "Landlock has no right for modes and times: only the file system's own rules hold",
        ("write/chmod", "write/chmod-folder", "write/touch", "write/python-times"),
    ),
    Residue(
        "sight of what is there",
        "Landlock hides contents, not sizes, and /proc is the machine's: commands need their own part of it",
        ("secrets/size", "secrets/watched", "processes/seen", "network/interfaces-listed"),
    ),
)
RESIDUE: Mapping[str, tuple[Residue, ...]] = MappingProxyType({"off": (), "bubblewrap": (), "landlock": _LANDLOCK})


def class_of(layer: str, snippet: str) -> Residue | None:
    """The class that explains this success on this layer, None for a broken promise."""
    return next((known for known in RESIDUE[layer] if known.covers(snippet)), None)
