"""What the vendors insist on in a request, as their documentation states it; each breach in words for the answer."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
_LONGEST_CHAT_ID = 40
_MOST_BREAKPOINTS = 4
_FEWEST_OUTPUT_TOKENS = 16

Body = Mapping[str, Any]


def sign(model: str, thinking: str) -> str:
    """The signature of a thinking block, or its encrypted content: it holds for one model and one text."""
    return hashlib.sha256(f"{model}\n{thinking}".encode()).hexdigest()


def reasoning_of(message: Body) -> str:
    """The reasoning that an assistant message of the chat wire carries."""
    return str(message.get("reasoning_content") or "")


def breaches_of_messages(body: Body, headers: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a request to ``/v1/messages``."""
    if "anthropic-version" not in headers:
        yield "anthropic-version: header is required"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        yield "max_tokens: Field required"
    yield from _tools_of_messages(body)
    # Claude Code tells models that it does not know of their surroundings in a message of this role.
    messages = [message for message in body.get("messages") or [] if message.get("role") != "system"]
    if not messages:
        yield "messages: at least one message is required"
    for place, message in enumerate(messages):
        expected = "assistant" if place % 2 else "user"
        if message.get("role") != expected:
            yield f"messages.{place}: roles must alternate, expected {expected}"
        yield from _content(place, message)
    yield from _pairs(messages)
    yield from _thinking(str(body.get("model")), messages)
    if str(body).count("'cache_control'") > _MOST_BREAKPOINTS:
        yield f"A maximum of {_MOST_BREAKPOINTS} blocks with cache_control may be provided"


def _tools_of_messages(body: Body) -> Iterator[str]:
    for place, tool in enumerate(body.get("tools") or []):
        if not _NAME.fullmatch(str(tool.get("name"))):
            yield f"tools.{place}.name: String should match pattern '{_NAME.pattern}'"
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            yield f"tools.{place}.input_schema.type: Field required"


def _blocks(message: Body, kind: str = "") -> list[Body]:
    content = message.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return [block for block in blocks if not kind or block.get("type") == kind]


def _content(place: int, message: Body) -> Iterator[str]:
    blocks = _blocks(message)
    if not blocks:
        yield f"messages.{place}: all messages must have non-empty content"
    for block in blocks:
        if block.get("type") == "text" and not str(block.get("text") or "").strip():
            yield f"messages.{place}: text content blocks must be non-empty"
        if block.get("type") == "tool_use":
            yield from _tool_use(place, block)
    kinds = [block.get("type") for block in blocks]
    if message.get("role") == "user" and kinds != sorted(kinds, key=lambda kind: kind != "tool_result"):
        yield f"messages.{place}: tool_result blocks must come before other content"


def _tool_use(place: int, block: Body) -> Iterator[str]:
    if not _NAME.fullmatch(str(block.get("name"))):
        yield f"messages.{place}: tool_use.name: String should match pattern '{_NAME.pattern}'"
    if not isinstance(block.get("input"), dict):
        yield f"messages.{place}: tool_use.input: Input should be a valid dictionary"


def _pairs(messages: list[Body]) -> Iterator[str]:
    """Every tool_use is answered once, in the very next message, and nothing else is."""
    used: list[str] = []
    for place, message in enumerate(messages):
        calls = [str(block.get("id")) for block in _blocks(message, "tool_use")]
        used += calls
        yield from (f"messages.{place}: tool_use id {id!r} is malformed" for id in calls if not _NAME.fullmatch(id))
        following = messages[place + 1] if place + 1 < len(messages) else {"content": []}
        answers = [str(block.get("tool_use_id")) for block in _blocks(following, "tool_result")]
        missing = [id for id in calls if id not in answers]
        if missing:
            yield f"messages.{place}: tool_use ids were found without tool_result blocks immediately after: {missing}"
        orphans = [id for id in answers if id not in calls]
        if orphans:
            yield f"messages.{place + 1}: unexpected tool_use_id found in tool_result blocks: {orphans}"
        if any(count > 1 for count in Counter(answers).values()):
            yield f"messages.{place + 1}: each tool_use must have a single result"
    if messages and _blocks(messages[0], "tool_result"):
        yield "messages.0: unexpected tool_use_id found in tool_result blocks"
    if any(count > 1 for count in Counter(used).values()):
        yield "messages: tool_use ids must be unique"


