"""How each wire's server answers: which conversation a body holds, the events of a reply, the shape of an error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from types import MappingProxyType
from typing import Any, Protocol

from autoroute.demo import rules
from autoroute.demo.script import ScriptedReply

Json = dict[str, Any]
_FROM_ELSEWHERE = re.compile(r"mcp__[a-z]+__")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a script wants to know of a request."""

    offered_tools: tuple[str, ...]
    first_words: str
    answered: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with what surrounds it: the model's name, a number that makes ids unique, and token counts."""

    reply: ScriptedReply
    model: str
    signed_for: str
    number: int
    fresh_tokens: int
    cached_tokens: int

    @property
    def output_tokens(self) -> int:
        """About a token for every four characters."""
        words = self.reply.text + self.reply.thinking + "".join(call.arguments for call in self.reply.calls)
        return len(words) // 4 + 1


class Dialect(Protocol):
    """The server's side of one wire."""

    def breaches(self, body: Json, headers: Mapping[str, str], vendor: str, *, reasoning_replay: bool) -> list[str]:
        """What the vendor would refuse."""
        ...

    def conversation(self, body: Json) -> Conversation:
        """What the body holds."""
        ...

    def events(self, answer: Answer, body: Json) -> Iterator[bytes]:
        """The stream, event by event."""
        ...

    def error(self, status: int, message: str) -> Json:
        """The body of an error."""
        ...


class Messages:
    """``POST …/v1/messages``."""

    _TYPES: Mapping[int, str] = MappingProxyType(
        {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 529: "overloaded_error"}
    )

    def breaches(
        self,
        body: Json,
        headers: Mapping[str, str],
        vendor: str,  # noqa: ARG002 - the interface's
        *,
        reasoning_replay: bool,  # noqa: ARG002 - likewise
    ) -> list[str]:
        """What the vendor would refuse."""
        return list(rules.breaches_of_messages(body, headers))

    def conversation(self, body: Json) -> Conversation:
        """What the body holds."""
        messages = body.get("messages") or [{}]
        content = messages[0].get("content", "")
        first = content if isinstance(content, str) else "\n".join(str(block.get("text", "")) for block in content)
        tools = tuple(str(tool.get("name")).removeprefix(_prefix(body)) for tool in body.get("tools") or [])
        # A conversation that was begun elsewhere may be told in words, the model's own under "you:".
        told = first.count("\nyou:\n") if "<so-far>" in first else 0
        return Conversation(tools, first, told + sum(message.get("role") == "assistant" for message in messages))

    def events(self, answer: Answer, body: Json) -> Iterator[bytes]:
        """The stream, event by event."""
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

    def _blocks(self, answer: Answer, prefix: str) -> Iterator[tuple[Json, list[Json]]]:
        reply = answer.reply
        if reply.thinking:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(reply.thinking)]
            signature = rules.sign(answer.signed_for, reply.thinking)
            yield (
                {"type": "thinking", "thinking": "", "signature": ""},
                [*deltas, {"type": "signature_delta", "signature": signature}],
            )
        if reply.text:
            yield (
                {"type": "text", "text": ""},
                [{"type": "text_delta", "text": piece} for piece in _pieces(reply.text)],
            )
        for place, call in enumerate(reply.calls):
            id = call.id or f"toolu_{answer.number:06}_{place}"
            block = {"type": "tool_use", "id": id, "name": f"{prefix}{call.name}", "input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": piece} for piece in ("", *_pieces(call.arguments, 11))
            ]
            yield block, deltas

    def error(self, status: int, message: str) -> Json:
        """The body of an error."""
        return {"type": "error", "error": {"type": self._TYPES.get(status, "api_error"), "message": message}}


def _prefix(body: Json) -> str:
    """What Claude Code puts before the names of tools that it has from elsewhere; "" for any other client."""
    names = (str(tool.get("name")) for tool in body.get("tools") or [])
    found = next(filter(None, (_FROM_ELSEWHERE.match(name) for name in names)), None)
    return found[0] if found else ""


class Chat:
    """``POST …/chat/completions``."""

    _CODES: Mapping[int, str] = MappingProxyType({401: "invalid_api_key", 404: "model_not_found"})

    def breaches(
        self,
        body: Json,
        headers: Mapping[str, str],  # noqa: ARG002 - the interface's
        vendor: str,
        *,
        reasoning_replay: bool,
    ) -> list[str]:
        """What the vendor would refuse."""
        return list(rules.breaches_of_chat(body, vendor, reasoning_replay=reasoning_replay))

    def conversation(self, body: Json) -> Conversation:
        """What the body holds."""
        messages = body.get("messages") or []
        first = next((str(message.get("content")) for message in messages if message.get("role") == "user"), "")
        tools = tuple(str(tool.get("function", {}).get("name")) for tool in body.get("tools") or [])
        return Conversation(tools, first, sum(message.get("role") == "assistant" for message in messages))

    def events(self, answer: Answer, body: Json) -> Iterator[bytes]:
        """The stream, event by event."""
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
        """The body of an error."""
        code = self._CODES.get(status)
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


