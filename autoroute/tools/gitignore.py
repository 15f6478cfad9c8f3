"""The rules of a ``.gitignore`` file, as git reads them (gitignore(5)).

Our own, because a ``.gitignore`` comes from a repository and may be hostile. The ``pathspec`` library (1.1.1) turns
``*a*a*a*a*a*a*b`` into a regular expression that takes a minute on one name of 100 letters, rejects the whole file for
one bad line, and differs from git on random rules that these pass (tests/tools/test_gitignore.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autoroute.patterns import pattern
from autoroute.tools.glob import PathPattern, compile_parts, match_parts

_ESCAPED = pattern(r"\\(.)|\[\^", re.DOTALL)
_TRAILING_SPACES = pattern(r"(?<!\\) +$")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a ``.gitignore``: the paths it matches, and whether it ignores them or includes them again."""

    pattern: PathPattern
    matches_name: bool
    """Whether the pattern matches the last part of a path only, at any depth."""
    folders_only: bool
    ignores: bool


def parse_rules(data: bytes) -> tuple[Rule, ...]:
    """Parse a ``.gitignore``. The last rule comes first, because the last one that matches decides."""
    return tuple(reversed(list(_parse_lines(data.removeprefix(b"\xef\xbb\xbf")))))


def match_rules(rules: tuple[Rule, ...], path: bytes, *, is_folder: bool) -> bool | None:
    """Return whether the rules ignore ``path``, relative to their folder; None if none of them matches."""
    parts = _decode(path).split("/")
    for rule in rules:
        if rule.folders_only and not is_folder:
            continue
        if match_parts(parts[-1:] if rule.matches_name else parts, rule.pattern):
            return rule.ignores
    return None


def _parse_lines(data: bytes) -> Iterator[Rule]:
    for raw in _decode(data).split("\n"):
        line = _TRAILING_SPACES.sub("", raw.removesuffix("\r"))
        if not line or line.startswith("#"):
            continue
        ignores = not line.startswith("!")
        pattern = line if ignores else line[1:]
        folders_only = pattern.endswith("/")
        pattern = pattern.removesuffix("/")
        matches_name = "/" not in pattern
        parts = pattern.removeprefix("/").split("/")
        if parts[-1] == "**" and not matches_name:
            parts.append("*")  # "folder/**" matches what is inside the folder, not the folder
        yield Rule(
            compile_parts("*" if matches_name and part == "**" else _to_fnmatch(part) for part in parts),
            matches_name,
            folders_only,
            ignores,
        )


def _to_fnmatch(part: str) -> str:
    """Translate one part of a pattern for ``fnmatch``, which has no escapes and negates sets with ``!`` only."""
    return _ESCAPED.sub(
        lambda match: "[!" if match[1] is None else f"[{match[1]}]" if match[1] in "*?[" else match[1], part
    )


def _decode(data: bytes) -> str:
    """Decode each byte as one character: for git, ``?`` matches one byte."""
    return data.decode("latin-1")