def _thinking(model: str, messages: list[Body]) -> Iterator[str]:
    for place, message in enumerate(messages):
        blocks = _blocks(message)
        for block in blocks:
            if block.get("type") == "thinking" and block.get("signature") != sign(model, str(block.get("thinking"))):
                yield f"messages.{place}: Invalid `signature` in `thinking` block"
            if block.get("type") == "redacted_thinking" and block.get("data") != sign(model, ""):
                yield f"messages.{place}: Invalid `data` in `redacted_thinking` block"
        last = blocks[-1].get("type") if blocks else ""
        if message.get("role") == "assistant" and last in ("thinking", "redacted_thinking"):
            yield f"messages.{place}: the final block in an assistant message cannot be `{last}`"


def breaches_of_chat(body: Body, vendor: str = "", *, reasoning_replay: bool = False) -> Iterator[str]:
    """What is wrong with a request to ``/chat/completions`` of a vendor."""
    messages = body.get("messages") or []
    if not messages:
        yield "messages: [] is too short"
    for place, tool in enumerate(body.get("tools") or []):
        if not _NAME.fullmatch(str(tool.get("function", {}).get("name"))):
            yield f"Invalid 'tools[{place}].function.name'"
    demands = _DEMANDS.get(vendor, (_wants_reasoning,) if reasoning_replay else ())
    for place, message in enumerate(messages):
        yield from _form_of_chat(place, message)
        for demand in demands:
            yield from demand(place, message)
    yield from _answers(messages)


def _calls(message: Body) -> list[Body]:
    return message.get("tool_calls") or []


def _form_of_chat(place: int, message: Body) -> Iterator[str]:
    calls = _calls(message)
    if not calls and not message.get("content"):
        yield f"Invalid value for 'messages[{place}].content': expected a string that is not empty"
    for number, call in enumerate(calls):
        where, function = f"messages[{place}].tool_calls[{number}]", call.get("function", {})
        if not 0 < len(str(call.get("id") or "")) <= _LONGEST_CHAT_ID:
            yield f"Invalid '{where}.id': expected 1 to {_LONGEST_CHAT_ID} characters"
        if not _NAME.fullmatch(str(function.get("name"))):
            yield f"Invalid '{where}.function.name': string does not match pattern"
        if not isinstance(function.get("arguments"), str):
            yield f"messages[{place}]: tool call arguments must be a string"


def _answers(messages: list[Body]) -> Iterator[str]:
    """Every call is answered once, right after the message that made it, and nothing else is."""
    awaited: list[str] = []
    for place, message in enumerate(messages):
        if message.get("role") == "tool":
            id = str(message.get("tool_call_id"))
            if id not in awaited:
                yield f"messages[{place}]: role 'tool' must be a response to a preceding message with 'tool_calls'"
            else:
                awaited.remove(id)
            continue
        if awaited:
            yield f"messages[{place}]: tool_call_ids did not have response messages: {', '.join(awaited)}"
        awaited = [str(call.get("id")) for call in _calls(message)]
    if awaited:
        yield f"messages: tool_call_ids did not have response messages: {', '.join(awaited)}"


def _wants_reasoning(place: int, message: Body) -> Iterator[str]:
    if _calls(message) and not reasoning_of(message):
        yield f"messages[{place}]: reasoning_content is missing in assistant tool call message"


def _wants_short_ids(place: int, message: Body) -> Iterator[str]:
    ids = [*(call.get("id") for call in _calls(message)), *filter(None, [message.get("tool_call_id")])]
    if not all(_SHORT_ID.fullmatch(str(id)) for id in ids):
        yield f"messages[{place}]: Tool call id must be a-z, A-Z, 0-9, with a length of 9"


def _knows_its_fields(place: int, message: Body) -> Iterator[str]:
    known = {"role", "content", "tool_calls", "tool_call_id"}
    inner = {"id", "type", "function"}
    unknown = sorted({*message} - known | {name for call in _calls(message) for name in call} - inner)
    if unknown:
        yield f"messages[{place}]: Extra inputs are not permitted: {', '.join(unknown)}"


