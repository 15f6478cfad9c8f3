"""JSON and TOML from untrusted sources, parsed within limits: no text costs much time, memory or stack.

Strict parsing refuses what two parsers could read differently: a name given twice, NaN, a number that is too large.
Lenient parsing is for the responses of servers and programs. It keeps the last of two values, as their own clients do,
and reads an unusable number as null, so that a field that autoroute does not use cannot fail a whole response. Both
keep a lone surrogate, which JSON allows; a caller that encodes the text replaces it.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from autoroute.patterns import pattern
from autoroute.text import truncate

_MAX_TOML_BYTES = 256 * 1024
_MAX_TOML_DOTS = 8
_MAX_TOML_DEPTH = 32
_MAX_TOML_VALUES = 20_000
_TOML_INTEGER_BOUND = 2**63
"""TOML 1.0: integers have 64 bits."""
_MAX_NAME_CHARACTERS = 60
_MAX_NUMBER_CHARACTERS = 20

# Possessive quantifiers, so that no text is matched twice: backtracking over a long text takes quadratic time.
# For the same reason it matches at every position, the end included: a failed search starts again at each character.
_BRACKET_OUTSIDE_STRINGS = pattern(r'(?:[^"\[\]{}]++|"(?:[^"\\]|\\.?)*+"?)*+(?:([\[{])|[\]}]|\Z)', re.DOTALL)
_TOML_STRINGS = pattern(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)|'
    r"'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)|"
    r'"(?:[^"\\\n]|\\.)*+"?|'
    r"'[^'\n]*+'?|"
    r"#[^\n]*+",
    re.DOTALL,
)
_TOML_DOTTED = pattern(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_MAX_TOML_DOTS},}}")


class Unreadable(ValueError):
    """A text that is not valid, or exceeds a limit.

    The message continues a sentence after "is": ``nested more than 64 deep``. ``reason`` is ``size`` (too long),
    ``form`` (not valid JSON or TOML, as a truncated text is) or ``value`` (well formed, and still not usable).
    """

    def __init__(self, message: str, reason: Literal["size", "form", "value"]) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """The most that a JSON text may have: bytes, nested brackets, names of members, digits of an integer.

    ``names`` also limits the lists and objects. ``lenient`` chooses how to read doubtful values (see the module).

    Python's own parser has no limits: 100,000 nested brackets raise ``RecursionError``, a million names take a second,
    ``1e400`` is infinite, and an integer of more than 4,300 digits raises ``ValueError``.
    """

    bytes: int = 1024 * 1024
    depth: int = 64
    names: int = 10_000
    digits: int = 18
    lenient: bool = False


RESPONSE_LIMITS = ParseLimits(bytes=4 * 1024 * 1024, depth=128, names=200_000, lenient=True)
"""For what a server or a program answers."""


def read_json(text: str | bytes, limits: ParseLimits = ParseLimits()) -> Any:
    """Return the value of a JSON text. Raises ``Unreadable``."""
    text = _decode(text, limits.bytes)
    # Counting is nearly free. Each level needs an opening bracket and each name a colon, so most texts need no other
    # check.
    if text.count("[") + text.count("{") > limits.depth:
        _check_brackets(text, limits)
    few_names = text.count(":") <= limits.names
    parser = _Parser(limits)
    try:
        return json.loads(
            text,
            object_pairs_hook=None if few_names and limits.lenient else parser.collect,
            parse_int=parser.integer,
            parse_float=parser.number,
            parse_constant=parser.constant,
        )
    except json.JSONDecodeError as error:
        raise Unreadable(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}", "form") from None


def read_object(text: str | bytes, limits: ParseLimits = ParseLimits()) -> dict[str, Any]:
    """Return the object of a JSON text. Raises ``Unreadable``, also for a value of another type."""
    value = read_json(text, limits)
    if not isinstance(value, dict):
        raise Unreadable(f"{describe_type(value)}, not an object", "form")
    return value


def read_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text. Raises ``Unreadable``, whose message is a statement of its own here.

    ``tomllib`` needs time quadratic in the dots of a key, and reads numbers of any length: both are limited here.
    """
    if len(text) > _MAX_TOML_BYTES:
        raise Unreadable(f"longer than {_MAX_TOML_BYTES // 1024} KiB", "size")
    if _TOML_DOTTED.search(_TOML_STRINGS.sub("s", text)):
        raise Unreadable(f"a key has more than {_MAX_TOML_DOTS} dots", "size")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise Unreadable("nested too deep", "size") from None
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(str(error), "form") from None
    except ValueError:  # Python refuses integers of more than some thousand digits
        raise Unreadable("a number has too many digits", "size") from None
    _check_toml(tables)
    return tables


