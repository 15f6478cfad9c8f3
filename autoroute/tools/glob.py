"""File name patterns as models write them: ``*.py``, ``src/**/test_?.{ts,tsx}``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from autoroute.tools.tool import ToolError

_MAX_CHOICES = 64
_BRACES = re.compile(r"\{([^{},]*,[^{}]*)\}")

Pieces = tuple[re.Pattern[str] | None, ...]
"""A pattern, piece by piece, one for each part of a path; None stands for ``**``, any number of parts."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern, understood."""

    choices: tuple[Pieces, ...]

    def matches(self, path: str) -> bool:
        """Whether a file's path, relative to the folder that is searched, fits the whole pattern."""
        parts = path.split("/")
        return any(fits(parts, pieces) for pieces in self.choices)


def read_glob(glob: str) -> Glob:
    """A pattern without a slash is for a file's name at any depth, one with a slash, even in front, for its path.

    ``**`` crosses folders, braces give choices. Raises ``ToolError`` when the choices are too many.
    """
    texts = []
    for choice in _choices(glob.removeprefix(".") if glob.startswith("./") else glob):
        text = f"{choice}**" if choice.endswith("/") else choice
        texts.append((text.removeprefix("/") if "/" in text else f"**/{text}").split("/"))
    return Glob(tuple(read_pieces(parts) for parts in texts))


def _choices(glob: str) -> list[str]:
    """``a.{b,c}`` as ``a.b`` and ``a.c``; braces may be nested."""
    done: list[str] = []
    waiting = [glob]
    while waiting:
        pattern = waiting.pop()
        braces = _BRACES.search(pattern)
        if braces is None:
            done.append(pattern)
        else:
            waiting += [pattern[: braces.start()] + part + pattern[braces.end() :] for part in braces[1].split(",")]
        if len(waiting) + len(done) > _MAX_CHOICES:
            raise ToolError(f"glob: more than {_MAX_CHOICES} choices in braces")
    return done


def read_pieces(parts: Iterable[str]) -> Pieces:
    """The pieces of a pattern from the parts between its slashes."""
    return tuple(None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts)


def fits(parts: list[str], pieces: Pieces) -> bool:
    """Match part by part; only the latest ``**`` is ever tried again, so the work is bounded by their product."""
    part = piece = 0
    retry: tuple[int, int] | None = None
    while part < len(parts):
        pattern = pieces[piece] if piece < len(pieces) else None
        if piece < len(pieces) and pattern is None:
            retry = (part, piece)
            piece += 1
        elif pattern is not None and pattern.match(parts[part]):
            part += 1
            piece += 1
        elif retry is not None:
            part, piece = retry[0] + 1, retry[1] + 1
            retry = (part, retry[1])
        else:
            return False
    return all(rest is None for rest in pieces[piece:])
