"""The server's side of each wire: what a request contains, the events of a reply, the shape of an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from types import MappingProxyType
from typing import Any, Protocol

from autoroute.demo import rules
from autoroute.demo.script import ScriptedReply
from autoroute.patterns import pattern

Json = dict[str, Any]
_MCP_PREFIX = pattern(r"mcp__[a-z]+__")


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """What a script needs to know about a request; ``answered`` counts the replies in its conversation."""

    offered_tools: tuple[str, ...]
    opening: str
    answered: int


@dataclass(frozen=True, slots=True)
class ServedReply:
    """A reply with what a response adds: the name of the model, a number that makes ids unique, and token counts."""

    reply: ScriptedReply
    model: str
    requested_model: str
    """The model that thinking is signed for."""
    number: int
    fresh_tokens: int
    cached_tokens: int

    @property
    def output_tokens(self) -> int:
        """The output tokens, estimated as one for every four characters."""
        text = self.reply.text + self.reply.thinking + "".join(call.arguments for call in self.reply.calls)
        return len(text) // 4 + 1


class Dialect(Protocol):
    """The server's side of one wire."""

    def violations(self, body: Json, headers: Mapping[str, str], vendor: str, *, reasoning_replay: bool) -> list[str]:
        """Return the rules of the vendor that a request breaks."""
        ...

    def summarize(self, body: Json) -> RequestSummary:
        """Return what a script needs to know about the body of a request."""
        ...

    def events(self, answer: ServedReply, body: Json) -> Iterator[bytes]:
        """Yield the events of the stream."""
        ...

    def error(self, status: int, message: str) -> Json:
        """Return the body of an error response."""
        ...


class Messages:
    """``POST …/v1/messages``."""

    _TYPES: Mapping[int, str] = MappingProxyType(
        {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 529: "overloaded_error"}
    )

    def violations(
        self,
        body: Json,
        headers: Mapping[str, str],
        vendor: str,  # noqa: ARG002 - part of the protocol
        *,
        reasoning_replay: bool,  # noqa: ARG002 - part of the protocol
    ) -> list[str]:
        """Return the rules of the vendor that a request breaks."""
        return list(rules.check_messages(body, headers))

    def summarize(self, body: Json) -> RequestSummary:
        """Return what a script needs to know about the body of a request."""
        messages = body.get("messages") or [{}]
        content = messages[0].get("content", "")
        first = content if isinstance(content, str) else "\n".join(str(block.get("text", "")) for block in content)
        tools = tuple(str(tool.get("name")).removeprefix(_prefix(body)) for tool in body.get("tools") or [])
        # A conversation that began with another model is given as a transcript, with that model's replies under "you:".
        transcribed = first.count("\nyou:\n") if "<so-far>" in first else 0
        replies = sum(message.get("role") == "assistant" for message in messages)
        return RequestSummary(tools, first, transcribed + replies)

    def events(self, answer: ServedReply, body: Json) -> Iterator[bytes]:
        """Yield the events of the stream."""
        usage = {
            "input_tokens": answer.fresh_tokens,
            "cache_read_input_tokens": answer.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        }
        message: Json = {"id": f"msg_{answer.number:06}", "type": "message", "role": "assistant", "model": answer.model}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        yield _named("message_start", message=message)
        yield _named("ping")
        index = -1
        for index, (block, deltas) in enumerate(self._blocks(answer, _prefix(body))):
            yield _named("content_block_start", index=index, content_block=block)
            for delta in deltas:
                yield _named("content_block_delta", index=index, delta=delta)
            yield _named("content_block_stop", index=index)
        stop = "max_tokens" if answer.reply.cut else "tool_use" if answer.reply.calls else "end_turn"
        total = {"output_tokens": answer.output_tokens}
        yield _named("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=total)
        yield _named("message_stop")

    def _blocks(self, answer: ServedReply, prefix: str) -> Iterator[tuple[Json, list[Json]]]:
        reply = answer.reply
        if reply.thinking:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(reply.thinking)]
            signature = rules.sign(answer.requested_model, reply.thinking)
            yield (
                {"type": "thinking", "thinking": "", "signature": ""},
                [*deltas, {"type": "signature_delta", "signature": signature}],
            )
        if reply.text:
            yield (
                {"type": "text", "text": ""},
                [{"type": "text_delta", "text": piece} for piece in _pieces(reply.text)],
            )
        for index, call in enumerate(reply.calls):
            id = call.id or f"toolu_{answer.number:06}_{index}"
            block = {"type": "tool_use", "id": id, "name": f"{prefix}{call.name}", "input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": piece} for piece in ("", *_pieces(call.arguments, 11))
            ]
            yield block, deltas

    def error(self, status: int, message: str) -> Json:
        """Return the body of an error response."""
        return {"type": "error", "error": {"type": self._TYPES.get(status, "api_error"), "message": message}}


