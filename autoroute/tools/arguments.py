"""From the JSON text that a model wrote to checked arguments, or to a complaint that tells it what to mend."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from autoroute.tools.calls import Refused

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64
_MAX_KEYS = 10_000
_MAX_DIGITS = 18
_MAX_COMPLAINTS = 20
_SHOWN = 80

_BRACKETS_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]|\\.?)*+"?|([\[{])|([\]}])', re.DOTALL)
_SUBJECT = re.compile(r"^[A-Z]\w+ should\b")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0+)?")


def _number_from_text(value: object) -> object:
    """Some models quote numbers, or write 5.0 for 5; what they mean is beyond doubt."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _flag_from_text(value: object) -> object:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


Count = Annotated[int, Field(ge=1), BeforeValidator(_number_from_text)]
Flag = Annotated[bool, BeforeValidator(_flag_from_text)]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]

Model = TypeVar("Model", bound=BaseModel)


def read_arguments(text: str, model: type[Model]) -> Model:
    """The arguments in ``text`` (JSON, "" for none) as ``model``.

    Raises ``Refused`` with a line for each thing that is wrong: the place, what was expected, what was found.
    """
    data = _parse(text)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        lines = [_complaint(detail, model) for detail in details[:_MAX_COMPLAINTS]]
        if len(details) > _MAX_COMPLAINTS:
            lines.append(f"and {len(details) - _MAX_COMPLAINTS} more")
        raise Refused("\n".join(lines)) from None


def _parse(text: str) -> dict[str, Any]:
    """The JSON object in ``text``, within the bounds that keep hostile text harmless."""
    if len(text) > _MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise Refused("the arguments are longer than 1 MiB; do it in smaller steps")
    if not text.strip():
        return {}
    if _depth(text) > _MAX_DEPTH:
        raise Refused(f"the arguments are nested more than {_MAX_DEPTH} deep")
    keys = 0

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        keys += len(pairs)
        if keys > _MAX_KEYS:
            raise Refused(f"the arguments have more than {_MAX_KEYS} names")
        result = dict(pairs)
        if len(result) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise Refused(f"{_shown(twice)} is given more than once")
        return result

    try:
        data = json.loads(
            text, object_pairs_hook=unique, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise Refused(
            f"the arguments are not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            "send the call again, complete"
        ) from None
    if not isinstance(data, dict):
        raise Refused(f"the arguments must be a JSON object, not {_kind(data)}")
    return data


def _depth(text: str) -> int:
    deepest = depth = 0
    for match in _BRACKETS_OUTSIDE_STRINGS.finditer(text):
        depth += (match[1] is not None) - (match[2] is not None)
        deepest = max(deepest, depth)
    return deepest


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise Refused(f"the number {digits[:20]}… is too large")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Refused(f"the number {digits[:20]} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise Refused(f"{name} is not a JSON number")


def _complaint(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """One of pydantic's errors as a line: ``subtasks[1].verify: should be text, not a number``."""
    place = _place(detail["loc"])
    match detail["type"]:
        case "missing":
            return f"{place}: missing"
        case "extra_forbidden":
            return f"{place}: no such argument{_nearest(detail['loc'], model)}"
        case "string_unicode":
            return f"{place}: holds half of a surrogate pair, which is no character"
        case "string_type":
            return f"{place}: should be text, not {_kind(detail['input'])}"
        case "list_type":
            return f"{place}: should be a list, not {_kind(detail['input'])}"
        case "model_type":
            return f"{place}: should be an object, not {_kind(detail['input'])}"
        case kind if kind.endswith("_type"):
            return f"{place}: {_said(detail)}, not {_kind(detail['input'])}"
        case _:
            return f"{place}: {_said(detail)}{_found(detail)}"


def _said(detail: ErrorDetails) -> str:
    """Pydantic's own words, as the second half of a sentence."""
    return _SUBJECT.sub("should", detail["msg"])


def _found(detail: ErrorDetails) -> str:
    """What stands there, when that is short enough to help and not said already."""
    value = detail["input"]
    if ", not " in detail["msg"]:
        return ""
    if not isinstance(value, str | int | float):
        return f", not {_kind(value)}"
    return f", not {json.dumps(value)}" if len(str(value)) < _SHOWN else ""


def _nearest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """A hint at the argument that was meant; only at the top, where the names are the tool's own."""
    if len(location) > 1:
        return ""
    name, known = str(location[0]), list(model.model_fields)
    parts = name.lower().replace("-", "_").split("_")
    near = difflib.get_close_matches(name[:80].lower(), known, n=1) or [field for field in known if field in parts]
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{hint} (it takes {', '.join(known)})"


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" if place else _shown(part)
    return place or "arguments"


def _shown(name: str) -> str:
    """A name that a model made up, fit for one line."""
    return name if name.isidentifier() and len(name) <= 60 else json.dumps(name[:60])


def _kind(value: object) -> str:
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
