"""What every text from a model, a file or a provider passes through before it is shown."""

from __future__ import annotations

import json
import re

# Controls (C0 but tab and newline, DEL, C1), zero-width and bidirectional controls, line and paragraph separators,
# fillers and joiners that show nothing, invisible operators, tag characters, variation selectors (but one alone that
# asks for an emoji), lone surrogates, and what is no character: all can hide text, reorder it, or talk to the terminal.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]|(?<=\ufe0f)\ufe0f"
)


def clean(text: str) -> str:
    """The text with everything that cannot be seen made visible (``\\x1b``, ``\\u202e``); newlines and tabs stay."""
    return _UNSEEN.sub(_visible, text)


def clean_line(text: str, limit: int) -> str:
    """The text as one line of at most ``limit`` characters, an ellipsis at the end where it was cut."""
    # Cut first: a line of a megabyte need not be cleaned to show a hundred characters of it.
    line = clean(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"


def ascii_json(value: object, indent: int | None = None) -> str:
    """The value as JSON of printable ASCII alone: nothing in it can talk to a terminal or end a line."""
    text = json.dumps(value, indent=indent, separators=(",", ": " if indent else ":"))
    return text.replace("\x7f", "\\u007f")  # the one control that JSON leaves as it is; it stands in strings only


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
