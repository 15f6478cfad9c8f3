"""Redaction: keys in text are found, as they are and in the encodings that programs write, and replaced.

A key is found if the text has all of it. A key that was split, compressed or encrypted is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache, cached_property
from operator import is_
from typing import Any, TypeVar, cast

from autoroute.patterns import pattern

Value = TypeVar("Value")

Redact = Callable[[str], str]
"""Replaces what no model may read in a text; returns the same text if there is nothing to replace."""

REDACTED = "[redacted]"

_MIN_KEY_CHARACTERS = 8
"""A shorter value occurs in ordinary text by chance: to hide ``test`` garbles text and protects nothing."""
_WORDS = pattern(r"[a-z]+(?:[-_][a-z]+)*|[A-Z]+(?:[-_][A-Z]+)*")
_MIN_WORD_KEY_CHARACTERS = 20
"""For values of plain words: people write ``not-needed`` or ``sk-no-key-required`` where a server takes any key."""
_PREFIX_PARTS = 6
"""Parts of a form that are searched for first. Few texts contain them, so the complete pattern rarely has to run."""
_WRAP = r"(?:(?:\r?\n|(?:\\{1,8}r)?\\{1,8}n)[+-]?[ \t]{0,16})?"
"""A line break, also as an escape in a JSON string, and then the indentation of a YAML block or the mark of a diff."""
_BETWEEN_BYTES = rf"(?:[ :]|, ?(?:0[xX])?|{_WRAP})"
_BETWEEN_NUMBERS = r"(?:[^0-9A-Za-z]{0,4}(?:chr\(|0o|0)?)"
"""What separates the codes of characters: ``115, 107``, ``163 153``, ``chr(115)+chr(107)``."""
_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_ROT13 = str.maketrans(_UPPER + _LOWER, _UPPER[13:] + _UPPER[:13] + _LOWER[13:] + _LOWER[:13])
_ROT47 = {code: 33 + (code - 33 + 47) % 94 for code in range(33, 127)}
_MAX_ESCAPE_CHARACTERS = 17
"""Eight backslashes, as in JSON within JSON within JSON, and ``U00000061``."""


class Redactor:
    """Hides known keys in text. It may learn keys while it is in use; its ``repr`` shows none.

    It finds a key as it is, reversed, in hexadecimal, and in base64 (standard and URL-safe, at any alignment, wrapped
    or not). It also finds a key with any of its characters escaped as in a URL, JSON, C, Python, HTML or Markdown.
    ``contains_key``, by which commits are judged, also finds the forms of ``_rare_forms``.

    It ignores values that are too short to be keys: of fewer than eight characters, or of fewer than twenty if they
    are plain words (letters of one case, ``-`` and ``_``). It ignores values with white space or characters outside
    ASCII, which keys do not have.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._exempt: set[str] = set()
        self._values: dict[str, None] = {}
        self._patterns: dict[bool, _Patterns] = {}
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Hide these values too."""
        self._values.update(dict.fromkeys(filter(_can_be_key, set(values) - self._exempt)))

    def exempt(self, words: Iterable[str]) -> None:
        """Never hide these words. Users give ``lm-studio`` as a key, and it is the name of a provider too."""
        self._exempt |= set(words)
        for word in self._exempt:
            self._values.pop(word, None)
        self._patterns = {}

    def redact(self, text: str) -> str:
        """Return the text with ``[redacted]`` in place of each key; the same object if it contains none.

        Line breaks within a key stay, so that every line keeps its number.
        """
        if len(text) < _MIN_KEY_CHARACTERS:
            return text
        pieces: list[str] = []
        end = 0
        for found in self._current().find(text):
            pieces += text[end : found.start()], REDACTED, "\n" * found[0].count("\n")
            end = found.end()
        return "".join((*pieces, text[end:])) if pieces else text

    def contains_key(self, text: str) -> bool:
        """Return whether the text contains a key, in any form, the rare ones included."""
        return next(self._current(rare=True).find(text), None) is not None

    def redact_bytes(self, data: bytes) -> bytes:
        """Redact bytes of any encoding that includes ASCII."""
        text = data.decode("latin-1")
        redacted = self.redact(text)
        return data if redacted is text else redacted.encode("latin-1")

    def stream(self) -> RedactedStream:
        """Return a new stream, which redacts bytes that arrive in pieces."""
        return RedactedStream(self)

    @property
    def max_form_characters(self) -> int:
        """The length of the longest form of a known key."""
        return max((len(value) for value in self._values), default=0) * _MAX_ESCAPE_CHARACTERS

    def _current(self, *, rare: bool = False) -> _Patterns:
        """Return the patterns for all known keys. Other threads may have learned some: their number tells."""
        patterns = self._patterns.get(rare)
        if patterns is None or patterns.count != len(self._values):
            patterns = self._patterns[rare] = _Patterns(self._values, _rare_forms if rare else _forms)
        return patterns

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def __reduce__(self) -> str:
        raise TypeError("a Redactor is never pickled or copied")


class RedactedStream:
    """A stream of bytes, redacted piece by piece. Bytes that may begin a key wait for the next piece."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._waiting = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, and return the bytes that may be written now."""
        redacted = self._redactor.redact_bytes(self._waiting + data)
        cut = max(len(redacted) - max(self._redactor.max_form_characters - 1, 0), 0)
        self._waiting = redacted[cut:]
        return redacted[:cut]

    def close(self) -> bytes:
        """Return the remaining bytes at the end of the stream."""
        rest, self._waiting = self._waiting, b""
        return rest