class Responses:
    """``POST …/responses``."""

    _CODES: Mapping[int, str] = MappingProxyType({401: "invalid_api_key", 404: "model_not_found"})

    def breaches(
        self,
        body: Json,
        headers: Mapping[str, str],  # noqa: ARG002 - the interface's
        vendor: str,  # noqa: ARG002 - likewise
        *,
        reasoning_replay: bool,  # noqa: ARG002 - likewise
    ) -> list[str]:
        """What the vendor would refuse."""
        return list(rules.breaches_of_responses(body))

    def conversation(self, body: Json) -> Conversation:
        """What the body holds. Items of the model that follow each other are one reply."""
        items = rules.items_of(body)
        ours = [rules.is_from_model(item) for item in items]
        opening = items[: ours.index(True)] if True in ours else items
        words = "\n".join(_words(item.get("content")) for item in opening if item.get("role") == "user")
        tools = tuple(str(tool.get("name")) for tool in body.get("tools") or [])
        return Conversation(tools, words, sum(now and not before for before, now in pairwise([False, *ours])))

    def events(self, answer: Answer, body: Json) -> Iterator[bytes]:
        """The stream, event by event."""
        numbers = count()

        def event(name: str, **data: Any) -> bytes:
            return _named(name, sequence_number=next(numbers), **data)

        response = self._response(answer, body)
        yield event("response.created", response=response)
        yield event("response.in_progress", response=response)
        output: list[Json] = []
        for index, (opened, inner, item) in enumerate(self._items(answer)):
            place = {"item_id": item["id"], "output_index": index}
            yield event("response.output_item.added", output_index=index, item=opened)
            for name, data in inner:
                yield event(name, **place, **data)
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

    def _response(self, answer: Answer, body: Json) -> Json:
        """The response before it has said anything."""
        repeated = {name: body.get(name) for name in ("instructions", "max_output_tokens", "reasoning")}
        return {
            "id": f"resp_{answer.number:06}",
            "object": "response",
            "created_at": 1,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            **repeated,
            "model": answer.model,
            "output": [],
            "parallel_tool_calls": True,
            "store": body.get("store", True),
            "tool_choice": "auto",
            "tools": body.get("tools") or [],
            "usage": None,
        }

    def _items(self, answer: Answer) -> Iterator[tuple[Json, list[tuple[str, Json]], Json]]:
        """Each item as it is opened, the events within it, and the item as it is closed."""
        reply, number = answer.reply, answer.number
        if reply.thinking:
            reasoning = {"id": f"rs_{number:06}", "type": "reasoning"}
            part: Json = {"type": "summary_text", "text": reply.thinking}
            inner = _told("response.reasoning_summary_text", "text", reply.thinking, {"summary_index": 0})
            yield (
                {**reasoning, "summary": [], "encrypted_content": ""},
                _framed("response.reasoning_summary_part", part, inner, {"summary_index": 0}),
                {**reasoning, "summary": [part], "encrypted_content": rules.sign(answer.signed_for, reply.thinking)},
            )
        if reply.text:
            message = {"id": f"msg_{number:06}", "type": "message", "role": "assistant"}
            part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
            inner = _told("response.output_text", "text", reply.text, {"content_index": 0, "logprobs": []})
            yield (
                {**message, "status": "in_progress", "content": []},
                _framed("response.content_part", part, inner, {"content_index": 0}),
                {**message, "status": "completed", "content": [part]},
            )
        for place, call in enumerate(reply.calls):
            ids: Json = {"id": f"fc_{number:06}_{place}", "call_id": call.id or f"call_{number:06}_{place}"}
            asked = {**ids, "type": "function_call", "name": call.name}
            yield (
                {**asked, "status": "in_progress", "arguments": ""},
                _told("response.function_call_arguments", "arguments", call.arguments, {}, size=11),
                {**asked, "status": "completed", "arguments": call.arguments},
            )

    def error(self, status: int, message: str) -> Json:
        """The body of an error."""
        code = self._CODES.get(status)
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _told(name: str, field: str, text: str, place: Json, size: int = 24) -> list[tuple[str, Json]]:
    """The events that tell a text of the responses wire: its pieces, then the whole."""
    pieces: list[tuple[str, Json]] = [(f"{name}.delta", {**place, "delta": piece}) for piece in _pieces(text, size)]
    return [*pieces, (f"{name}.done", {**place, field: text})]


def _framed(name: str, part: Json, inner: list[tuple[str, Json]], place: Json) -> list[tuple[str, Json]]:
    """Events between those that open a part of an item, empty, and close it."""
    return [
        (f"{name}.added", {**place, "part": {**part, "text": ""}}),
        *inner,
        (f"{name}.done", {**place, "part": part}),
    ]


def _words(content: Any) -> str:
    """The text of a message's content, which is text or a list of parts."""
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content or [])


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {"/v1/messages": Messages(), "/chat/completions": Chat(), "/responses": Responses()}
)
"""End of a path -> who answers it."""


def _pieces(text: str, size: int = 24) -> Iterator[str]:
    """The text in small pieces, cut wherever it falls."""
    return (text[start : start + size] for start in range(0, len(text), size))


def _named(name: str, **data: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data({"type": name, **data})


def _data(data: Json) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
