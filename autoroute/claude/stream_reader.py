"""Reader of the lines of the process as one reply. They contain the vendor's own stream, which our codec decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoroute.claude.api_errors import read_error
from autoroute.claude.mcp_server import TOOL_PREFIX
from autoroute.claude.plan_usage import read_usage
from autoroute.errors import BadReply, ProviderError, Unreachable
from autoroute.messages import Delta, Message, Part, Reply, Request, Stop, ToolCall
from autoroute.routing import ProviderProfile
from autoroute.wire.anthropic_messages import MessagesDecoder
from autoroute.wire.payload import as_object, as_text

_SYNTHETIC_MODEL = "<synthetic>"
"""The model of a message that Claude Code made itself, for instance for an API error."""


class StreamReader:
    """Collects the lines that answer one request: ``feed`` each, until ``reply`` is not None.

    ``starts`` counts how often a reply began, because an interrupted one may be sent again. ``ended`` is whether the
    process has finished the turn.
    """

    def __init__(self, profile: ProviderProfile, request: Request) -> None:
        self._profile = profile
        self._request = request
        self._decoder: MessagesDecoder | None = None
        self._request_id = ""
        self._error_line: Mapping[str, Any] | None = None
        self._limits: Mapping[str, Any] = {}
        self.starts = 0
        self.ended = False

    @property
    def reply(self) -> Reply | None:
        """The complete reply, None before.

        Claude Code closes an interrupted stream like a complete one. So a stream is complete only if it contains a
        stop reason, or if Claude Code ended the turn with success. At the output limit Claude Code would continue on
        its own, so that stop reason alone ends the reply. Raises ``Unreachable`` if nothing more will come.
        """
        decoder = self._decoder
        if decoder is None or self._error_line is not None:
            return None
        if not (decoder.done or decoder.stop is Stop.LENGTH):
            return None
        if decoder.stop is None and not self.ended:
            if decoder.has_calls:
                raise Unreachable("the response was cut off before its end")
            return None
        reply = decoder.reply(self._request_id)
        return replace(reply, message=_without_prefixes(reply.message))

    def feed(self, line: Mapping[str, Any]) -> Sequence[Delta] | None:
        """Return the new deltas of the reply; None for a line that is not part of it.

        Raises the ``ProviderError`` that a line reports.
        """
        match line.get("type"):
            case "stream_event" if line.get("parent_tool_use_id") is None:
                return self._feed_event(as_object(line.get("event")))
            case "rate_limit_event":
                self._limits = as_object(line.get("rate_limit_info"))
            case "assistant":
                self._note_message(line)
            case "result":
                self._end(line)
            case "system" if line.get("subtype") == "thinking_tokens":
                return []
        return None

    def _feed_event(self, event: dict[str, object]) -> Sequence[Delta] | None:
        kind = as_text(event.get("type"))
        if kind == "message_start" or self._decoder is None:
            self._decoder = MessagesDecoder(self._profile, self._request)
            self.starts += 1
        return self._decoder.feed_parsed(kind, event)

    def _note_message(self, line: Mapping[str, Any]) -> None:
        """Keep the request id of a message, and the error in a message that Claude Code made itself."""
        self._request_id = as_text(line.get("request_id")) or self._request_id
        is_synthetic = as_text(as_object(line.get("message")).get("model")) == _SYNTHETIC_MODEL
        if is_synthetic and (line.get("error") or line.get("is_api_error_message")):
            self._error_line = line

    def _end(self, line: Mapping[str, Any]) -> None:
        self.ended = self._decoder is not None  # else it ends the turn before
        # "success" proves nothing: a turn that an API error ended has that subtype too (2.1.330).
        if line.get("is_error") is True or as_text(line.get("subtype")) not in ("", "success"):
            raise self._error(line)

    def _error(self, result: Mapping[str, Any]) -> ProviderError:
        fields = {**result, **(self._error_line or {}), "terminal_reason": result.get("terminal_reason")}
        return read_error(fields, read_usage(self._limits), self._profile)

    def missing_reply(self) -> BadReply:
        """Return the error of a process that ended its turn without a reply."""
        return BadReply("Claude Code ended its turn without a reply of the model")


def _without_prefixes(message: Message) -> Message:
    """Return the message with the tools' own names in its calls."""
    return Message(message.role, tuple(_without_prefix(part) for part in message.parts))


def _without_prefix(part: Part) -> Part:
    return replace(part, name=part.name.removeprefix(TOOL_PREFIX)) if isinstance(part, ToolCall) else part
