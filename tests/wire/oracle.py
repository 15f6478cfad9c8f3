"""Validation of what we send by the vendors' own parameter types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


@cache
def _adapter(wire: str) -> TypeAdapter[Any]:
    if wire == "anthropic-messages":
        from anthropic.types.message_create_params import MessageCreateParamsStreaming

        return TypeAdapter(MessageCreateParamsStreaming)
    if wire == "openai-responses":
        from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

        return TypeAdapter(ResponseCreateParamsStreaming)
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    return TypeAdapter(CompletionCreateParamsStreaming)


def assert_valid(wire: str, body: Any) -> None:
    """Raise ``AssertionError`` when a body is not what the vendor's SDK would send, at any depth."""
    try:
        _walk(_adapter(wire).validate_python(body))
    except ValidationError as error:
        raise AssertionError(str(error)) from None


def _walk(value: Any) -> None:
    """Visit everything: pydantic validates the items of an ``Iterable`` only when they are read."""
    if isinstance(value, Mapping):
        for inner in value.values():
            _walk(inner)
    elif not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for inner in value:
            _walk(inner)
