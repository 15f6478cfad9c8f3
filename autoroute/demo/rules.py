"""The vendors' rules for requests, from their documentation, with the message of each violation in a vendor's words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from autoroute.patterns import pattern

_NAME = pattern(r"[a-zA-Z0-9_-]{1,64}")
_SHORT_ID = pattern(r"[a-zA-Z0-9]{9}")
_MAX_CHAT_ID_CHARACTERS = 40
_MAX_BREAKPOINTS = 4
_MIN_OUTPUT_TOKENS = 16

Body = Mapping[str, Any]


def sign(model: str, thinking: str) -> str:
    """Return the signature or encrypted content of a thinking block: valid for one model and one text."""
    return hashlib.sha256(f"{model}\n{thinking}".encode()).hexdigest()


def reasoning_of(message: Body) -> str:
    """Return the reasoning in an assistant message of the chat wire."""
    return str(message.get("reasoning_content") or "")


def check_messages(body: Body, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with a request to ``/v1/messages``."""
    if "anthropic-version" not in headers:
        yield "anthropic-version: header is required"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        yield "max_tokens: Field required"
    yield from _check_messages_tools(body)
    # For models that it does not know, Claude Code describes the environment in a message of this role.
    messages = [message for message in body.get("messages") or [] if message.get("role") != "system"]
    if not messages:
        yield "messages: at least one message is required"
    for index, message in enumerate(messages):
        expected = "assistant" if index % 2 else "user"
        if message.get("role") != expected:
            yield f"messages.{index}: roles must alternate, expected {expected}"
        yield from _check_content(index, message)
    yield from _check_tool_results(messages)
    yield from _check_thinking(str(body.get("model")), messages)
    if str(body).count("'cache_control'") > _MAX_BREAKPOINTS:
        yield f"A maximum of {_MAX_BREAKPOINTS} blocks with cache_control may be provided"


def _check_messages_tools(body: Body) -> Iterator[str]:
    for index, tool in enumerate(body.get("tools") or []):
        if not _NAME.fullmatch(str(tool.get("name"))):
            yield f"tools.{index}.name: String should match pattern '{_NAME.pattern}'"
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            yield f"tools.{index}.input_schema.type: Field required"


def _blocks(message: Body, kind: str = "") -> list[Body]:
    content = message.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return [block for block in blocks if not kind or block.get("type") == kind]


def _check_content(index: int, message: Body) -> Iterator[str]:
    blocks = _blocks(message)
    if not blocks:
        yield f"messages.{index}: all messages must have non-empty content"
    for block in blocks:
        if block.get("type") == "text" and not str(block.get("text") or "").strip():
            yield f"messages.{index}: text content blocks must be non-empty"
        if block.get("type") == "tool_use":
            yield from _check_tool_use(index, block)
    kinds = [block.get("type") for block in blocks]
    if message.get("role") == "user" and kinds != sorted(kinds, key=lambda kind: kind != "tool_result"):
        yield f"messages.{index}: tool_result blocks must come before other content"


def _check_tool_use(index: int, block: Body) -> Iterator[str]:
    if not _NAME.fullmatch(str(block.get("name"))):
        yield f"messages.{index}: tool_use.name: String should match pattern '{_NAME.pattern}'"
    if not isinstance(block.get("input"), dict):
        yield f"messages.{index}: tool_use.input: Input should be a valid dictionary"


def _check_tool_results(messages: list[Body]) -> Iterator[str]:
    """Check that every tool_use has one result in the next message, and that no other result exists."""
    used: list[str] = []
    for index, message in enumerate(messages):
        calls = [str(block.get("id")) for block in _blocks(message, "tool_use")]
        used += calls
        yield from (f"messages.{index}: tool_use id {id!r} is malformed" for id in calls if not _NAME.fullmatch(id))
        following = messages[index + 1] if index + 1 < len(messages) else {"content": []}
        answers = [str(block.get("tool_use_id")) for block in _blocks(following, "tool_result")]
        missing = [id for id in calls if id not in answers]
        if missing:
            yield f"messages.{index}: tool_use ids were found without tool_result blocks immediately after: {missing}"
        orphans = [id for id in answers if id not in calls]
        if orphans:
            yield f"messages.{index + 1}: unexpected tool_use_id found in tool_result blocks: {orphans}"
        if any(count > 1 for count in Counter(answers).values()):
            yield f"messages.{index + 1}: each tool_use must have a single result"
    if messages and _blocks(messages[0], "tool_result"):
        yield "messages.0: unexpected tool_use_id found in tool_result blocks"
    if any(count > 1 for count in Counter(used).values()):
        yield "messages: tool_use ids must be unique"