def _prefix(body: Json) -> str:
    """Return the prefix that Claude Code gives the tools of an MCP server; "" for any other client."""
    names = (str(tool.get("name")) for tool in body.get("tools") or [])
    found = next(filter(None, (_MCP_PREFIX.match(name) for name in names)), None)
    return found[0] if found else ""


class Chat:
    """``POST …/chat/completions``."""

    _CODES: Mapping[int, str] = MappingProxyType({401: "invalid_api_key", 404: "model_not_found"})

    def violations(
        self,
        body: Json,
        headers: Mapping[str, str],  # noqa: ARG002 - part of the protocol
        vendor: str,
        *,
        reasoning_replay: bool,
    ) -> list[str]:
        """Return the rules of the vendor that a request breaks."""
        return list(rules.check_chat(body, vendor, reasoning_replay=reasoning_replay))

    def summarize(self, body: Json) -> RequestSummary:
        """Return what a script needs to know about the body of a request."""
        messages = body.get("messages") or []
        first = next((str(message.get("content")) for message in messages if message.get("role") == "user"), "")
        tools = tuple(str(tool.get("function", {}).get("name")) for tool in body.get("tools") or [])
        return RequestSummary(tools, first, sum(message.get("role") == "assistant" for message in messages))

    def events(self, answer: ServedReply, body: Json) -> Iterator[bytes]:
        """Yield the events of the stream."""
        reply = answer.reply
        head = {
            "id": f"chatcmpl-{answer.number:06}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": answer.model,
        }

        def chunk(delta: Json, finish: str | None = None) -> bytes:
            return _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

        yield chunk({"role": "assistant", "content": ""})
        for piece in _pieces(reply.thinking):
            yield chunk({"reasoning_content": piece})
        for piece in _pieces(reply.text):
            yield chunk({"content": piece})
        for index, call in enumerate(reply.calls):
            id = call.id or f"call_{answer.number:06}_{index}"
            opening = {"index": index, "id": id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            yield chunk({"tool_calls": [opening]})
            for piece in _pieces(call.arguments, 11):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, "length" if reply.cut else "tool_calls" if reply.calls else "stop")
        if (body.get("stream_options") or {}).get("include_usage"):
            prompt = answer.fresh_tokens + answer.cached_tokens
            usage = {"prompt_tokens": prompt, "completion_tokens": answer.output_tokens}
            usage["total_tokens"] = prompt + answer.output_tokens
            details = {"prompt_tokens_details": {"cached_tokens": answer.cached_tokens}}
            yield _data({**head, "choices": [], "usage": {**usage, **details}})
        yield b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> Json:
        """Return the body of an error response."""
        code = self._CODES.get(status)
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


