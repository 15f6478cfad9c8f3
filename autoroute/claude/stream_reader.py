"""The lines of the process as one reply: the vendor's own stream stands in them, and our codec for it reads that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoroute.claude.api_errors import read_failure, read_usage
from autoroute.claude.mcp_server import PREFIX
from autoroute.errors import BadReply, ProviderError, Unreachable
from autoroute.messages import Delta, Message, Part, Reply, Request, Stop, ToolCall
from autoroute.routing import ProviderProfile
from autoroute.wire.anthropic_messages import MessagesDecoder
from autoroute.wire.payload import as_object, as_text

_SYNTHETIC = "<synthetic>"


class StreamReader:
    """Reads the lines that answer one request; ``feed`` each, until there is a ``reply``.

    ``starts`` counts how often a reply began: one that was cut may be sent again. ``ended`` is whether the process has
    nothing more to do.
    """

    def __init__(self, profile: ProviderProfile, request: Request) -> None:
        self._profile = profile
        self._request = request
        self._decoder: MessagesDecoder | None = None
        self._request_id = ""
        self._failure: Mapping[str, Any] | None = None
        self._limits: Mapping[str, Any] = {}
        self.starts = 0
        self.ended = False

    @property
    def reply(self) -> Reply | None:
        """The reply, once it is whole.

        The process closes a stream that was cut as if it had ended: only one that says why it ended has, or one that
        the process itself is content with. At the output limit the process would ask on by itself: what says so is the
        end. Raises ``Unreachable`` where nothing more would come.
        """
        decoder = self._decoder
        if decoder is None or self._failure is not None:
            return None
        if not (decoder.done or decoder.stop is Stop.LENGTH):
            return None
        if decoder.stop is None and not self.ended:
            if decoder.has_calls:
                raise Unreachable("the response was cut off before its end")
            return None
        reply = decoder.reply(self._request_id)
        return replace(reply, message=_plain(reply.message))

    def feed(self, line: Mapping[str, Any]) -> Sequence[Delta] | None:
        """What is new of the reply; None for a line that is no part of it. Raises the error that a line reports."""
        match line.get("type"):
            case "stream_event" if line.get("parent_tool_use_id") is None:
                return self._feed_event(as_object(line.get("event")))
            case "rate_limit_event":
                self._limits = as_object(line.get("rate_limit_info"))
            case "assistant":
                self._look_at(line)
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

    def _look_at(self, line: Mapping[str, Any]) -> None:
        """A message tells the id of its request; one that the process made itself tells why there is none."""
        self._request_id = as_text(line.get("request_id")) or self._request_id
        made_up = as_text(as_object(line.get("message")).get("model")) == _SYNTHETIC
        if made_up and (line.get("error") or line.get("is_api_error_message")):
            self._failure = line

    def _end(self, line: Mapping[str, Any]) -> None:
        self.ended = self._decoder is not None  # else it is the end of the turn before
        # "success" says nothing: a turn that an error of the API ended is called that too.
        if line.get("is_error") is True or as_text(line.get("subtype")) not in ("", "success"):
            raise self._error(line)

    def _error(self, result: Mapping[str, Any]) -> ProviderError:
        said = {**result, **(self._failure or {}), "terminal_reason": result.get("terminal_reason")}
        return read_failure(said, read_usage(self._limits), self._profile)

    def nothing(self) -> BadReply:
        """The error of a process that is done and has said nothing."""
        return BadReply("claude ended its turn without a reply of the model")


def _plain(message: Message) -> Message:
    """Its calls under the names that our tools have."""
    return Message(message.role, tuple(_unprefixed(part) for part in message.parts))


def _unprefixed(part: Part) -> Part:
    return replace(part, name=part.name.removeprefix(PREFIX)) if isinstance(part, ToolCall) else part
