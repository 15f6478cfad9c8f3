"""The attempts that are known to succeed on a backend, and why. Any other that succeeds breaks a promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Residue:
    """One class of attempts that succeed; ``snippets`` are patterns of ``group/snippet``."""

    name: str
    reason: str
    snippets: tuple[str, ...]

    def covers(self, snippet: str) -> bool:
        """Return whether ``group/snippet`` is in this class."""
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
    """Return the class that explains this success on this backend; None for a broken promise."""
    return next((known for known in RESIDUE[layer] if known.covers(snippet)), None)
