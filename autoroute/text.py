"""Text for people and models: truncated, listed in part, and with suggestions for a mistyped name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MAX_NAME_CHARACTERS = 80
"""Of a name that is compared: difflib takes time that grows with the square of the length."""


def truncate(text: str, limit: int) -> str:
    """Return the text, its end replaced by an ellipsis if it has more than ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def truncate_middle(text: str, limit: int, unit: str = "characters") -> str:
    """Return the text, its middle replaced by a note if it has more than ``limit`` characters.

    The first and the last ``limit // 2`` characters stay. The note says how many were left out, as
    ``[... 120 characters left out ...]``, on a line of its own.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} {unit} left out ...]\n{text[len(text) - half :]}"


def join_first(items: Sequence[str], limit: int, separator: str = ", ", *, omitted: int = 0) -> str:
    """Return the first ``limit`` items as one text, and how many more there are: ``a, b, and 3 more``.

    ``omitted`` is how many more there are beyond ``items``.
    """
    shown = list(items[:limit])
    if more := len(items) - len(shown) + omitted:
        shown.append(f"and {more} more")
    return separator.join(shown)


def find_similar(name: str, known: Iterable[str], *, limit: int = 3, cutoff: float = 0.5) -> list[str]:
    """Return up to ``limit`` of the known names that resemble ``name``, the most similar first.

    ``cutoff`` is the lowest similarity, from 0 (nothing in common) to 1 (equal), as in ``difflib``.
    """
    return difflib.get_close_matches(name[:_MAX_NAME_CHARACTERS], list(known), n=limit, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 3, otherwise: str = "") -> str:
    """Return a hint that suggests the known names similar to ``name``, else ``otherwise``."""
    similar = find_similar(name, known, limit=limit)
    return f"did you mean {' or '.join(similar)}?" if similar else otherwise
