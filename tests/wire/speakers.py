"""Servers of each protocol: a neutral description of a reply -> the events of its stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autoroute.messages import Request, ToolCall
from autoroute.routing import Clocks, ProviderProfile, Quirks, Route, Secret, origin
from autoroute.wire import Model, connect
from autoroute.wire.anthropic_messages import MessagesCodec
from autoroute.wire.codec import Codec
from autoroute.wire.openai_chat import ChatCodec
from autoroute.wire.openai_responses import ResponsesCodec

KEY = "sk-canary-1234567890"
MODEL = "model-1"


@dataclass(frozen=True)
class SpokenReply:
    """A reply, which each protocol speaks as its own events."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    stop: str = "end"


class Speaker(Protocol):
    wire: str
    path: str
    stops: Mapping[str, str]

    def codec(self, profile: ProviderProfile) -> Codec: ...

    def events(self, spoken: SpokenReply) -> list[bytes]:
        """Return a whole stream."""
        ...

    def error(self, type: str, message: str) -> bytes:
        """Return an error inside a stream."""
        ...

    def error_body(self, type: str, message: str) -> bytes: ...


def event(data: Mapping[str, Any] | str, name: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def halves(text: str) -> Iterable[str]:
    middle = len(text) // 2
    return filter(None, (text[:middle], text[middle:]))


class Anthropic:
    wire = "anthropic-messages"
    path = "/v1/messages"
    stops: Mapping[str, str] = {
        "end": "end_turn",
        "tools": "tool_use",
        "length": "max_tokens",
        "refusal": "refusal",
        "context": "model_context_window_exceeded",
        "pause": "pause_turn",
    }

    def codec(self, profile: ProviderProfile) -> Codec:
        return MessagesCodec(profile)

    def named(self, data: Mapping[str, Any]) -> bytes:
        return event(data, str(data["type"]))

    def error(self, type: str, message: str) -> bytes:
        return self.named({"type": "error", "error": {"type": type, "message": message}})

    def error_body(self, type: str, message: str) -> bytes:
        return json.dumps(
            {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_b"}
        ).encode()

    def events(self, spoken: SpokenReply) -> list[bytes]:
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 5,
                "cache_creation_input_tokens": 3,
                "output_tokens": 1,
            },
        }
        out = [self.named({"type": "message_start", "message": message}), self.named({"type": "ping"})]
        index = 0
        if spoken.thinking:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in halves(spoken.thinking)]
            deltas.append({"type": "signature_delta", "signature": "sig=="})
            out += self._block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
            index += 1
        if spoken.text:
            deltas = [{"type": "text_delta", "text": piece} for piece in halves(spoken.text)]
            out += self._block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for call in spoken.calls:
            start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *halves(call.arguments))]
            out += self._block(index, start, deltas)
            index += 1
        stop = {"stop_reason": self.stops[spoken.stop], "stop_sequence": None}
        out.append(self.named({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 20}}))
        return [*out, self.named({"type": "message_stop"})]

    def _block(self, index: int, start: Mapping[str, Any], deltas: Iterable[Mapping[str, Any]]) -> list[bytes]:
        return [
            self.named({"type": "content_block_start", "index": index, "content_block": start}),
            *(self.named({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
            self.named({"type": "content_block_stop", "index": index}),
        ]


class Openai:
    wire = "openai-chat"
    path = "/chat/completions"
    stops: Mapping[str, str] = {
        "end": "stop",
        "tools": "tool_calls",
        "length": "length",
        "refusal": "content_filter",
        "context": "model_context_window_exceeded",
    }

    def codec(self, profile: ProviderProfile) -> Codec:
        return ChatCodec(profile)

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return self.data([{"index": 0, "delta": delta, "finish_reason": finish}])

    def data(self, choices: list[Mapping[str, Any]], **more: Any) -> bytes:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        return event({**head, "choices": choices, **more})

    def error(self, type: str, message: str) -> bytes:
        return event({"error": {"type": type, "message": message, "code": None}})

    def error_body(self, type: str, message: str) -> bytes:
        return json.dumps({"error": {"type": type, "message": message, "param": None, "code": None}}).encode()

    def events(self, spoken: SpokenReply) -> list[bytes]:
        out = [self.chunk({"role": "assistant", "content": ""})]
        out += [self.chunk({"reasoning_content": piece}) for piece in halves(spoken.thinking)]
        out += [self.chunk({"content": piece}) for piece in halves(spoken.text)]
        for index, call in enumerate(spoken.calls):
            function = {"name": call.name, "arguments": ""}
            start = {"index": index, "id": call.id, "type": "function", "function": function}
            out.append(self.chunk({"tool_calls": [start]}))
            for piece in halves(call.arguments):
                out.append(self.chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
        out.append(self.chunk({}, self.stops[spoken.stop]))
        usage = {"prompt_tokens": 18, "completion_tokens": 20, "total_tokens": 38}
        details = {"prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3}}
        return [*out, self.data([], usage={**usage, **details}), event("[DONE]")]


class Responses:
    wire = "openai-responses"
    path = "/responses"
    stops: Mapping[str, str] = {
        "end": "",
        "tools": "",
        "length": "max_output_tokens",
        "refusal": "content_filter",
    }

    def codec(self, profile: ProviderProfile) -> Codec:
        return ResponsesCodec(profile)

    def named(self, type: str, **data: Any) -> bytes:
        return event({"type": type, "sequence_number": 1, **data}, type)

    def error(self, type: str, message: str) -> bytes:
        return self.named("error", code=type, message=message, param=None)

    def error_body(self, type: str, message: str) -> bytes:
        return json.dumps({"error": {"type": type, "message": message, "param": None, "code": None}}).encode()

    def response(self, status: str, **more: Any) -> dict[str, Any]:
        head = {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": MODEL, "error": None}
        return {**head, "incomplete_details": None, "tools": [], "output": [], "usage": None, **more}

    def items(self, spoken: SpokenReply) -> list[dict[str, Any]]:
        """Return the output as the last event has it."""
        items: list[dict[str, Any]] = []
        if spoken.thinking:
            summary = [{"type": "summary_text", "text": spoken.thinking}]
            items.append({"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "gAAA=="})
        if spoken.text:
            content = [{"type": "output_text", "text": spoken.text, "annotations": [], "logprobs": []}]
            items.append({"id": "msg_1", "type": "message", "role": "assistant", "content": content})
        for place, call in enumerate(spoken.calls):
            asked = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
            items.append({"id": f"fc_{place}", "type": "function_call", "status": "completed", **asked})
        return items

    def streamed(self, index: int, item: dict[str, Any]) -> list[bytes]:
        """Return the events of one item."""
        place = {"item_id": item["id"], "output_index": index}
        empty: dict[str, Any]
        match item["type"]:
            case "reasoning":
                empty = {"summary": [], "encrypted_content": "gA"}
                name, inner, text = "response.reasoning_summary_text", {"summary_index": 0}, item["summary"][0]["text"]
                opening, whole = ("response.reasoning_summary_part", "text")
            case "message":
                empty = {"content": []}
                name, inner, text = "response.output_text", {"content_index": 0}, item["content"][0]["text"]
                opening, whole = ("response.content_part", "text")
                inner["logprobs"] = []  # type: ignore[assignment]
            case _:
                empty = {"arguments": ""}
                name, inner, text = "response.function_call_arguments", {}, item["arguments"]
                opening, whole = ("", "arguments")
        part = (item.get("summary") or item.get("content") or [{}])[0]
        middle = [self.named(f"{name}.delta", **place, **inner, delta=piece) for piece in halves(text)]
        middle.append(self.named(f"{name}.done", **place, **inner, **{whole: text}))
        if opening:
            bare = {**part, "text": ""}
            middle.insert(0, self.named(f"{opening}.added", **place, **inner, part=bare))
            middle.append(self.named(f"{opening}.done", **place, **inner, part=part))
        return [
            self.named("response.output_item.added", output_index=index, item={**item, **empty}),
            *middle,
            self.named("response.output_item.done", output_index=index, item=item),
        ]

    def events(self, spoken: SpokenReply) -> list[bytes]:
        begun, output = self.response("in_progress"), self.items(spoken)
        out = [self.named("response.created", response=begun), self.named("response.in_progress", response=begun)]
        for index, item in enumerate(output):
            out += self.streamed(index, item)
        return [*out, self.last(output, self.stops[spoken.stop])]

    def last(self, output: list[dict[str, Any]], reason: str = "") -> bytes:
        details = {"input_tokens": 18, "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3}}
        usage = {**details, "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 9}, "total_tokens": 38}
        status = "incomplete" if reason else "completed"
        ended = self.response(status, output=output, usage=usage)
        return self.named(
            f"response.{status}",
            response={**ended, "incomplete_details": {"reason": reason} if reason else None},
        )


SPEAKERS: Mapping[str, Speaker] = {speaker.wire: speaker for speaker in (Anthropic(), Openai(), Responses())}

PATIENT = Clocks(connect=10, first_byte=20, idle=20, turn=30)


def profile(wire: str, url: str = "http://127.0.0.1:9", **more: Any) -> ProviderProfile:
    more.setdefault("quirks", Quirks())
    return ProviderProfile.model_validate({"name": "acme", "wire": wire, "base_url": url, "auth": "bearer", **more})


def model(wire: str, url: str, clocks: Clocks = PATIENT, account: str = "work", **more: Any) -> Model:
    return connect(
        profile(wire, url, **more),
        Route(provider="acme", model=MODEL, requested="acme/model-1", account=account),
        Secret(KEY, origin=origin(url), source="ACME_KEY"),
        clocks,
    )


def request(*messages: Any, **more: Any) -> Request:
    return Request(model=MODEL, system=more.pop("system", "Be brief."), messages=messages, **more)
