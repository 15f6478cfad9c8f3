"""Finds keys in text, as they are and in the forms that programs write them in, and takes them out.

A form is found when all of it stands there: a key that was cut in pieces, compressed or encrypted is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache, cached_property
from operator import is_
from typing import Any, TypeVar, cast

Value = TypeVar("Value")

Redact = Callable[[str], str]
"""Takes out of a text what no model may be told; the same text when there is nothing."""

REDACTED = "[redacted]"

_SHORTEST = 8
"""Characters. What is shorter stands in ordinary text by chance: to hide ``test`` garbles it and protects nothing."""
_WORDS = re.compile(r"[a-z]+(?:[-_][a-z]+)*|[A-Z]+(?:[-_][A-Z]+)*")
_LONGEST_WORDS = 20
"""Characters. ``not-needed`` and ``sk-no-key-required`` are what people write where a server takes any key."""
_BEGINNING = 6
"""Parts of a form that are looked for first: few texts have them, and only where they stand is looked again."""
_WRAP = r"(?:(?:\r?\n|(?:\\{1,8}r)?\\{1,8}n)[+-]?[ \t]{0,16})?"
"""A line's end, which may stand in a string of JSON itself, and how the next line begins in a YAML block or a diff."""
_BETWEEN_BYTES = rf"(?:[ :]|, ?(?:0[xX])?|{_WRAP})"
_WIDEST_ESCAPE = 17
"""Characters: eight backslashes, which JSON in JSON in JSON has, and ``U00000061``."""


class Redactor:
    """The keys that are known, and what hides them. It learns while it is in use, and shows itself to nobody.

    Found are a value as it is, reversed, in hexadecimal and in base64 (standard and URL-safe, at any alignment,
    wrapped or not), and with any of its characters escaped as in a URL, JSON, C, Python, HTML or Markdown. Not looked
    for are values of fewer than eight characters, those of fewer than twenty that are mere words (letters of one case,
    ``-`` and ``_``), and those with white space or characters outside ASCII, which no key has.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._spared: set[str] = set()
        self._values: dict[str, None] = {}
        self._look = _Look(())
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Look for these values too."""
        self._values.update(dict.fromkeys(filter(_can_be_key, set(values) - self._spared)))

    def spare(self, words: Iterable[str]) -> None:
        """Never take these words out, though one be given as a key: ``lm-studio`` is both to many."""
        self._spared |= set(words)
        for word in self._spared:
            self._values.pop(word, None)
        self._look = _Look(())

    def redact(self, text: str) -> str:
        """The text with ``[redacted]`` in place of each key; the same object when there is none.

        Line feeds in a key's form stay, so that every line keeps its number.
        """
        if len(text) < _SHORTEST:
            return text
        pieces: list[str] = []
        end = 0
        for found in self._looking().found(text):
            pieces += text[end : found.start()], REDACTED, "\n" * found[0].count("\n")
            end = found.end()
        return "".join((*pieces, text[end:])) if pieces else text

    def contains_key(self, text: str) -> bool:
        """Whether a key stands in the text, in any of its forms."""
        return next(self._looking().found(text), None) is not None

    def redact_bytes(self, data: bytes) -> bytes:
        """The same for bytes of any encoding that ASCII is a part of."""
        text = data.decode("latin-1")
        redacted = self.redact(text)
        return data if redacted is text else redacted.encode("latin-1")

    def stream(self) -> Redaction:
        """What redacts bytes that come in pieces."""
        return Redaction(self)

    @property
    def longest(self) -> int:
        """Characters that a form can have at most."""
        return max((len(value) for value in self._values), default=0) * _WIDEST_ESCAPE

    def _looking(self) -> _Look:
        """The patterns for what is known now. Keys are learned in threads: what one of them missed is seen here."""
        look = self._look
        if look.many != len(self._values):
            look = self._look = _Look(self._values)
        return look

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def __reduce__(self) -> str:
        raise TypeError("a Redactor is never pickled or copied")


class Redaction:
    """One stream of bytes on its way to a sink. What may be the beginning of a key waits for what comes after it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be written now."""
        redacted = self._redactor.redact_bytes(self._held + data)
        cut = max(len(redacted) - max(self._redactor.longest - 1, 0), 0)
        self._held = redacted[cut:]
        return redacted[:cut]

    def close(self) -> bytes:
        """What was held back, now that nothing comes after it."""
        rest, self._held = self._held, b""
        return rest


