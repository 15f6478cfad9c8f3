"""What every text from a model, a file or a provider passes through before it is shown."""

from __future__ import annotations

import json

from autoroute.invisible import make_visible
from autoroute.text import truncate


def clean(text: str) -> str:
    """The text with everything that cannot be seen made visible (``\\x1b``, ``\\u202e``); newlines and tabs stay."""
    return make_visible(text)


def clean_line(text: str, limit: int) -> str:
    """The text as one line of at most ``limit`` characters, an ellipsis at the end where it was cut."""
    # Cut first: a line of a megabyte need not be cleaned to show a hundred characters of it.
    line = clean(" ".join(text[: 4 * limit].split()))
    return truncate(line, limit) if len(text) <= 4 * limit else line[: limit - 1] + "…"


def ascii_json(value: object, indent: int | None = None) -> str:
    """The value as JSON of printable ASCII alone: nothing in it can talk to a terminal or end a line."""
    text = json.dumps(value, indent=indent, separators=(",", ": " if indent else ":"))
    return text.replace("\x7f", "\\u007f")  # the one control that JSON leaves as it is; it stands in strings only