class Responses:
    """``POST …/responses``."""

    _CODES: Mapping[int, str] = MappingProxyType({401: "invalid_api_key", 404: "model_not_found"})

    def violations(
        self,
        body: Json,
        headers: Mapping[str, str],  # noqa: ARG002 - part of the protocol
        vendor: str,  # noqa: ARG002 - part of the protocol
        *,
        reasoning_replay: bool,  # noqa: ARG002 - part of the protocol
    ) -> list[str]:
        """Return the rules of the vendor that a request breaks."""
        return list(rules.check_responses(body))

    def summarize(self, body: Json) -> RequestSummary:
        """Return what a script needs to know about the body. Consecutive items of the model are one reply."""
        items = rules.input_items(body)
        from_model = [rules.is_from_model(item) for item in items]
        opening = items[: from_model.index(True)] if True in from_model else items
        text = "\n".join(_content_text(item.get("content")) for item in opening if item.get("role") == "user")
        tools = tuple(str(tool.get("name")) for tool in body.get("tools") or [])
        return RequestSummary(tools, text, sum(now and not before for before, now in pairwise([False, *from_model])))

    def events(self, answer: ServedReply, body: Json) -> Iterator[bytes]:
        """Yield the events of the stream."""
        numbers = count()

        def event(name: str, **data: Any) -> bytes:
            return _named(name, sequence_number=next(numbers), **data)

        response = self._response(answer, body)
        yield event("response.created", response=response)
        yield event("response.in_progress", response=response)
        output: list[Json] = []
        for index, (opened, inner, item) in enumerate(self._items(answer)):
            position = {"item_id": item["id"], "output_index": index}
            yield event("response.output_item.added", output_index=index, item=opened)
            for name, data in inner:
                yield event(name, **position, **data)
            yield event("response.output_item.done", output_index=index, item=item)
            output.append(item)
        prompt = answer.fresh_tokens + answer.cached_tokens
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": len(answer.reply.thinking) // 4},
            "total_tokens": prompt + answer.output_tokens,
        }
        status, reason = ("incomplete", {"reason": "max_output_tokens"}) if answer.reply.cut else ("completed", None)
        ended = {**response, "status": status, "incomplete_details": reason, "output": output, "usage": usage}
        yield event(f"response.{status}", response=ended)

    def _response(self, answer: ServedReply, body: Json) -> Json:
        """Return the response object as it is before any output."""
        echoed = {name: body.get(name) for name in ("instructions", "max_output_tokens", "reasoning")}
        return {
            "id": f"resp_{answer.number:06}",
            "object": "response",
            "created_at": 1,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            **echoed,
            "model": answer.model,
            "output": [],
            "parallel_tool_calls": True,
            "store": body.get("store", True),
            "tool_choice": "auto",
            "tools": body.get("tools") or [],
            "usage": None,
        }

    def _items(self, answer: ServedReply) -> Iterator[tuple[Json, list[tuple[str, Json]], Json]]:
        """Yield each output item as it is opened, the events within it, and the item as it is closed."""
        reply, number = answer.reply, answer.number
        if reply.thinking:
            reasoning = {"id": f"rs_{number:06}", "type": "reasoning"}
            encrypted = rules.sign(answer.requested_model, reply.thinking)
            part: Json = {"type": "summary_text", "text": reply.thinking}
            inner = _text_events("response.reasoning_summary_text", "text", reply.thinking, {"summary_index": 0})
            yield (
                {**reasoning, "summary": [], "encrypted_content": ""},
                _part_events("response.reasoning_summary_part", part, inner, {"summary_index": 0}),
                {
                    **reasoning,
                    "summary": [part],
                    "encrypted_content": encrypted,
                },
            )
        if reply.text:
            message = {"id": f"msg_{number:06}", "type": "message", "role": "assistant"}
            part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
            inner = _text_events("response.output_text", "text", reply.text, {"content_index": 0, "logprobs": []})
            yield (
                {**message, "status": "in_progress", "content": []},
                _part_events("response.content_part", part, inner, {"content_index": 0}),
                {**message, "status": "completed", "content": [part]},
            )
        for index, call in enumerate(reply.calls):
            ids: Json = {"id": f"fc_{number:06}_{index}", "call_id": call.id or f"call_{number:06}_{index}"}
            item = {**ids, "type": "function_call", "name": call.name}
            yield (
                {**item, "status": "in_progress", "arguments": ""},
                _text_events("response.function_call_arguments", "arguments", call.arguments, {}, size=11),
                {**item, "status": "completed", "arguments": call.arguments},
            )

    def error(self, status: int, message: str) -> Json:
        """Return the body of an error response."""
        code = self._CODES.get(status)
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _text_events(name: str, field: str, text: str, position: Json, size: int = 24) -> list[tuple[str, Json]]:
    """Return the events of a text on the responses wire: its pieces, then the whole text."""
    pieces: list[tuple[str, Json]] = [(f"{name}.delta", {**position, "delta": piece}) for piece in _pieces(text, size)]
    return [*pieces, (f"{name}.done", {**position, field: text})]


def _part_events(name: str, part: Json, inner: list[tuple[str, Json]], position: Json) -> list[tuple[str, Json]]:
    """Return ``inner`` between the events that open a part of an item, empty, and close it."""
    return [
        (f"{name}.added", {**position, "part": {**part, "text": ""}}),
        *inner,
        (f"{name}.done", {**position, "part": part}),
    ]


def _content_text(content: Any) -> str:
    """Return the text of a message's content, which is text or a list of parts."""
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content or [])


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {"/v1/messages": Messages(), "/chat/completions": Chat(), "/responses": Responses()}
)
"""End of a path -> the dialect that answers it."""


def _pieces(text: str, size: int = 24) -> Iterator[str]:
    """Yield the text in small pieces, cut at any character."""
    return (text[start : start + size] for start in range(0, len(text), size))


def _named(name: str, **data: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data({"type": name, **data})


def _data(data: Json) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
