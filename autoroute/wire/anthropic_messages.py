"""The protocol ``anthropic-messages`` (https://platform.claude.com/docs/en/api/messages) and its compatible servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from autoroute.messages import (
    Delta,
    Message,
    Part,
    Reply,
    Request,
    Stop,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from autoroute.routing import Clocks, ProviderProfile, Route, Secret
from autoroute.wire import http
from autoroute.wire.classification import classify_event, is_error_event
from autoroute.wire.codec import build_message, encode_parts, thinking_to_send
from autoroute.wire.payload import (
    Transcript,
    arguments_to_send,
    as_arguments,
    as_count,
    as_object,
    as_text,
    dump_json,
    dump_received,
    parse_event,
    valid_id,
    valid_name,
)
from autoroute.wire.sse import Event
from autoroute.wire.streaming import StreamingModel

_VERSION = "2023-06-01"
"""The version that compatible servers support too, and that Claude Code sends; a profile may name another."""
_MAX_ID_LENGTH = 64
_EPHEMERAL = {"type": "ephemeral"}
_EMPTY = {"type": "text", "text": "(nothing)"}
"""Replaces a message of which nothing can be sent: the API accepts neither empty messages nor blank text."""

_STOPS: Mapping[str, Stop] = MappingProxyType(
    {
        "end_turn": Stop.END,
        "stop_sequence": Stop.END,
        "tool_use": Stop.TOOLS,
        "max_tokens": Stop.LENGTH,
        "pause_turn": Stop.PAUSE,
        "refusal": Stop.REFUSAL,
        "model_context_window_exceeded": Stop.CONTEXT,
    }
)

_USAGE: Mapping[str, str] = MappingProxyType(
    {
        "input": "input_tokens",
        "output": "output_tokens",
        "cache_read": "cache_read_input_tokens",
        "cache_write": "cache_creation_input_tokens",
    }
)


class MessagesCodec:
    """The codec of one provider.

    A cloud platform takes some fields from the URL (``url_fields``) and the API's version from the body
    (``body_version``).
    """

    path = "/v1/messages"

    def __init__(self, profile: ProviderProfile, *, body_version: str = "", url_fields: Sequence[str] = ()) -> None:
        self._profile = profile
        self._body_version = body_version
        self._url_fields = url_fields
        self._transcript = Transcript(self._encode_message)

    @property
    def headers(self) -> dict[str, str]:
        """The version of the API."""
        return {"anthropic-version": self._profile.version or _VERSION}

    def encode(self, request: Request) -> bytes:
        """Return the body. ``messages`` comes last, so that a longer conversation begins with the same bytes.

        ``thinking`` is left out: Claude answers 400 to a budget of tokens from 4.7 on, and the newest models also
        to ``disabled``.
        """
        quirks = self._profile.quirks
        head: dict[str, object] = {"model": request.model, "max_tokens": request.max_tokens, "stream": True}
        if quirks.effort == "output_config" and request.effort:
            head["output_config"] = {"effort": request.effort}
        if quirks.cache_control:
            # On the request: marks the last block of the conversation, which moves as the conversation grows.
            head["cache_control"] = _EPHEMERAL
        if request.system:
            head["system"] = request.system
            if quirks.cache_control:
                # On the last system block: caches tools and system, the order in which the cache reads a request.
                head["system"] = [{"type": "text", "text": request.system, "cache_control": _EPHEMERAL}]
        if request.tools:
            head["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": json.loads(tool.parameters)}
                for tool in request.tools
            ]
        for name in self._url_fields:
            head.pop(name, None)
        if self._body_version:
            head["anthropic_version"] = self._body_version
        messages = self._transcript.encode(request.messages, request.model)
        return dump_json(head)[:-1] + b',"messages":[' + messages + b"]}"

    def decoder(self, request: Request) -> MessagesDecoder:
        """Return a decoder for the response to ``request``."""
        return MessagesDecoder(self._profile, request)

    def _encode_message(self, message: Message, model: str) -> bytes:
        blocks = encode_parts(message, lambda part: self._encode_part(part, model))
        content = b",".join(blocks) or dump_json(_EMPTY)
        return b'{"role":' + dump_json(message.role) + b',"content":[' + content + b"]}"

    def _encode_part(self, part: Part, model: str) -> bytes:
        """Return the content block; "" for what this model must not get or cannot read."""
        match part:
            case Text(text):
                return dump_json({"type": "text", "text": text}) if text.strip() else b""
            case Thinking():
                # Byte-identical, also without text: a changed block answers 400 for the rest of the conversation.
                sent = thinking_to_send(part, self._profile.name, model)
                return sent.opaque.encode() if sent else b""
            case ToolCall(id, name, arguments):
                call = {"type": "tool_use", "id": valid_id(id, _MAX_ID_LENGTH), "name": valid_name(name)}
                return dump_json({**call, "input": arguments_to_send(arguments)})
            case ToolResult(call, text, is_error):
                result = {"type": "tool_result", "tool_use_id": valid_id(call, _MAX_ID_LENGTH)}
                error = {"is_error": True} if is_error else {}
                return dump_json({**result, "content": text or "(no output)", **error})


@dataclass(slots=True)
class _Block:
    """A content block that is arriving: the object that opened it, and the pieces that followed."""

    start: dict[str, object]
    text: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    @property
    def type(self) -> str:
        return as_text(self.start.get("type"))


_TEXT_DELTAS: Mapping[str, Literal["text", "thinking"]] = MappingProxyType(
    {"text_delta": "text", "thinking_delta": "thinking"}
)
"""Type of a delta -> type of its block, which is also its field. Some servers omit the event that opens a block."""


class MessagesDecoder:
    """The decoder of one response.

    It accepts what compatible servers leave out: llama.cpp sends no ``message_start`` before a reply that begins with
    an emoji. It ignores what it does not know: the API's versioning policy allows new events, blocks and deltas.
    """

    def __init__(self, profile: ProviderProfile, request: Request) -> None:
        self._profile = profile
        self._request = request
        self._blocks: list[_Block] = []
        self._at: dict[int, _Block] = {}
        self._model = ""
        self._id = ""
        self._stop = ""
        self._usage = dict.fromkeys(_USAGE, 0)
        self._done = False
        self._readers: Mapping[str, Callable[[dict[str, object]], list[Delta]]] = {
            "message_start": self._start_message,
            "content_block_start": self._start_block,
            "content_block_delta": self._extend_block,
            "content_block_stop": self._end_block,
            "message_delta": self._end_message,
            "message_stop": self._end_stream,
        }

    @property
    def complete(self) -> bool:
        """Whether the stop reason has arrived, the last thing that a reply needs."""
        return self._done or bool(self._stop)

    @property
    def done(self) -> bool:
        """Whether ``message_stop`` has arrived."""
        return self._done

    @property
    def stop(self) -> Stop | None:
        """Why the reply ended; None until the response says so."""
        return _STOPS.get(self._stop, Stop.END) if self._stop else None

    @property
    def has_calls(self) -> bool:
        """Whether it calls a tool."""
        return any(block.type == "tool_use" for block in self._blocks)

    def feed(self, event: Event) -> Sequence[Delta] | None:
        """Return what is new in an event; None for pings and unknown events."""
        if event.name == "ping" or event.data == "[DONE]":
            return None  # gateways append the end mark of the other protocol
        data = parse_event(event.data)
        kind = as_text(data.get("type")) or event.name
        if kind == "error" or is_error_event(data):
            raise classify_event(event.data, self._profile)
        return self.feed_parsed(kind, data)

    def feed_parsed(self, kind: str, data: dict[str, object]) -> Sequence[Delta] | None:
        """Return what is new in an event whose JSON was parsed already."""
        read = self._readers.get(kind)
        return read(data) if read else None

    def reply(self, request_id: str) -> Reply:
        """Return the complete reply."""
        parts = [part for block in self._blocks if (part := self._finish_block(block))]
        message, stop = build_message(parts, _STOPS.get(self._stop, Stop.END), self._request)
        return Reply(message, stop, self._model, Usage(**self._usage), request_id or self._id)

    def _start_message(self, data: dict[str, object]) -> list[Delta]:
        message = as_object(data.get("message"))
        self._model = as_text(message.get("model"))
        self._id = as_text(data.get("request_id")) or as_text(message.get("id"))
        self._count(message.get("usage"))
        return []

    def _start_block(self, data: dict[str, object]) -> list[Delta]:
        block = self._open(data, as_object(data.get("content_block")))
        match block.type:
            case "text" | "thinking" as kind:
                text = as_text(block.start.get(kind))
                block.text.append(text)
                return [Delta(kind, text)] if text else []
            case "tool_use":
                return [Delta("tool", as_text(block.start.get("name")) + " ")]
        return []

    def _open(self, data: dict[str, object], start: dict[str, object]) -> _Block:
        block = _Block(start)
        self._blocks.append(block)
        self._at[as_count(data.get("index"))] = block
        return block

    def _extend_block(self, data: dict[str, object]) -> list[Delta]:
        delta = as_object(data.get("delta"))
        kind = as_text(delta.get("type"))
        block = self._at.get(as_count(data.get("index")))
        if kind in _TEXT_DELTAS and (block is None or block.type != _TEXT_DELTAS[kind]):
            block = self._open(data, {"type": _TEXT_DELTAS[kind]})
        if block is None:
            return []
        match kind:
            case "text_delta" | "thinking_delta":
                text = as_text(delta.get(_TEXT_DELTAS[kind]))
                block.text.append(text)
                return [Delta(_TEXT_DELTAS[kind], text)] if text else []
            case "signature_delta":
                block.signature.append(as_text(delta.get("signature")))
            case "input_json_delta":
                arguments = as_arguments(delta.get("partial_json"))
                block.arguments.append(arguments)
                return [Delta("tool", arguments)] if arguments else []
        return []

    def _end_block(self, _data: dict[str, object]) -> list[Delta]:
        return []

    def _end_message(self, data: dict[str, object]) -> list[Delta]:
        self._stop = as_text(as_object(data.get("delta")).get("stop_reason")) or self._stop
        self._count(data.get("usage"))
        return []

    def _end_stream(self, _data: dict[str, object]) -> list[Delta]:
        self._done = True
        return []

    def _count(self, usage: object) -> None:
        """Record usage. Counts are cumulative, and some servers leave them out or send 0 in later events."""
        counts = as_object(usage)
        for name, key in _USAGE.items():
            self._usage[name] = max(self._usage[name], as_count(counts.get(key)))

    def _finish_block(self, block: _Block) -> Part | None:
        text = "".join(block.text)
        match block.type:
            case "text":
                return Text(text) if text else None
            case "thinking":
                signature = as_text(block.start.get("signature")) + "".join(block.signature)
                whole = {**block.start, "thinking": text, "signature": signature}
                return self._thinking(text, whole)
            case "redacted_thinking":
                return self._thinking("", block.start)
            case "tool_use":
                arguments = "".join(block.arguments) or as_arguments(block.start.get("input")) or "{}"
                return ToolCall(as_text(block.start.get("id")), as_text(block.start.get("name")), arguments)
        return None

    def _thinking(self, text: str, block: dict[str, object]) -> Thinking:
        return Thinking(text, self._profile.name, self._request.model, dump_received(block))


def connect(profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks) -> StreamingModel:
    """Return a model of this protocol."""
    return http.connect(MessagesCodec(profile), profile, route, secret, clocks)
