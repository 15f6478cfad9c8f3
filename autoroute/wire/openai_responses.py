"""The protocol ``openai-responses``: https://platform.openai.com/docs/api-reference/responses.

The server stores nothing (``store: false``). Each request holds the whole conversation, including the model's
reasoning, which arrives encrypted and is sent back unchanged.
"""

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
    as_list,
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

_MAX_ID_LENGTH = 64
"""OpenAI refuses longer ids of calls in this protocol."""

_STOPS: Mapping[str, Stop] = MappingProxyType({"max_output_tokens": Stop.LENGTH, "content_filter": Stop.REFUSAL})
"""Why a response is incomplete; a complete one gives no reason."""


class ResponsesCodec:
    """The codec of one provider."""

    path = "/responses"

    def __init__(self, profile: ProviderProfile) -> None:
        self._profile = profile
        self._transcript = Transcript(self._encode_message)

    @property
    def headers(self) -> dict[str, str]:
        """No headers of its own."""
        return {}

    def encode(self, request: Request) -> bytes:
        """Return the body. ``input`` comes last, so that a longer conversation begins with the same bytes."""
        head: dict[str, object] = {
            "model": request.model,
            "stream": True,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "max_output_tokens": request.max_tokens,
        }
        if self._profile.quirks.effort == "reasoning" and request.effort:
            head["reasoning"] = {"effort": request.effort}
        if request.system:
            head["instructions"] = request.system
        if request.tools:
            head["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": json.loads(tool.parameters),
                    # The default is strict, which demands that every property of the schema is required.
                    "strict": False,
                }
                for tool in request.tools
            ]
        items = self._transcript.encode(request.messages, request.model)
        return dump_json(head)[:-1] + b',"input":[' + items + b"]}"

    def decoder(self, request: Request) -> ResponsesDecoder:
        """Return a decoder for the response to ``request``."""
        return ResponsesDecoder(self._profile, request)

    def _encode_message(self, message: Message, model: str) -> bytes:
        """Return the items that it becomes in this protocol: one for each part."""
        items = encode_parts(message, lambda part: self._encode_part(part, message.role, model))
        return b",".join(items) or dump_json(_message_item(message.role, "(nothing)"))

    def _encode_part(self, part: Part, role: Literal["user", "assistant"], model: str) -> bytes:
        """Return the item; "" for what this model must not get or cannot read."""
        match part:
            case Text(text):
                return dump_json(_message_item(role, text)) if text else b""
            case Thinking():
                sent = thinking_to_send(part, self._profile.name, model)
                return sent.opaque.encode() if sent else b""
            case ToolCall(id, name, arguments):
                call = {"type": "function_call", "call_id": valid_id(id, _MAX_ID_LENGTH), "name": valid_name(name)}
                return dump_json({**call, "arguments": dump_json(arguments_to_send(arguments)).decode()})
            case ToolResult(call, text, is_error):
                output = text or "(no output)"
                # The protocol has no field for a failed call.
                output = f"Error: {output}" if is_error else output
                result = {"type": "function_call_output", "call_id": valid_id(call, _MAX_ID_LENGTH)}
                return dump_json({**result, "output": output})


def _message_item(role: Literal["user", "assistant"], text: str) -> dict[str, object]:
    """Return a message. ``output_text`` would need the id of a stored message; plain text is always accepted."""
    content = [{"type": "input_text", "text": text}] if role == "user" else text
    return {"type": "message", "role": role, "content": content}


@dataclass(frozen=True, slots=True)
class _TextStream:
    """A text that arrives in ``NAME.delta`` events and is repeated in ``NAME.done``, in the field ``whole``."""

    item: Literal["message", "reasoning", "function_call"]
    kind: Literal["text", "thinking", "tool"]
    index_field: str
    """The field with the number of the text within its item."""
    whole: str

    def read(self, value: object) -> str:
        """Return a text, or a piece of one."""
        return as_arguments(value) if self.kind == "tool" else as_text(value)


_TEXT = "response.output_text"
_REFUSAL = "response.refusal"
_SUMMARY = "response.reasoning_summary_text"
_REASONING = "response.reasoning_text"
_ARGUMENTS = "response.function_call_arguments"

_STREAMS: Mapping[str, _TextStream] = MappingProxyType(
    {
        _TEXT: _TextStream("message", "text", "content_index", "text"),
        _REFUSAL: _TextStream("message", "text", "content_index", "refusal"),
        _SUMMARY: _TextStream("reasoning", "thinking", "summary_index", "text"),
        _REASONING: _TextStream("reasoning", "thinking", "content_index", "text"),
        _ARGUMENTS: _TextStream("function_call", "tool", "", "arguments"),
    }
)