def quote_name(name: str) -> str:
    """Return a name from an untrusted text, short and quoted where needed, for a message of one line."""
    short = name[:_MAX_NAME_CHARACTERS]
    return name if name == short and name.isidentifier() else json.dumps(short)


def describe_type(value: object) -> str:
    """Return the JSON type of a value in words: ``text``, ``a list``."""
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


class _Parser:
    """The hooks of ``json.loads`` for one text."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._names = 0

    def collect(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._names += len(pairs)
        if self._names > self._limits.names:
            raise Unreadable(f"too large (more than {self._limits.names} names)", "value")
        result = dict(pairs)
        if len(result) < len(pairs) and not self._limits.lenient:
            repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise Unreadable(f"ambiguous: {quote_name(repeated)} is given more than once", "value")
        return result

    def integer(self, digits: str) -> int | None:
        if len(digits.lstrip("-")) <= self._limits.digits:
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
        if not self._limits.lenient:
            raise Unreadable(f"not valid JSON: {name} is not allowed", "value")

    def _refuse(self, digits: str) -> None:
        if not self._limits.lenient:
            number = truncate(digits, _MAX_NUMBER_CHARACTERS + 1)
            raise Unreadable(f"not valid: the number {number} is too large", "value")


def _decode(text: str | bytes, limit: int) -> str:
    # A character has one to four bytes in UTF-8, so a text is encoded only where the number of characters cannot tell.
    if len(text) > limit or (isinstance(text, str) and 4 * len(text) > limit and _count_bytes(text) > limit):
        raise Unreadable(f"longer than {_format_size(limit)}", "size")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 (byte {error.start})", "form") from None


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _format_size(bytes: int) -> str:
    return f"{bytes >> 20} MiB" if bytes >= 1 << 20 else f"{bytes >> 10} KiB"


def _check_brackets(text: str, limits: ParseLimits) -> None:
    """Raise ``Unreadable`` for more brackets than allowed. The count ends with the first value of the text."""
    depth = opened = 0
    for match in _BRACKET_OUTSIDE_STRINGS.finditer(text):
        if match[1] is None:
            depth -= 1
            if depth <= 0:
                return
            continue
        depth += 1
        opened += 1
        if depth > limits.depth:
            raise Unreadable(f"nested more than {limits.depth} deep", "value")
        if opened > limits.names:
            raise Unreadable(f"too large (more than {limits.names} lists and objects)", "value")


def _check_toml(tables: dict[str, Any]) -> None:
    level: list[Any] = [tables]
    values = 0
    for _ in range(_MAX_TOML_DEPTH):
        below: list[Any] = []
        for value in level:
            match value:
                case dict():
                    below += value.values()
                case list():
                    below += value
                case int() if abs(value) >= _TOML_INTEGER_BOUND:
                    raise Unreadable("a number is too large", "value")
                case float() if not math.isfinite(value):
                    raise Unreadable(f"{value} is not allowed as a number", "value")
        values += len(below)
        if values > _MAX_TOML_VALUES:
            raise Unreadable(f"too large (more than {_MAX_TOML_VALUES} values)", "size")
        if not below:
            return
        level = below
    raise Unreadable("nested too deep", "size")
