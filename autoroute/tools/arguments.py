"""From the JSON text that a model wrote to checked arguments, or to a complaint that tells it what to mend."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from autoroute.parsing import Unreadable, describe_type, quote_name, read_object
from autoroute.text import find_similar
from autoroute.tools.tool import ToolError

_MENDS: Mapping[str, str] = MappingProxyType(
    {"size": "; do it in smaller steps", "form": "; send the call again, complete"}
)
_MAX_COMPLAINTS = 20
_SHOWN = 80

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

    Raises ``ToolError`` with a line for each thing that is wrong: the place, what was expected, what was found.
    """
    data = _parse(text)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        lines = [_complaint(detail, model) for detail in details[:_MAX_COMPLAINTS]]
        if len(details) > _MAX_COMPLAINTS:
            lines.append(f"and {len(details) - _MAX_COMPLAINTS} more")
        raise ToolError("\n".join(lines)) from None


def _parse(text: str) -> dict[str, Any]:
    """The JSON object in ``text``, within the bounds that keep hostile text harmless."""
    try:
        return read_object(text) if text.strip() else {}
    except Unreadable as error:
        raise ToolError(f"the arguments are {error}{_MENDS.get(error.reason, '')}") from None


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
            return f"{place}: should be text, not {describe_type(detail['input'])}"
        case "list_type":
            return f"{place}: should be a list, not {describe_type(detail['input'])}"
        case "model_type":
            return f"{place}: should be an object, not {describe_type(detail['input'])}"
        case kind if kind.endswith("_type"):
            return f"{place}: {_said(detail)}, not {describe_type(detail['input'])}"
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
        return f", not {describe_type(value)}"
    return f", not {json.dumps(value)}" if len(str(value)) < _SHOWN else ""


def _nearest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """A hint at the argument that was meant; only at the top, where the names are the tool's own."""
    if len(location) > 1:
        return ""
    name, known = str(location[0]), list(model.model_fields)
    parts = name.lower().replace("-", "_").split("_")
    near = find_similar(name.lower(), known, limit=1) or [field for field in known if field in parts]
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{hint} (it takes {', '.join(known)})"


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{quote_name(part)}" if place else quote_name(part)
    return place or "arguments"