def _wants_signatures(place: int, message: Body) -> Iterator[str]:
    """This server signs no call, so each comes from elsewhere, and says so."""
    for call in _calls(message):
        signature = (call.get("extra_content") or {}).get("google", {}).get("thought_signature")
        if not signature:
            yield f"messages[{place}]: Function call is missing a thought_signature in functionCall parts."
        elif signature != "skip_thought_signature_validator":
            yield f"messages[{place}]: Thought signature is not valid."


_DEMANDS: Mapping[str, tuple[Callable[[int, Body], Iterator[str]], ...]] = MappingProxyType(
    {
        "deepseek": (_wants_reasoning,),
        "moonshot": (_wants_reasoning,),
        "kimi-code": (_wants_reasoning,),
        "mistral": (_wants_short_ids, _knows_its_fields),
        "google": (_wants_signatures,),
    }
)
"""Vendor -> what it wants of each message beyond the common form of the chat wire."""


def items_of(body: Body) -> list[Body]:
    """The input of the responses wire as items; a text alone is one message."""
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def kind_of(item: Body) -> str:
    """The type of an item; messages may leave it out."""
    return str(item.get("type") or "message")


def is_from_model(item: Body) -> bool:
    """Whether the item is part of a reply."""
    return kind_of(item) in ("reasoning", "function_call") or item.get("role") == "assistant"


def breaches_of_responses(body: Body) -> Iterator[str]:
    """What is wrong with a request to ``/responses``."""
    items = items_of(body)
    if not items:
        yield "input: at least one item is required"
    most = body.get("max_output_tokens", _FEWEST_OUTPUT_TOKENS)
    if not isinstance(most, int) or most < _FEWEST_OUTPUT_TOKENS:
        yield f"Invalid 'max_output_tokens': Expected a value >= {_FEWEST_OUTPUT_TOKENS}"
    for place, tool in enumerate(body.get("tools") or []):
        if not _NAME.fullmatch(str(tool.get("name"))):
            yield f"Invalid 'tools[{place}].name'"
    for place, item in enumerate(items):
        if kind_of(item) == "message" and not item.get("content"):
            yield f"Invalid 'input[{place}].content': empty"
    yield from _outputs(items)
    yield from _reasoning(str(body.get("model")), items)


def _outputs(items: list[Body]) -> Iterator[str]:
    """Every call is answered once, before anything else is said, and nothing else is."""
    awaited: list[str] = []
    used: set[str] = set()
    answering = False
    for place, item in enumerate(items):
        kind, id = kind_of(item), str(item.get("call_id"))
        if kind == "function_call_output":
            answering = True
            if id not in awaited:
                yield f"input[{place}]: No tool call found for function call output with call_id {id}."
            else:
                awaited.remove(id)
            continue
        if awaited and (answering or not is_from_model(item)):
            yield f"input[{place}]: No tool output found for function call {', '.join(awaited)}."
            awaited.clear()
        answering = False
        if kind == "function_call":
            if id in used or not _NAME.fullmatch(id):
                yield f"input[{place}].call_id: {id!r} is malformed or used before"
            if not isinstance(item.get("arguments"), str):
                yield f"input[{place}].arguments: expected a string"
            if not _NAME.fullmatch(str(item.get("name"))):
                yield f"Invalid 'input[{place}].name'"
            used.add(id)
            awaited.append(id)
    if awaited:
        yield f"input: No tool output found for function call {', '.join(awaited)}."


def _reasoning(model: str, items: list[Body]) -> Iterator[str]:
    for place, item in enumerate(items):
        if kind_of(item) != "reasoning":
            continue
        if "status" in item:
            yield f"Unknown parameter: 'input[{place}].status'."
        thinking = "".join(str(part.get("text")) for part in item.get("summary") or [])
        if item.get("encrypted_content") != sign(model, thinking):
            yield f"input[{place}]: The encrypted content for item {item.get('id')} could not be verified."
        if place + 1 == len(items) or not is_from_model(items[place + 1]):
            yield f"Item {item.get('id')!r} of type 'reasoning' was provided without its required following item."