_CONTENT: Mapping[str, str] = MappingProxyType(
    {"output_text": _TEXT, "refusal": _REFUSAL, "summary_text": _SUMMARY, "reasoning_text": _REASONING}
)
"""Type of a content part -> the stream that carries its text."""


@dataclass(slots=True, eq=False)
class _Item:
    """An output item that is arriving: its texts by stream and index, and ``opaque``, the item to send back."""

    type: str
    name: str = ""
    call_id: str = ""
    finished: bool = False
    texts: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    opaque: str = ""

    @property
    def whole_texts(self) -> list[str]:
        return [text for pieces in self.texts.values() if (text := "".join(pieces))]


class ResponsesDecoder:
    """The decoder of one response. What was not streamed is read from the events that repeat it."""

    def __init__(self, profile: ProviderProfile, request: Request) -> None:
        self._profile = profile
        self._request = request
        self._items: list[_Item] = []
        self._at: dict[int, _Item] = {}
        self._model = ""
        self._id = ""
        self._stop: Stop | None = None
        self._usage = Usage()
        self._readers: Mapping[str, Callable[[dict[str, object]], list[Delta] | None]] = {
            "response.created": self._start,
            "response.in_progress": self._start,
            "response.output_item.added": self._open_item,
            "response.output_item.done": self._close_item,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.failed": self._fail,
            "keepalive": self._keep_alive,
        }

    @property
    def complete(self) -> bool:
        """Whether the last event has arrived."""
        return self._stop is not None

    @property
    def done(self) -> bool:
        """Whether the last event has arrived: it holds the whole response, and nothing follows it."""
        return self.complete

    def feed(self, event: Event) -> Sequence[Delta] | None:
        """Return what is new in an event; None for unknown events."""
        if event.data.strip() == "[DONE]":
            return None  # gateways append the end mark of the other protocol
        data = parse_event(event.data)
        kind = as_text(data.get("type")) or event.name
        if kind == "error" or is_error_event(data):
            raise classify_event(event.data, self._profile)
        name, _, step = kind.rpartition(".")
        if name in _STREAMS and step in ("delta", "done"):
            return self._read_text(name, step, data)
        read = self._readers.get(kind)
        return read(data) if read else None

    def reply(self, request_id: str) -> Reply:
        """Return the complete reply."""
        parts = [part for item in self._items if (part := self._finish_item(item))]
        refused = any(name == _REFUSAL for item in self._items for name, _ in item.texts)
        stop = Stop.REFUSAL if refused else self._stop or Stop.END
        message, stop = build_message(parts, stop, self._request)
        return Reply(message, stop, self._model, self._usage, request_id or self._id)

    def _start(self, data: dict[str, object]) -> list[Delta]:
        response = as_object(data.get("response"))
        self._model = as_text(response.get("model")) or self._model
        self._id = as_text(response.get("id")) or self._id
        return []

    def _keep_alive(self, _data: dict[str, object]) -> list[Delta] | None:
        """Count OpenAI's undocumented ping as content while a model may be reasoning, which sends nothing else."""
        return [] if not self._items or self._items[-1].type == "reasoning" else None

    def _open_item(self, data: dict[str, object]) -> list[Delta]:
        given = as_object(data.get("item"))
        item = self._open(as_text(given.get("type")), data.get("output_index"))
        return self._identify(item, given)

    def _close_item(self, data: dict[str, object]) -> list[Delta]:
        given = as_object(data.get("item"))
        return self._read_finished(self._find(as_text(given.get("type")), data.get("output_index")), given)

    def _end(self, data: dict[str, object]) -> list[Delta]:
        """Read the whole response. Its output counts, also where the stream differed."""
        self._start(data)
        response = as_object(data.get("response"))
        usage = as_object(response.get("usage"))
        if usage:
            self._usage = _read_usage(usage)
        output = [(as_text(given.get("type")), given) for given in map(as_object, as_list(response.get("output")))]
        matched = {
            index: item for index, (type, _) in enumerate(output) if (item := self._at.get(index)) and item.type == type
        }
        unmatched = [item for item in self._items if item not in matched.values()]
        items: list[_Item] = []
        deltas: list[Delta] = []
        for index, (type, given) in enumerate(output):
            item = matched.get(index) or next((known for known in unmatched if known.type == type), _Item(type))
            if item in unmatched:
                unmatched.remove(item)
            items.append(item)
            deltas += self._read_finished(item, given)
        self._items = unmatched + items
        reason = as_text(as_object(response.get("incomplete_details")).get("reason"))
        self._stop = _STOPS.get(reason, Stop.END)
        return deltas

    def _fail(self, data: dict[str, object]) -> list[Delta]:
        error = as_object(data.get("response")).get("error")
        raise classify_event(dump_received({"error": error}), self._profile)

    def _read_text(self, name: str, step: str, data: dict[str, object]) -> list[Delta]:
        stream = _STREAMS[name]
        item = self._find(stream.item, data.get("output_index"))
        index = as_count(data.get(stream.index_field))
        if step == "done":
            return self._complete(item, name, index, data.get(stream.whole))
        return self._extend(item, name, index, stream.read(data.get("delta")))

    def _extend(self, item: _Item, name: str, index: int, text: str) -> list[Delta]:
        if not text:
            return []
        kind = _STREAMS[name].kind
        # The parts of a summary are paragraphs.
        gap = "\n\n" if kind == "thinking" and item.texts and (name, index) not in item.texts else ""
        item.texts.setdefault((name, index), []).append(text)
        return [Delta(kind, gap + text)]

    def _complete(self, item: _Item, name: str, index: int, whole: object) -> list[Delta]:
        """Replace a text by the whole of it, and return what had not arrived."""
        text = _STREAMS[name].read(whole)
        arrived = "".join(item.texts.get((name, index), []))
        if not text or text == arrived:
            return []
        deltas = self._extend(item, name, index, text.removeprefix(arrived)) if text.startswith(arrived) else []
        item.texts[name, index] = [text]
        return deltas

    def _identify(self, item: _Item, given: dict[str, object]) -> list[Delta]:
        """Record the id and name of a call, and return its name once."""
        item.call_id = as_text(given.get("call_id")) or item.call_id
        shown, item.name = item.name, as_text(given.get("name")) or item.name
        return [Delta("tool", item.name + " ")] if item.type == "function_call" and item.name and not shown else []

    def _read_finished(self, item: _Item, given: dict[str, object]) -> list[Delta]:
        """Read from a finished item what its events did not carry."""
        item.finished = True
        deltas = self._identify(item, given)
        match item.type:
            case "message" | "reasoning":
                for parts in (as_list(given.get("summary")), as_list(given.get("content"))):
                    for index, part in enumerate(map(as_object, parts)):
                        name = _CONTENT.get(as_text(part.get("type")), "")
                        if name and _STREAMS[name].item == item.type:
                            deltas += self._complete(item, name, index, part.get(_STREAMS[name].whole))
            case "function_call":
                deltas += self._complete(item, _ARGUMENTS, 0, given.get("arguments"))
        if item.type == "reasoning":
            item.opaque = _reasoning_to_send(given) or item.opaque
        return deltas

    def _open(self, type: str, index: object) -> _Item:
        item = _Item(type)
        self._items.append(item)
        if isinstance(index, int):
            self._at[index] = item
        return item

    def _find(self, type: str, index: object) -> _Item:
        """Return the unfinished item that an event is about: by its index, else the last one, else a new one.

        Not by its id: some gateways encrypt the id again in each event.
        """
        item = self._at.get(index) if isinstance(index, int) else next(reversed(self._items), None)
        return item if item and item.type == type and not item.finished else self._open(type, index)

    def _finish_item(self, item: _Item) -> Part | None:
        match item.type:
            case "message":
                text = "".join(item.whole_texts)
                return Text(text) if text else None
            case "reasoning":
                text = "\n\n".join(item.whole_texts)
                made = Thinking(text, self._profile.name, self._request.model, item.opaque)
                return made if text or item.opaque else None
            case "function_call":
                return ToolCall(item.call_id, item.name, "".join(item.whole_texts) or "{}")
        return None