def redact_value(value: Value, redact: Callable[[str], str]) -> Value:
    """Return the value with every text in it redacted, at any depth; the same object if nothing was redacted.

    Redacted thinking loses its signature, which is valid for the original text only, so it cannot be sent back. A
    redacted tool call is marked as altered: to run it would write ``[redacted]`` into files.
    """
    return cast(Value, _redact_value(value, redact))


def _redact_value(value: Any, redact: Callable[[str], str]) -> Any:
    if type(value) is str:  # not a StrEnum: its members are our own words
        return redact(value)
    if isinstance(value, tuple | list):
        items = [_redact_value(item, redact) for item in value]
        return value if all(map(is_, items, value)) else type(value)(items)
    if isinstance(value, Mapping):
        pairs = {_redact_value(name, redact): _redact_value(item, redact) for name, item in value.items()}
        same = all(map(is_, pairs, value)) and all(map(is_, pairs.values(), value.values()))
        return value if same else pairs
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            name: redacted
            for name in _names(type(value))
            if (redacted := _redact_value(inner := getattr(value, name), redact)) is not inner
        }
        return _changed(value, changes) if changes else value
    return value


def _changed(value: Any, changes: dict[str, Any]) -> Any:
    from autoroute.messages import Thinking, ToolCall  # lazy: `autoroute --help` needs no messages

    if isinstance(value, Thinking):
        changes["opaque"] = ""
    if isinstance(value, ToolCall):
        changes["altered"] = True
    return replace(value, **changes)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.init)


