"""The two turns that show what a listing cannot: whether a model calls a tool with valid JSON and uses its result.

``tool_choice`` stays ``auto``, because newer Claude models reject a forced choice (platform.claude.com/docs). The
second turn is sent like any turn of a run, with thinking and reasoning, because many compatible servers fail there.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoroute import wire
from autoroute.errors import AutorouteError, BadReply, BadRequest
from autoroute.messages import Message, Reply, Request, Text, ToolResult, ToolSpec, Usage
from autoroute.parsing import Unreadable, read_object
from autoroute.routing import Route

_TOOL_NAME = "echo"
_WORD = "ready"
_TOOL = ToolSpec(
    _TOOL_NAME,
    "Return the word.",
    '{"additionalProperties":false,"properties":{"word":{"type":"string"}},"required":["word"],"type":"object"}',
)
_SYSTEM_PROMPT = "You check that a tool works."
_PROMPT = (
    f'Call the tool `{_TOOL_NAME}` once, with the word "{_WORD}". '
    f"When you have its result, answer with that word alone."
)
_MAX_OUTPUT_TOKENS = 4_000
_MAX_QUOTE_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe. ``problem`` is "" if the model calls tools.

    ``works_without_tools`` says that the model answered, so that a phase without tools can use it.
    """

    usage: Usage
    served_model: str
    problem: str = ""
    works_without_tools: bool = False


def probe_tools(model: wire.Model, route: Route) -> ProbeResult:
    """Ask twice, then close the model. Raises a ``ProviderError`` for an error that has nothing to do with tools."""
    try:
        return _converse(model, route)
    finally:
        model.close()


def _converse(model: wire.Model, route: Route) -> ProbeResult:
    opening = Message("user", (Text(_PROMPT),))
    first = _ask(model, route, (opening,))
    calls = first.message.calls
    if not calls:
        problem = "it answered in words when it was asked to call a tool"
        return ProbeResult(first.usage, first.served_model, problem, works_without_tools=True)
    if calls[0].name != _TOOL_NAME or not _has_word(calls[0].arguments):
        problem = f"it made an invalid tool call: {calls[0].name}({calls[0].arguments[:_MAX_QUOTE_CHARACTERS]})"
        return ProbeResult(first.usage, first.served_model, problem, works_without_tools=True)
    results = Message("user", tuple(ToolResult(call.id, _WORD) for call in calls))
    try:
        second = _ask(model, route, (opening, first.message, results))
    except (BadRequest, BadReply) as error:
        problem = f"it called a tool, but the request with the result failed: {error.message}"
        return ProbeResult(first.usage, first.served_model, problem)
    return ProbeResult(first.usage + second.usage, first.served_model)


def _ask(model: wire.Model, route: Route, messages: tuple[Message, ...]) -> Reply:
    limit = min(route.max_output or _MAX_OUTPUT_TOKENS, _MAX_OUTPUT_TOKENS)
    request = Request(
        model=route.model,
        system=_SYSTEM_PROMPT,
        messages=messages,
        tools=(_TOOL,),
        max_tokens=limit,
        effort=route.effort,
    )
    for item in model.ask(request):
        if isinstance(item, Reply):
            return item
    raise AutorouteError("a wire ended without a reply and without an error")


def _has_word(arguments: str) -> bool:
    try:
        return isinstance(read_object(arguments).get("word"), str)
    except Unreadable:
        return False
