"""Characters that show nothing on a screen: made visible, or removed from a text."""

from __future__ import annotations

import re

from autoroute.patterns import pattern

# Controls (C0 except tab and newline, DEL, C1), zero-width and bidirectional controls, line and paragraph separators,
# blank fillers and joiners, invisible operators, tag characters, variation selectors (except one alone, which asks for
# an emoji), lone surrogates, and code points that are not characters. Each can hide text from a reader, reorder it, or
# send a command to the terminal.
_INVISIBLE = pattern(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]|(?<=\ufe0f)\ufe0f"
)
_JOINERS = "\u200c\u200d"


def make_visible(text: str) -> str:
    """Return the text with each invisible character as an escape, such as ``\\x1b`` or ``\\u202e``."""
    return _INVISIBLE.sub(lambda found: _escape(found[0]), text)


def strip_invisible(text: str) -> tuple[str, str]:
    """Return the text without invisible characters, and the removed characters.

    Carriage returns stay. So does a joiner between two letters that are not ASCII: Persian, Hindi and emoji need it.
    """
    removed: list[str] = []

    def replace(found: re.Match[str]) -> str:
        character, position = found[0], found.start()
        before, after = text[max(0, position - 1) : position], text[position + 1 : position + 2]
        joins = character in _JOINERS and _is_letter(before) and _is_letter(after)
        if joins or character == "\r":
            return character
        removed.append(character)
        return ""

    return _INVISIBLE.sub(replace, text), "".join(removed)


def to_plain(text: str) -> str:
    """Return a text of a model without what a person would not see: for files and commits that others open."""
    plain, _ = strip_invisible(text.replace("\r\n", "\n"))
    return plain.replace("\r", " ")


def escape_in_json(text: str) -> str:
    """Return JSON with each invisible character in its strings as an escape: the same values, in visible letters."""
    return _INVISIBLE.sub(lambda found: _escape_in_json(found[0]), text)


def _escape_in_json(character: str) -> str:
    data = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at : at + 2].hex()}" for at in range(0, len(data), 2))


def _is_letter(character: str) -> bool:
    return character > "\x7f" and not _INVISIBLE.match(character)


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
