"""Characters that show nothing: what they are, how they are made visible, and how a text is without them."""

from __future__ import annotations

import re

# Controls (C0 but tab and newline, DEL, C1), zero-width and bidirectional controls, line and paragraph separators,
# fillers and joiners that show nothing, invisible operators, tag characters, variation selectors (but one alone that
# asks for an emoji), lone surrogates, and what is no character: all can hide text, reorder it, or talk to the terminal.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]|(?<=\ufe0f)\ufe0f"
)
_JOINERS = "\u200c\u200d"


def make_visible(text: str) -> str:
    """The text with each of them as ``\\x1b`` or ``\\u202e``."""
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def take_out(text: str) -> tuple[str, str]:
    """The text without them, and what was taken out.

    Carriage returns stay, and a joiner between two letters that are not ASCII: Persian, Hindi and emoji are written
    with it.
    """
    taken: list[str] = []

    def drop(found: re.Match[str]) -> str:
        character, place = found[0], found.start()
        before, after = text[max(0, place - 1) : place], text[place + 1 : place + 2]
        joins = character in _JOINERS and _is_letter(before) and _is_letter(after)
        if joins or character == "\r":
            return character
        taken.append(character)
        return ""

    return _UNSEEN.sub(drop, text), "".join(taken)


def _is_letter(character: str) -> bool:
    return character > "\x7f" and not _UNSEEN.match(character)


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
