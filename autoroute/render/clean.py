"""The cleaning of every text from a model, a file or a provider before it is shown."""

from __future__ import annotations

import json

from autoroute.invisible import make_visible
from autoroute.text import truncate


def clean(text: str) -> str:
    """Return the text with invisible characters made visible (``\\x1b``, ``\\u202e``); newlines and tabs stay."""
    return make_visible(text)


def clean_line(text: str, limit: int) -> str:
    """Return the text as one line of at most ``limit`` characters, with an ellipsis at the end where it was cut."""
    # Cut first: cleaning a line of a megabyte to show a hundred characters of it would take long.
    line = clean(" ".join(text[: 4 * limit].split()))
    return truncate(line, limit) if len(text) <= 4 * limit else line[: limit - 1] + "…"


def ascii_json(value: object, indent: int | None = None) -> str:
    """Return the value as JSON in printable ASCII, so that no text in it can control a terminal or end a line."""
    text = json.dumps(value, indent=indent, separators=(",", ": " if indent else ":"))
    # DEL is the one control character that JSON leaves as it is. It only occurs in strings.
    return text.replace("\x7f", "\\u007f")
