"""JSON and TOML from elsewhere, read within bounds: no text, however it is made, takes much time, memory or stack.

A strict reader refuses what two readers could take for two things: a name given twice, NaN, a number that is too
large. A lenient one, for what servers and programs answer, takes the last of two values as their own clients do, and a
number beyond the bounds for none (null), so that a field that nobody asked for costs no answer. Half a surrogate pair
stays, as JSON allows it: whoever writes the text again replaces it.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

_TOML_BYTES = 256 * 1024
_TOML_DOTS = 8
_TOML_DEPTH = 32
_TOML_VALUES = 20_000
_TOML_LARGEST = 2**63
"""As its specification has it."""
_SHOWN = 60

# Possessive wherever it can be: what was once looked at is not looked at again.
# It matches wherever it begins, at the end too: a search that fails begins anew at each character.
_BRACKET_OUTSIDE_STRINGS = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]|\\.?)*+"?)*+(?:([\[{])|[\]}]|\Z)', re.DOTALL)
_TOML_STRINGS = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)|'
    r"'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)|"
    r'"(?:[^"\\\n]|\\.)*+"?|'
    r"'[^'\n]*+'?|"
    r"#[^\n]*+",
    re.DOTALL,
)
_TOML_DOTTED = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_TOML_DOTS},}}")


class Unreadable(ValueError):
    """The text is not what it must be, or beyond the bounds.

    The message goes on after "is" (``nested more than 64 deep``). ``why``: it is too long, it has not the form (or was
    cut off), or it makes no sense.
    """

    def __init__(self, message: str, why: Literal["size", "form", "sense"]) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a JSON text may have: bytes, brackets within each other, names, digits of a whole number.

    There may be as many lists and objects as names.
    """

    bytes: int = 1024 * 1024
    depth: int = 64
    names: int = 10_000
    digits: int = 18
    lenient: bool = False


ANSWER = Bounds(bytes=4 * 1024 * 1024, depth=128, names=200_000, lenient=True)
"""What a server or a program says."""


def read_json(text: str | bytes, bounds: Bounds = Bounds()) -> Any:
    """The value in a JSON text; raises ``Unreadable``."""
    text = _decoded(text, bounds.bytes)
    # An opening bracket is needed for each level, and a colon for each name: to count them costs next to nothing.
    if text.count("[") + text.count("{") > bounds.depth:
        _check_brackets(text, bounds)
    few_names = text.count(":") <= bounds.names
    reading = _Reading(bounds)
    try:
        return json.loads(
            text,
            object_pairs_hook=None if few_names and bounds.lenient else reading.collect,
            parse_int=reading.integer,
            parse_float=reading.number,
            parse_constant=reading.constant,
        )
    except json.JSONDecodeError as error:
        raise Unreadable(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}", "form") from None


def read_object(text: str | bytes, bounds: Bounds = Bounds()) -> dict[str, Any]:
    """The object in a JSON text; raises ``Unreadable``, for any other value too."""
    value = read_json(text, bounds)
    if not isinstance(value, dict):
        raise Unreadable(f"{kind_of(value)} and no object", "form")
    return value


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text; raises ``Unreadable``, whose message then stands by itself.

    ``tomllib`` takes time that grows with the square of the dots in a key, and any number: both are bounded here.
    """
    if len(text) > _TOML_BYTES:
        raise Unreadable(f"longer than {_TOML_BYTES // 1024} KiB", "size")
    if _TOML_DOTTED.search(_TOML_STRINGS.sub("s", text)):
        raise Unreadable(f"a key has more than {_TOML_DOTS} dots", "size")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise Unreadable("nested too deep", "size") from None
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(str(error), "form") from None
    except ValueError:  # Python refuses integers of more than some thousand digits
        raise Unreadable("a number in it is too long", "size") from None
    _check_toml(tables)
    return tables


def shown_name(name: str) -> str:
    """A name that somebody made up, fit for one line."""
    return name if name.isidentifier() and len(name) <= _SHOWN else json.dumps(name[:_SHOWN])


def kind_of(value: object) -> str:
    """What JSON calls a value: ``text``, ``a list``."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"


class _Reading:
    """What the parser asks on its way through one text."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._names = 0

    def collect(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._names += len(pairs)
        if self._names > self._bounds.names:
            raise Unreadable(f"made of more than {self._bounds.names} names", "sense")
        result = dict(pairs)
        if len(result) < len(pairs) and not self._bounds.lenient:
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise Unreadable(f"not clear: {shown_name(twice)} is given more than once", "sense")
        return result

    def integer(self, digits: str) -> int | None:
        if len(digits.lstrip("-")) <= self._bounds.digits:
            return int(digits)
        self._refuse(digits)
        return None

    def number(self, digits: str) -> float | None:
        value = float(digits)
        if math.isfinite(value):
            return value
        self._refuse(digits)
        return None

    def constant(self, name: str) -> None:
        if not self._bounds.lenient:
            raise Unreadable(f"not valid JSON: {name} is no number", "sense")

    def _refuse(self, digits: str) -> None:
        if not self._bounds.lenient:
            shown = digits if len(digits) <= 20 else f"{digits[:20]}…"
            raise Unreadable(f"not usable: the number {shown} is too large", "sense")


def _decoded(text: str | bytes, most: int) -> str:
    # A character is a byte at least; only a text near the bound is encoded to be counted.
    if len(text) > most or (isinstance(text, str) and 4 * len(text) > most and _bytes_of(text) > most):
        raise Unreadable(f"longer than {_size(most)}", "size")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 (byte {error.start})", "form") from None


def _bytes_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _size(bytes: int) -> str:
    return f"{bytes >> 20} MiB" if bytes >= 1 << 20 else f"{bytes >> 10} KiB"


def _check_brackets(text: str, bounds: Bounds) -> None:
    """Count them up to the bounds, and no further than the value goes."""
    depth = opened = 0
    for match in _BRACKET_OUTSIDE_STRINGS.finditer(text):
        if match[1] is None:
            depth -= 1
            if depth <= 0:
                return
            continue
        depth += 1
        opened += 1
        if depth > bounds.depth:
            raise Unreadable(f"nested more than {bounds.depth} deep", "sense")
        if opened > bounds.names:
            raise Unreadable(f"made of more than {bounds.names} lists and objects", "sense")


def _check_toml(tables: dict[str, Any]) -> None:
    level: list[Any] = [tables]
    values = 0
    for _ in range(_TOML_DEPTH):
        below: list[Any] = []
        for value in level:
            match value:
                case dict():
                    below += value.values()
                case list():
                    below += value
                case int() if abs(value) >= _TOML_LARGEST:
                    raise Unreadable("a number in it is too large", "sense")
                case float() if not math.isfinite(value):
                    raise Unreadable(f"{value} is no number that a setting can have", "sense")
        values += len(below)
        if values > _TOML_VALUES:
            raise Unreadable(f"made of more than {_TOML_VALUES} values", "size")
        if not below:
            return
        level = below
    raise Unreadable("nested too deep", "size")