def redact_value(value: Value, redact: Callable[[str], str]) -> Value:
    """The value with every text in it redacted, however deep; the same object when nothing was in it.

    Thinking that is not what its origin said is not signed by it: it loses what it would need to go back. And a call
    that is not what the model said is known by it: to act on it would put ``[redacted]`` into files.
    """
    return cast(Value, _redact_value(value, redact))


def _redact_value(value: Any, redact: Callable[[str], str]) -> Any:
    if type(value) is str:  # an enumeration's member is one of our own words
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
    from autoroute.messages import Thinking, ToolCall  # few texts hold a key, and `autoroute --help` none

    if isinstance(value, Thinking):
        changes["opaque"] = ""
    if isinstance(value, ToolCall):
        changes["altered"] = True
    return replace(value, **changes)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.init)


class _Look:
    """The patterns for some values. The whole ones are compiled for the first text that has a beginning of one."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = sorted(values, key=len, reverse=True)
        self.many = len(self._values)

    def found(self, text: str) -> Iterator[re.Match[str]]:
        """What ``whole.finditer`` finds, many times as fast, because few places in a text begin a form.

        No form looks at what stands around it, and none is without its beginning: at no other place can one match, and
        at these it matches as it would there. So no bound on a form's length is needed.
        """
        if not self._values:
            return
        place = self._beginnings.search(text)
        while place:
            if found := self.whole.match(text, place.start()):
                yield found
            # The next beginning may stand in the rest of one that nothing came of.
            place = self._beginnings.search(text, found.end() if found else place.start() + 1)

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """Every form of every value, the longest value first."""
        return _any_of("".join(form) for value in self._values for form in (_escaped(value), *_forms(value)))

    @cached_property
    def _beginnings(self) -> re.Pattern[str]:
        """Grouped by their first characters, because then ``re`` passes quickly over all that begin nothing."""
        groups: dict[str, dict[str, None]] = {}
        for value in self._values:
            _, *others = _escaped(value[:_BEGINNING])
            for first, rest in _ways(value[0]):
                # An escape is rare: one part after it is enough, and each takes time to compile.
                groups.setdefault(first, {})["".join((rest, *(others[:1] if rest else others)))] = None
            for first, *others in _forms(value):
                groups.setdefault(first, {})["".join(others[: _BEGINNING - 1])] = None
        return _any_of(f"{first}(?:{'|'.join(others)})" for first, others in groups.items())


def _can_be_key(value: str) -> bool:
    if len(value) < _SHORTEST or not value.isascii() or not value.isprintable() or " " in value:
        return False
    return len(value) >= _LONGEST_WORDS or not _WORDS.fullmatch(value)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(dict.fromkeys(patterns)))


def _forms(value: str) -> Iterator[list[str]]:
    """Each form but that of ``_escaped``, as patterns of its parts, of which the first is a character."""
    from base64 import b64encode, urlsafe_b64encode

    data = value.encode("ascii")
    yield [re.escape(letter) for letter in reversed(value)]
    first, *others = (f"{byte:02x}" for byte in data)
    yield [first[0], _any_case(first[1]), *(_BETWEEN_BYTES + _any_case(pair) for pair in others)]
    for before in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(bytes(before) + data).decode("ascii")
            # The characters that hold nothing but the key, where ``before`` bytes of something else stand before it.
            first, *others = list(encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6])
            yield [re.escape(first), *(_WRAP + re.escape(letter) for letter in others)]


def _escaped(value: str) -> Iterator[str]:
    """Each character as it is, or as a URL, a string of JSON or C, or HTML may write it."""
    for letter in value:
        yield "(?:" + "|".join(map("".join, _ways(letter))) + ")"


def _ways(letter: str) -> Iterator[tuple[str, str]]:
    """Each way to write a character, as patterns of the first character of it and of the rest."""
    number, plain = _any_case(f"{ord(letter):02x}"), re.escape(letter)
    if not letter.isalnum():
        yield r"\\", rf"\\{{0,7}}{plain}"
    yield plain, ""
    yield "%", rf"(?:25)?{number}"
    yield r"\\", rf"\\{{0,7}}(?:(?:u00|U000000|x){number}|u\{{0{{0,4}}{number}\}}|{ord(letter):03o})"
    yield "&", rf"#0{{0,5}}(?:{ord(letter)}|[xX]0{{0,5}}{number});"


def _any_case(digits: str) -> str:
    return "".join(digit if digit.isdigit() else f"[{digit}{digit.upper()}]" for digit in digits)