def _reasoning_to_send(given: dict[str, object]) -> str:
    """Return the JSON text of a finished reasoning item as OpenAI accepts it; "" for one that lacks what it needs.

    ``summary`` must be present, also when empty. ``status``, which the response may contain, must not be.
    """
    id, summary = as_text(given.get("id")), as_list(given.get("summary"))
    encrypted, content = as_text(given.get("encrypted_content")), as_list(given.get("content"))
    if not id or not (encrypted or content):
        return ""
    item: dict[str, object] = {"type": "reasoning", "id": id, "summary": summary}
    if content:
        item["content"] = content
    if encrypted:
        item["encrypted_content"] = encrypted
    return dump_received(item)


def _read_usage(usage: dict[str, object]) -> Usage:
    """Return the usage. In this protocol the input includes what came from the cache, unlike in Anthropic's."""
    details = as_object(usage.get("input_tokens_details"))
    read, write = as_count(details.get("cached_tokens")), as_count(details.get("cache_write_tokens"))
    return Usage(
        max(0, as_count(usage.get("input_tokens")) - read - write), as_count(usage.get("output_tokens")), read, write
    )


def connect(profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks) -> StreamingModel:
    """Return a model of this protocol."""
    return http.connect(ResponsesCodec(profile), profile, route, secret, clocks)
