"""The protocol ``openai-chat`` (https://platform.openai.com/docs/api-reference/chat) and its compatible servers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from autoroute.errors import Busy, ProviderError, Unreachable
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
from autoroute.wire.codec import build_message, thinking_to_send
from autoroute.wire.payload import (
    Transcript,
    arguments_to_send,
    as_arguments,
    as_count,
    as_list,
    as_object,
    as_text,
    dump_json,
    parse_event,
    valid_id,
    valid_name,
)
from autoroute.wire.sse import Event
from autoroute.wire.streaming import StreamingModel

_MAX_ID_LENGTH = 40
"""OpenAI refuses longer ids of calls in this protocol."""
_SHORT_ID_LENGTH = 9
"""Mistral accepts only ids of nine letters or digits."""
_FOREIGN_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini accepts in place of its own signature of a call (ai.google.dev, "Thought signatures")."""

_STOPS: Mapping[str, Stop] = MappingProxyType(
    {
        "stop": Stop.END,
        "length": Stop.LENGTH,
        "tool_calls": Stop.TOOLS,
        "function_call": Stop.TOOLS,
        "content_filter": Stop.REFUSAL,
        # https://docs.z.ai/api-reference/llm/chat-completion
        "sensitive": Stop.REFUSAL,
        "model_context_window_exceeded": Stop.CONTEXT,
    }
)

_FAILED: Mapping[str, type[ProviderError]] = MappingProxyType(
    {
        "error": Unreachable,  # OpenRouter
        "network_error": Unreachable,  # Z.AI
        "insufficient_system_resource": Busy,  # DeepSeek
    }
)
"""Finish reasons that report a failure of the server."""


class ChatCodec:
    """The codec of one provider."""

    path = "/chat/completions"

    def __init__(self, profile: ProviderProfile) -> None:
        self._profile = profile
        self._transcript = Transcript(self._encode_message)

    @property
    def headers(self) -> dict[str, str]:
        """No headers of its own."""
        return {}

    def encode(self, request: Request) -> bytes:
        """Return the body. ``messages`` comes last, so that a longer conversation begins with the same bytes."""
        quirks = self._profile.quirks
        head: dict[str, object] = {"model": request.model, "stream": True}
        if quirks.usage_in_stream:
            head["stream_options"] = {"include_usage": True}
        head[quirks.max_tokens_field] = request.max_tokens
        if quirks.effort == "reasoning_effort_unless_tools" and request.tools:
            # OpenAI's models from gpt-5.4 on answer 400 to tools with reasoning here, also to the default effort.
            head["reasoning_effort"] = "none"
        elif quirks.effort.startswith("reasoning_effort") and request.effort:
            head["reasoning_effort"] = request.effort
        if request.tools:
            head["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": json.loads(tool.parameters),
                    },
                }
                for tool in request.tools
            ]
        system = dump_json({"role": "system", "content": request.system}) if request.system else b""
        messages = self._transcript.encode(request.messages, request.model)
        return dump_json(head)[:-1] + b',"messages":[' + b",".join(filter(None, (system, messages))) + b"]}"

    def decoder(self, request: Request) -> ChatDecoder:
        """Return a decoder for the response to ``request``."""
        return ChatDecoder(self._profile, request)

    def _encode_message(self, message: Message, model: str) -> bytes:
        """Return the messages that it becomes in this protocol: one for its text, one for each result."""
        if message.role == "assistant":
            return dump_json(self._encode_assistant(message, model))
        results = [self._encode_result(part) for part in message.parts if isinstance(part, ToolResult)]
        text = message.text or ("" if results else "(nothing)")
        texts = [{"role": "user", "content": text}] if text else []
        return b",".join(dump_json(one) for one in (*results, *texts))

    def _encode_assistant(self, message: Message, model: str) -> dict[str, object]:
        data: dict[str, object] = {"role": "assistant", "content": message.text or None}
        if not message.calls:
            data["content"] = message.text or "(nothing)"
        if self._profile.quirks.reasoning_replay:
            thinking = "".join(
                part.text
                for part in message.parts
                if isinstance(part, Thinking) and thinking_to_send(part, self._profile.name, model)
            )
            # Kimi and DeepSeek refuse calls without reasoning, also calls that another model made. A blank passes.
            thinking = thinking or (" " if message.calls else "")
            if thinking:
                data["reasoning_content"] = thinking
        if message.calls:
            data["tool_calls"] = [self._encode_call(call) for call in message.calls]
        return data

    def _encode_call(self, call: ToolCall) -> dict[str, object]:
        data: dict[str, object] = {
            "id": self._id(call.id),
            "type": "function",
            "function": {"name": valid_name(call.name), "arguments": _encode_arguments(call.arguments)},
        }
        if self._profile.quirks.thought_signature:
            data["extra_content"] = {"google": {"thought_signature": _FOREIGN_SIGNATURE}}
        return data

    def _id(self, id: str) -> str:
        """Return the id of a call as this provider accepts it."""
        if self._profile.quirks.short_tool_ids:
            return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:_SHORT_ID_LENGTH]
        return valid_id(id, _MAX_ID_LENGTH)

    def _encode_result(self, result: ToolResult) -> dict[str, object]:
        text = result.text or "(no output)"
        # The protocol has no field for a failed call.
        content = f"Error: {text}" if result.is_error else text
        return {"role": "tool", "tool_call_id": self._id(result.call), "content": content}


