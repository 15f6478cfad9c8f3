"""File name patterns as models write them: ``*.py``, ``src/**/test_?.{ts,tsx}``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from autoroute.patterns import pattern
from autoroute.tools.tool import ToolError

_MAX_ALTERNATIVES = 64
_GLOB_CHARACTERS = frozenset("*?[{")
_BRACES = pattern(r"\{([^{},]*,[^{}]*)\}")

PathPattern = tuple[re.Pattern[str] | None, ...]
"""One regular expression for each part of a path; None is ``**``, any number of parts."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed file name pattern; each alternative of its braces is a path pattern."""

    alternatives: tuple[PathPattern, ...]

    def matches(self, path: str) -> bool:
        """Return whether the whole pattern matches a file's path, relative to the searched folder."""
        parts = path.split("/")
        return any(match_parts(parts, pattern) for pattern in self.alternatives)


def parse_glob(glob: str) -> Glob:
    """Parse a pattern: without a slash it matches file names at any depth, with a slash (even a leading one) paths.

    ``**`` matches any number of folders, braces give alternatives. Raises ``ToolError`` for too many alternatives.
    """
    patterns = []
    for alternative in _expand_braces(glob.removeprefix(".") if glob.startswith("./") else glob):
        text = f"{alternative}**" if alternative.endswith("/") else alternative
        patterns.append((text.removeprefix("/") if "/" in text else f"**/{text}").split("/"))
    return Glob(tuple(compile_parts(parts) for parts in patterns))


def match_names(names: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path is named: exactly, by a folder around it, or by a pattern."""
    paths: list[str] = []
    patterns: list[Glob] = []
    for name in names:
        if not _GLOB_CHARACTERS.isdisjoint(name):
            patterns += _parse_or_skip(name)
        paths.append(name.removeprefix("./").rstrip("/"))
    folders = tuple(f"{path}/" for path in paths if path)
    return lambda path: path in paths or path.startswith(folders) or any(glob.matches(path) for glob in patterns)


def _parse_or_skip(name: str) -> Sequence[Glob]:
    try:
        return [parse_glob(name)]
    except ToolError:
        return []


def _expand_braces(glob: str) -> list[str]:
    """Return ``a.{b,c}`` as ``a.b`` and ``a.c``; braces may be nested."""
    expanded: list[str] = []
    waiting = [glob]
    while waiting:
        pattern = waiting.pop()
        braces = _BRACES.search(pattern)
        if braces is None:
            expanded.append(pattern)
        else:
            waiting += [pattern[: braces.start()] + part + pattern[braces.end() :] for part in braces[1].split(",")]
        # Each pair of braces multiplies the alternatives: a short pattern can ask for millions.
        if len(waiting) + len(expanded) > _MAX_ALTERNATIVES:
            raise ToolError(f"glob: the braces give more than {_MAX_ALTERNATIVES} alternatives")
    return expanded


def compile_parts(parts: Iterable[str]) -> PathPattern:
    """Compile the parts between the slashes of a pattern."""
    # fnmatch.translate puts the text between two stars into an atomic group, so no number of stars backtracks.
    return tuple(None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts)


def match_parts(parts: list[str], pattern: PathPattern) -> bool:
    """Return whether a pattern matches all parts of a path.

    A mismatch goes back to the latest ``**`` only, so the work is bounded by the product of both lengths.
    """
    part = index = 0
    retry: tuple[int, int] | None = None
    while part < len(parts):
        regex = pattern[index] if index < len(pattern) else None
        if index < len(pattern) and regex is None:
            retry = (part, index)
            index += 1
        elif regex is not None and regex.match(parts[part]):
            part += 1
            index += 1
        elif retry is not None:
            part, index = retry[0] + 1, retry[1] + 1
            retry = (part, retry[1])
        else:
            return False
    return all(regex is None for regex in pattern[index:])