def _check_thinking(model: str, messages: list[Body]) -> Iterator[str]:
    for index, message in enumerate(messages):
        blocks = _blocks(message)
        for block in blocks:
            if block.get("type") == "thinking" and block.get("signature") != sign(model, str(block.get("thinking"))):
                yield f"messages.{index}: Invalid `signature` in `thinking` block"
            if block.get("type") == "redacted_thinking" and block.get("data") != sign(model, ""):
                yield f"messages.{index}: Invalid `data` in `redacted_thinking` block"
        last = blocks[-1].get("type") if blocks else ""
        if message.get("role") == "assistant" and last in ("thinking", "redacted_thinking"):
            yield f"messages.{index}: the final block in an assistant message cannot be `{last}`"


def check_chat(body: Body, vendor: str = "", *, reasoning_replay: bool = False) -> Iterator[str]:
    """Yield what is wrong with a request to ``/chat/completions`` of a vendor."""
    messages = body.get("messages") or []
    if not messages:
        yield "messages: [] is too short"
    for index, tool in enumerate(body.get("tools") or []):
        if not _NAME.fullmatch(str(tool.get("function", {}).get("name"))):
            yield f"Invalid 'tools[{index}].function.name'"
    vendor_rules = _RULES_OF_VENDORS.get(vendor, (_check_reasoning_is_present,) if reasoning_replay else ())
    for index, message in enumerate(messages):
        yield from _check_chat_message(index, message)
        for rule in vendor_rules:
            yield from rule(index, message)
    yield from _check_tool_messages(messages)


def _calls(message: Body) -> list[Body]:
    return message.get("tool_calls") or []


def _check_chat_message(index: int, message: Body) -> Iterator[str]:
    calls = _calls(message)
    if not calls and not message.get("content"):
        yield f"Invalid value for 'messages[{index}].content': expected a string that is not empty"
    for number, call in enumerate(calls):
        where, function = f"messages[{index}].tool_calls[{number}]", call.get("function", {})
        if not 0 < len(str(call.get("id") or "")) <= _MAX_CHAT_ID_CHARACTERS:
            yield f"Invalid '{where}.id': expected 1 to {_MAX_CHAT_ID_CHARACTERS} characters"
        if not _NAME.fullmatch(str(function.get("name"))):
            yield f"Invalid '{where}.function.name': string does not match pattern"
        if not isinstance(function.get("arguments"), str):
            yield f"messages[{index}]: tool call arguments must be a string"


def _check_tool_messages(messages: list[Body]) -> Iterator[str]:
    """Check that every call has one result right after its message, and that no other result exists."""
    awaited: list[str] = []
    for index, message in enumerate(messages):
        if message.get("role") == "tool":
            id = str(message.get("tool_call_id"))
            if id not in awaited:
                yield f"messages[{index}]: role 'tool' must be a response to a preceding message with 'tool_calls'"
            else:
                awaited.remove(id)
            continue
        if awaited:
            yield f"messages[{index}]: tool_call_ids did not have response messages: {', '.join(awaited)}"
        awaited = [str(call.get("id")) for call in _calls(message)]
    if awaited:
        yield f"messages: tool_call_ids did not have response messages: {', '.join(awaited)}"


def _check_reasoning_is_present(index: int, message: Body) -> Iterator[str]:
    if _calls(message) and not reasoning_of(message):
        yield f"messages[{index}]: reasoning_content is missing in assistant tool call message"


def _check_short_ids(index: int, message: Body) -> Iterator[str]:
    ids = [*(call.get("id") for call in _calls(message)), *filter(None, [message.get("tool_call_id")])]
    if not all(_SHORT_ID.fullmatch(str(id)) for id in ids):
        yield f"messages[{index}]: Tool call id must be a-z, A-Z, 0-9, with a length of 9"


def _check_known_fields(index: int, message: Body) -> Iterator[str]:
    known = {"role", "content", "tool_calls", "tool_call_id"}
    inner = {"id", "type", "function"}
    unknown = sorted({*message} - known | {name for call in _calls(message) for name in call} - inner)
    if unknown:
        yield f"messages[{index}]: Extra inputs are not permitted: {', '.join(unknown)}"


