"""What a ``.gitignore`` says of a path, as git reads it (gitignore(5)): for our own walk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autoroute.tools.glob import Pieces, fits, read_pieces

_ESCAPED = re.compile(r"\\(.)|\[\^", re.DOTALL)
_TRAILING_SPACES = re.compile(r"(?<!\\) +$")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: which paths it is about, and whether it leaves them out or takes them back in."""

    pieces: Pieces
    by_name: bool
    folders_only: bool
    ignores: bool


def read_rules(data: bytes) -> tuple[Rule, ...]:
    """The rules in a ``.gitignore``, the last one first: it is the one that decides."""
    return tuple(reversed(list(_rules(data.removeprefix(b"\xef\xbb\xbf")))))


def opinion(rules: tuple[Rule, ...], path: bytes, *, is_folder: bool) -> bool | None:
    """Whether ``path``, relative to the folder of the rules, is left out; None when they say nothing of it."""
    parts = _as_text(path).split("/")
    for rule in rules:
        if rule.folders_only and not is_folder:
            continue
        if fits(parts[-1:] if rule.by_name else parts, rule.pieces):
            return rule.ignores
    return None


def _rules(data: bytes) -> Iterator[Rule]:
    for raw in _as_text(data).split("\n"):
        line = _TRAILING_SPACES.sub("", raw.removesuffix("\r"))
        if not line or line.startswith("#"):
            continue
        ignores = not line.startswith("!")
        pattern = line if ignores else line[1:]
        folders_only = pattern.endswith("/")
        pattern = pattern.removesuffix("/")
        by_name = "/" not in pattern
        parts = pattern.removeprefix("/").split("/")
        if parts[-1] == "**" and not by_name:
            parts.append("*")  # what is in a folder, and not the folder
        yield Rule(
            read_pieces("*" if by_name and part == "**" else _plain(part) for part in parts),
            by_name,
            folders_only,
            ignores,
        )


def _plain(part: str) -> str:
    """The pattern in the words of ``fnmatch``, which knows no escapes and negates with ``!``."""
    return _ESCAPED.sub(
        lambda match: "[!" if match[1] is None else f"[{match[1]}]" if match[1] in "*?[" else match[1], part
    )


def _as_text(data: bytes) -> str:
    """Text in which every byte is a character: to git, ``?`` is one byte."""
    return data.decode("latin-1")