class _Patterns:
    """The patterns of some values. The complete pattern is compiled for the first text that contains a prefix."""

    def __init__(self, values: Iterable[str], forms: Callable[[str], Iterator[list[str]]]) -> None:
        self._values = sorted(values, key=len, reverse=True)
        self._forms = forms
        self.count = len(self._values)

    def find(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the matches of ``complete.finditer``, many times as fast.

        Every form begins with one of the prefixes, and no form depends on the text around it. So the complete pattern
        can only match where a prefix does.
        """
        if not self._values:
            return
        prefix = self._prefixes.search(text)
        while prefix:
            if found := self.complete.match(text, prefix.start()):
                yield found
            # After a prefix without a match, the next one may overlap it.
            prefix = self._prefixes.search(text, found.end() if found else prefix.start() + 1)

    @cached_property
    def complete(self) -> re.Pattern[str]:
        """All forms of all values, the longest value first."""
        return _any_of("".join(form) for value in self._values for form in (_escaped(value), *self._forms(value)))

    @cached_property
    def _prefixes(self) -> re.Pattern[str]:
        """The prefixes of all forms, grouped by first character: ``re`` then skips quickly over other characters."""
        groups: dict[str, dict[str, None]] = {}
        for value in self._values:
            _, *others = _escaped(value[:_PREFIX_PARTS])
            for first, rest in _spellings(value[0]):
                # An escape is rare, so one more part is enough, and each part takes time to compile.
                groups.setdefault(first, {})["".join((rest, *(others[:1] if rest else others)))] = None
            for first, *others in self._forms(value):
                groups.setdefault(first, {})["".join(others[: _PREFIX_PARTS - 1])] = None
        return _any_of(f"{first}(?:{'|'.join(others)})" for first, others in groups.items())


def _can_be_key(value: str) -> bool:
    if len(value) < _MIN_KEY_CHARACTERS or not value.isascii() or not value.isprintable() or " " in value:
        return False
    return len(value) >= _MIN_WORD_KEY_CHARACTERS or not _WORDS.fullmatch(value)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(dict.fromkeys(patterns)))


def _forms(value: str) -> Iterator[list[str]]:
    """Yield each form except that of ``_escaped``, as patterns of its parts. The first part is one character."""
    yield [re.escape(letter) for letter in reversed(value)]
    yield _parts_of_codes([f"{byte:02x}" for byte in value.encode("ascii")])
    yield from _forms_in_base64(value.encode("ascii"))


def _rare_forms(value: str) -> Iterator[list[str]]:
    """Yield more forms, likewise: programs rarely write them, and to look for them takes twice as long."""
    data = value.encode("ascii")
    yield from _forms(value)
    # PowerShell's -EncodedCommand and its like. Without the last byte, one alignment of it is that of big-endian.
    yield from _forms_in_base64(value.encode("utf-16-le")[:-1])
    yield from _forms_in_base32(data)
    for letters in (value.translate(_ROT13), value.translate(_ROT47)):
        yield [re.escape(letter) for letter in letters]
    yield _parts_of_codes([f"{byte:02x}" for byte in reversed(data)])
    yield _parts_of_codes([f"{byte:02x}"[::-1] for byte in reversed(data)])
    # A character a line, or a string: also UTF-16 and UTF-32, and characters that show nothing.
    yield [re.escape(value[0]), *(rf"[^A-Za-z0-9]{{1,6}}{re.escape(letter)}" for letter in value[1:])]
    for base in ("d", "o", "08b"):
        first, *others = (f"{byte:{base}}" for byte in data)
        yield [first[0], first[1:], *(_BETWEEN_NUMBERS + number for number in others)]


def _parts_of_codes(codes: Sequence[str]) -> list[str]:
    first, *others = codes
    return [first[0], _any_case(first[1]), *(_BETWEEN_BYTES + _any_case(code) for code in others)]


def _forms_in_base64(data: bytes) -> Iterator[list[str]]:
    from base64 import b64encode, urlsafe_b64encode

    for before in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            yield _wrapped(_core(encode, data, before, bits=6))


def _forms_in_base32(data: bytes) -> Iterator[list[str]]:
    from base64 import b32encode

    for before in range(5):
        yield _wrapped(_core(b32encode, data, before, bits=5))


def _core(encode: Callable[[bytes], bytes], data: bytes, before: int, bits: int) -> str:
    """Return the characters that encode the data alone, with ``before`` bytes of other text in front of it."""
    encoded = encode(bytes(before) + data).decode("ascii")
    return encoded[-(-before * 8 // bits) : (before + len(data)) * 8 // bits]


def _wrapped(text: str) -> list[str]:
    return [re.escape(text[0]), *(_WRAP + re.escape(letter) for letter in text[1:])]


def _escaped(value: str) -> Iterator[str]:
    """Yield a pattern for each character: as it is, or as a URL, a JSON or C string, or HTML may write it."""
    for letter in value:
        yield "(?:" + "|".join(map("".join, _spellings(letter))) + ")"


def _spellings(letter: str) -> Iterator[tuple[str, str]]:
    """Yield each spelling of a character, as patterns of its first character and of the rest."""
    number, plain = _any_case(f"{ord(letter):02x}"), re.escape(letter)
    if not letter.isalnum():
        yield r"\\", rf"\\{{0,7}}{plain}"
    yield plain, ""
    yield "%", rf"(?:25)?{number}"
    yield r"\\", rf"\\{{0,7}}(?:(?:u00|U000000|x){number}|u\{{0{{0,4}}{number}\}}|{ord(letter):03o})"
    yield "&", rf"#0{{0,5}}(?:{ord(letter)}|[xX]0{{0,5}}{number});"


def _any_case(digits: str) -> str:
    return "".join(digit if digit.isdigit() else f"[{digit}{digit.upper()}]" for digit in digits)