def _check_signatures(index: int, message: Body) -> Iterator[str]:
    """Check the placeholder for a signature: this server signs no calls, so each call comes from another model."""
    for call in _calls(message):
        signature = (call.get("extra_content") or {}).get("google", {}).get("thought_signature")
        if not signature:
            yield f"messages[{index}]: Function call is missing a thought_signature in functionCall parts."
        elif signature != "skip_thought_signature_validator":
            yield f"messages[{index}]: Thought signature is not valid."


_RULES_OF_VENDORS: Mapping[str, tuple[Callable[[int, Body], Iterator[str]], ...]] = MappingProxyType(
    {
        "deepseek": (_check_reasoning_is_present,),
        "moonshot": (_check_reasoning_is_present,),
        "kimi-code": (_check_reasoning_is_present,),
        "mistral": (_check_short_ids, _check_known_fields),
        "google": (_check_signatures,),
    }
)
"""Vendor -> its rules for each message, beyond those of the chat wire."""


def input_items(body: Body) -> list[Body]:
    """Return the input of the responses wire as items; plain text becomes one message."""
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def item_type(item: Body) -> str:
    """Return the type of an item; messages may omit it."""
    return str(item.get("type") or "message")


def is_from_model(item: Body) -> bool:
    """Return whether the item is part of a model's reply."""
    return item_type(item) in ("reasoning", "function_call") or item.get("role") == "assistant"


def check_responses(body: Body) -> Iterator[str]:
    """Yield what is wrong with a request to ``/responses``."""
    items = input_items(body)
    if not items:
        yield "input: at least one item is required"
    most = body.get("max_output_tokens", _MIN_OUTPUT_TOKENS)
    if not isinstance(most, int) or most < _MIN_OUTPUT_TOKENS:
        yield f"Invalid 'max_output_tokens': Expected a value >= {_MIN_OUTPUT_TOKENS}"
    for index, tool in enumerate(body.get("tools") or []):
        if not _NAME.fullmatch(str(tool.get("name"))):
            yield f"Invalid 'tools[{index}].name'"
    for index, item in enumerate(items):
        if item_type(item) == "message" and not item.get("content"):
            yield f"Invalid 'input[{index}].content': empty"
    yield from _check_call_outputs(items)
    yield from _check_reasoning(str(body.get("model")), items)


def _check_call_outputs(items: list[Body]) -> Iterator[str]:
    """Check that every call has one output before the next message, and that no other output exists."""
    awaited: list[str] = []
    used: set[str] = set()
    answering = False
    for index, item in enumerate(items):
        kind, id = item_type(item), str(item.get("call_id"))
        if kind == "function_call_output":
            answering = True
            if id not in awaited:
                yield f"input[{index}]: No tool call found for function call output with call_id {id}."
            else:
                awaited.remove(id)
            continue
        if awaited and (answering or not is_from_model(item)):
            yield f"input[{index}]: No tool output found for function call {', '.join(awaited)}."
            awaited.clear()
        answering = False
        if kind == "function_call":
            if id in used or not _NAME.fullmatch(id):
                yield f"input[{index}].call_id: {id!r} is malformed or used before"
            if not isinstance(item.get("arguments"), str):
                yield f"input[{index}].arguments: expected a string"
            if not _NAME.fullmatch(str(item.get("name"))):
                yield f"Invalid 'input[{index}].name'"
            used.add(id)
            awaited.append(id)
    if awaited:
        yield f"input: No tool output found for function call {', '.join(awaited)}."


def _check_reasoning(model: str, items: list[Body]) -> Iterator[str]:
    for index, item in enumerate(items):
        if item_type(item) != "reasoning":
            continue
        if "status" in item:
            yield f"Unknown parameter: 'input[{index}].status'."
        thinking = "".join(str(part.get("text")) for part in item.get("summary") or [])
        if item.get("encrypted_content") != sign(model, thinking):
            yield f"input[{index}]: The encrypted content for item {item.get('id')} could not be verified."
        if index + 1 == len(items) or not is_from_model(items[index + 1]):
            yield f"Item {item.get('id')!r} of type 'reasoning' was provided without its required following item."
