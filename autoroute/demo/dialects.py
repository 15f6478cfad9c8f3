"""How each wire's server answers: which conversation a body holds, the events of a reply, the shape of an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from autoroute.demo import rules
from autoroute.demo.script import ScriptedReply

Json = dict[str, Any]


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

    def breaches(self, body: Json, headers: Mapping[str, str], *, reasoning_replay: bool) -> list[str]:
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

    def breaches(self, body: Json, headers: Mapping[str, str], *, reasoning_replay: bool) -> list[str]:  # noqa: ARG002
        """What the vendor would refuse."""
        return list(rules.breaches_of_messages(body, headers))

    def conversation(self, body: Json) -> Conversation:
        """What the body holds."""
        messages = body.get("messages") or [{}]
        content = messages[0].get("content", "")
        first = content if isinstance(content, str) else "\n".join(str(block.get("text", "")) for block in content)
        tools = tuple(str(tool.get("name")) for tool in body.get("tools") or [])
        return Conversation(tools, first, sum(message.get("role") == "assistant" for message in messages))

    def events(self, answer: Answer, body: Json) -> Iterator[bytes]:  # noqa: ARG002
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
        for index, (block, deltas) in enumerate(self._blocks(answer)):
            yield _named("content_block_start", index=index, content_block=block)
            for delta in deltas:
                yield _named("content_block_delta", index=index, delta=delta)
            yield _named("content_block_stop", index=index)
        stop = "tool_use" if answer.reply.calls else "end_turn"
        total = {"output_tokens": answer.output_tokens}
        yield _named("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=total)
        yield _named("message_stop")

    def _blocks(self, answer: Answer) -> Iterator[tuple[Json, list[Json]]]:
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
            block = {"type": "tool_use", "id": f"toolu_{answer.number:06}_{place}", "name": call.name, "input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": piece} for piece in ("", *_pieces(call.arguments, 11))
            ]
            yield block, deltas

    def error(self, status: int, message: str) -> Json:
        """The body of an error."""
        return {"type": "error", "error": {"type": self._TYPES.get(status, "api_error"), "message": message}}


class Chat:
    """``POST …/chat/completions``."""

    _CODES: Mapping[int, str] = MappingProxyType({401: "invalid_api_key", 404: "model_not_found"})

    def breaches(self, body: Json, headers: Mapping[str, str], *, reasoning_replay: bool) -> list[str]:  # noqa: ARG002
        """What the vendor would refuse."""
        return list(rules.breaches_of_chat(body, reasoning_replay=reasoning_replay))

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
            id = f"call_{answer.number:06}_{index}"
            opening = {"index": index, "id": id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            yield chunk({"tool_calls": [opening]})
            for piece in _pieces(call.arguments, 11):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, "tool_calls" if reply.calls else "stop")
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


DIALECTS: Mapping[str, Dialect] = MappingProxyType({"/v1/messages": Messages(), "/chat/completions": Chat()})
"""End of a path -> who answers it."""


def _pieces(text: str, size: int = 24) -> Iterator[str]:
    """The text in small pieces, cut wherever it falls."""
    return (text[start : start + size] for start in range(0, len(text), size))


def _named(name: str, **data: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data({"type": name, **data})


def _data(data: Json) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
