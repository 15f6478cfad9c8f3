"""The two turns that show what a listing cannot: that a model calls a tool with valid JSON, and takes its result.

``tool_choice`` stays auto, because new models refuse to be forced. The second turn goes out as any turn of a run does,
thinking and reasoning included, because that is where many a compatible server fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoroute import wire
from autoroute.errors import AutorouteError, BadReply, BadRequest
from autoroute.messages import Message, Reply, Request, Text, ToolResult, ToolSpec, Usage
from autoroute.parsing import Unreadable, read_object
from autoroute.routing import Route

TOOL = "echo"
WORD = "ready"

_SPEC = ToolSpec(
    TOOL,
    "Says a word back.",
    '{"additionalProperties":false,"properties":{"word":{"type":"string"}},"required":["word"],"type":"object"}',
)
_SYSTEM = "You check that a tool works."
_ASK = f'Call the tool `{TOOL}` once, with the word "{WORD}". When you have its result, answer with that word alone.'
_MAX_TOKENS = 4_000


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe showed: ``complaint`` is "" when all was well; ``answers`` is whether it can do without tools."""

    usage: Usage
    served_model: str
    complaint: str = ""
    answers: bool = False


def probe_tools(model: wire.Model, route: Route) -> ProbeResult:
    """Ask twice. Raises a ``ProviderError`` for what has nothing to do with tools, before the second turn."""
    try:
        return _converse(model, route)
    finally:
        model.close()


def _converse(model: wire.Model, route: Route) -> ProbeResult:
    opening = Message("user", (Text(_ASK),))
    first = _turn(model, route, (opening,))
    calls = first.message.calls
    if not calls:
        complaint = "it was offered a tool and asked to call it, and answered in words"
        return ProbeResult(first.usage, first.served_model, complaint, answers=True)
    if calls[0].name != TOOL or not _is_object(calls[0].arguments):
        complaint = f"its tool call is none that can be run: {calls[0].name}({calls[0].arguments[:80]})"
        return ProbeResult(first.usage, first.served_model, complaint, answers=True)
    results = Message("user", tuple(ToolResult(call.id, WORD) for call in calls))
    try:
        second = _turn(model, route, (opening, first.message, results))
    except (BadRequest, BadReply) as error:
        complaint = f"it called a tool, and then did not take the result: {error.message}"
        return ProbeResult(first.usage, first.served_model, complaint)
    return ProbeResult(first.usage + second.usage, first.served_model)


def _turn(model: wire.Model, route: Route, messages: tuple[Message, ...]) -> Reply:
    limit = min(route.max_output or _MAX_TOKENS, _MAX_TOKENS)
    request = Request(
        model=route.model, system=_SYSTEM, messages=messages, tools=(_SPEC,), max_tokens=limit, effort=route.effort
    )
    for item in model.ask(request):
        if isinstance(item, Reply):
            return item
    raise AutorouteError("a wire ended without a reply and without an error")


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(read_object(arguments).get("word"), str)
    except Unreadable:
        return False