def _encode_arguments(text: str) -> str:
    return dump_json(arguments_to_send(text)).decode()


@dataclass(slots=True)
class _Call:
    """A tool call that is arriving."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ChatDecoder:
    """The decoder of one response. It accepts what compatible servers leave out or do differently."""

    def __init__(self, profile: ProviderProfile, request: Request) -> None:
        self._profile = profile
        self._request = request
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}
        self._model = ""
        self._id = ""
        self._stop = ""
        self._usage = Usage()
        self._done = False

    @property
    def complete(self) -> bool:
        """Whether the finish reason has arrived; usage may follow it."""
        return self._done or bool(self._stop)

    @property
    def done(self) -> bool:
        """Whether ``[DONE]`` has arrived."""
        return self._done

    def feed(self, event: Event) -> Sequence[Delta] | None:
        """Return what is new in a chunk; None for one that holds nothing."""
        if event.data.strip() == "[DONE]":
            self._done = True
            return []
        data = parse_event(event.data)
        if is_error_event(data) or event.name == "error":
            raise classify_event(event.data, self._profile)
        self._model = self._model or as_text(data.get("model"))
        self._id = self._id or as_text(data.get("request_id")) or as_text(data.get("id"))
        choice = as_object(next(iter(as_list(data.get("choices"))), None))
        usage = as_object(data.get("usage")) or as_object(choice.get("usage"))
        if usage:
            self._usage = _read_usage(usage)
        deltas = self._read_delta(as_object(choice.get("delta")))
        self._stop = as_text(choice.get("finish_reason")) or self._stop
        if self._stop in _FAILED:
            raise _FAILED[self._stop](f"the provider ended the reply with {self._stop}", status=200, code=self._stop)
        return deltas if deltas or usage or self._stop else None

    def reply(self, request_id: str) -> Reply:
        """Return the complete reply."""
        parts: list[Part] = []
        if self._thinking:
            parts.append(Thinking("".join(self._thinking), self._profile.name, self._request.model))
        if self._text:
            parts.append(Text("".join(self._text)))
        parts += (ToolCall(call.id, call.name, "".join(call.arguments) or "{}") for call in self._calls)
        message, stop = build_message(parts, _STOPS.get(self._stop, Stop.END), self._request)
        return Reply(message, stop, self._model, self._usage, request_id or self._id)

    def _read_delta(self, delta: dict[str, object]) -> list[Delta]:
        deltas: list[Delta] = []
        # DeepSeek, Z.AI, Moonshot, Qwen and vLLM send `reasoning_content`; OpenRouter, Groq and Ollama `reasoning`.
        thinking = as_text(delta.get("reasoning_content")) or as_text(delta.get("reasoning"))
        if thinking:
            self._thinking.append(thinking)
            deltas.append(Delta("thinking", thinking))
        text = as_text(delta.get("content"))
        if text:
            self._text.append(text)
            deltas.append(Delta("text", text))
        for piece in as_list(delta.get("tool_calls")):
            deltas += self._read_call(as_object(piece))
        return deltas

    def _read_call(self, piece: dict[str, object]) -> list[Delta]:
        function = as_object(piece.get("function"))
        id, name = as_text(piece.get("id")), as_text(function.get("name"))
        arguments = as_arguments(function.get("arguments"))
        call = self._find_call(piece.get("index"), id, name)
        deltas: list[Delta] = []
        if name and not call.name:
            call.name = name
            deltas.append(Delta("tool", name + " "))
        call.id = call.id or id
        if arguments:
            call.arguments.append(arguments)
            deltas.append(Delta("tool", arguments))
        return deltas

    def _find_call(self, index: object, id: str, name: str) -> _Call:
        """Return the call that a piece belongs to.

        A name with another id opens a new call, also under a known index: some servers give every call the same index.
        Without an index, a name opens a call and the rest belongs to the last one.
        """
        if isinstance(index, int):
            call = self._at.get(index)
            if call and not (name and id and call.id and id != call.id):
                return call
        elif self._calls and not name:
            return self._calls[-1]
        call = _Call()
        self._calls.append(call)
        if isinstance(index, int):
            self._at[index] = call
        return call


def _read_usage(usage: dict[str, object]) -> Usage:
    """Return the usage. In this protocol the prompt includes what came from the cache, unlike in Anthropic's."""
    details = as_object(usage.get("prompt_tokens_details"))
    # The second name is DeepSeek's, the third Moonshot's.
    read = as_count(details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens"))
    write = as_count(details.get("cache_write_tokens"))
    prompt = as_count(usage.get("prompt_tokens"))
    return Usage(max(0, prompt - read - write), as_count(usage.get("completion_tokens")), read, write)


def connect(profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks) -> StreamingModel:
    """Return a model of this protocol."""
    return http.connect(ChatCodec(profile), profile, route, secret, clocks)
