"""From the JSON text that a model wrote to validated arguments, or to an error that tells the model what to correct."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from autoroute.parsing import Unreadable, describe_type, quote_name, read_object
from autoroute.patterns import pattern
from autoroute.text import find_similar
from autoroute.tools.tool import ToolError

_HINTS: Mapping[str, str] = MappingProxyType(
    {"size": "; do it in smaller steps", "form": "; send the complete call again"}
)
_MAX_PROBLEMS = 20
_MAX_VALUE_CHARACTERS = 80

_PYDANTIC_SUBJECT = pattern(r"^[A-Z]\w+ should\b")
_WHOLE_NUMBER = pattern(r"[+-]?[0-9]{1,18}(?:\.0+)?")


def _parse_number(value: object) -> object:
    """Return a quoted number or a float without a fraction as an integer: some models write "5" or 5.0 for 5."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _parse_flag(value: object) -> object:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


Count = Annotated[int, Field(ge=1), BeforeValidator(_parse_number)]
Flag = Annotated[bool, BeforeValidator(_parse_flag)]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]
GlobText = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]

Model = TypeVar("Model", bound=BaseModel)


def read_arguments(text: str, model: type[Model]) -> Model:
    """Return the arguments in ``text`` (JSON, "" for none) as ``model``.

    Raises ``ToolError`` with one line for each problem: where it is, what was expected, what was found.
    """
    data = _parse(text)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        lines = [_describe_problem(detail, model) for detail in details[:_MAX_PROBLEMS]]
        if len(details) > _MAX_PROBLEMS:
            lines.append(f"and {len(details) - _MAX_PROBLEMS} more")
        raise ToolError("\n".join(lines)) from None


def _parse(text: str) -> dict[str, Any]:
    """Return the JSON object in ``text``. Raises ``ToolError`` if it is invalid or exceeds the parse limits."""
    try:
        return read_object(text) if text.strip() else {}
    except Unreadable as error:
        raise ToolError(f"the arguments are {error}{_HINTS.get(error.reason, '')}") from None


def _describe_problem(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Return one of pydantic's errors as a line: ``subtasks[1].verify: should be text, not a number``."""
    where = _format_location(detail["loc"])
    match detail["type"]:
        case "missing":
            return f"{where}: missing"
        case "extra_forbidden":
            return f"{where}: unknown argument{_suggest_argument(detail['loc'], model)}"
        case "string_unicode":
            return f"{where}: contains half of a surrogate pair, which is not a valid character"
        case "string_type":
            return f"{where}: should be text, not {describe_type(detail['input'])}"
        case "list_type":
            return f"{where}: should be a list, not {describe_type(detail['input'])}"
        case "model_type":
            return f"{where}: should be an object, not {describe_type(detail['input'])}"
        case kind if kind.endswith("_type"):
            return f"{where}: {_expectation(detail)}, not {describe_type(detail['input'])}"
        case _:
            return f"{where}: {_expectation(detail)}{_actual_value(detail)}"


def _expectation(detail: ErrorDetails) -> str:
    """Return pydantic's message without its subject: ``should be greater than or equal to 1``."""
    return _PYDANTIC_SUBJECT.sub("should", detail["msg"])


def _actual_value(detail: ErrorDetails) -> str:
    """Return ``, not VALUE`` if the value is short enough to show and the message does not have it already."""
    value = detail["input"]
    if ", not " in detail["msg"]:
        return ""
    if not isinstance(value, str | int | float):
        return f", not {describe_type(value)}"
    return f", not {json.dumps(value)}" if len(str(value)) < _MAX_VALUE_CHARACTERS else ""


def _suggest_argument(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return a hint at the argument that was probably meant, for names at the top level, where they are the tool's."""
    if len(location) > 1:
        return ""
    name, known = str(location[0]), list(model.model_fields)
    words = name.lower().replace("-", "_").split("_")
    similar = find_similar(name.lower(), known, limit=1) or [field for field in known if field in words]
    hint = f"; did you mean {similar[0]}?" if similar else ""
    return f"{hint} (known arguments: {', '.join(known)})"


def _format_location(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{quote_name(part)}" if text else quote_name(part)
    return text or "arguments"
