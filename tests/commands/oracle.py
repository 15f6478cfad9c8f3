"""The vendors' own parameter types as judges of what we send."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from autoroute.demo.server import Recorded


@cache
def _anthropic() -> TypeAdapter[Any]:
    from anthropic.types.message_create_params import MessageCreateParamsStreaming

    return TypeAdapter(MessageCreateParamsStreaming)


@cache
def _openai() -> TypeAdapter[Any]:
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    return TypeAdapter(CompletionCreateParamsStreaming)


def assert_valid_request(request: Recorded) -> None:
    """Raises when a request body is not what the vendor's SDK would send."""
    if request.method != "POST":
        return
    adapter = _anthropic() if request.path.endswith("/messages") else _openai()
    adapter.validate_python(request.body)
