"""What a protocol implements for the transport (``Codec``, ``Decoder``), and how every codec finishes a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol

from autoroute.errors import BadReply
from autoroute.messages import Delta, Message, Part, Reply, Request, Stop, Thinking, ToolCall, ToolResult
from autoroute.wire.sse import Event


class Decoder(Protocol):
    """A reader of one response: events go in, deltas come out, and at the end the reply."""

    @property
    def complete(self) -> bool:
        """Whether a reply can be built from what has arrived, though more may follow (usage)."""
        ...

    @property
    def done(self) -> bool:
        """Whether the response said that nothing more follows."""
        ...

    def feed(self, event: Event) -> Sequence[Delta] | None:
        """Return what is new in an event; None for one without content (a ping, an unknown event).

        Raises ``BadReply`` for an event that breaks the protocol, and the error that an event reports.
        """
        ...

    def reply(self, request_id: str) -> Reply:
        """Return the complete reply; ``request_id`` is that of the headers. Raises ``BadReply`` for an empty one."""
        ...


class Codec(Protocol):
    """One protocol: how a request is written and its response read. No I/O."""

    @property
    def path(self) -> str:
        """What follows the base URL."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the protocol beyond the common ones."""
        ...

    def encode(self, request: Request) -> bytes:
        """Return the body of a request.

        The body for a longer conversation begins with the bytes of the shorter one's, so that prompt caches hit.
        """
        ...

    def decoder(self, request: Request) -> Decoder:
        """Return a decoder for the response to ``request``."""
        ...


def encode_parts(message: Message, encode: Callable[[Part], bytes]) -> list[bytes]:
    """Return what ``encode`` makes of each part, in the order that vendors require; empty pieces are left out.

    Results of tools come before text: Anthropic refuses a user message in which text comes first (its documentation,
    "Handle tool calls"). Thinking at the end, as a reply that was cut off has it, is left out: Anthropic refuses it
    there, and OpenAI refuses reasoning without the item that it led to.
    """
    parts = sorted(message.parts, key=lambda part: message.role == "user" and not isinstance(part, ToolResult))
    pieces = [(part, piece) for part in parts if (piece := encode(part))]
    while pieces and isinstance(pieces[-1][0], Thinking):
        pieces.pop()
    return [piece for _, piece in pieces]


def thinking_to_send(part: Thinking, provider: str, model: str) -> Thinking | None:
    """Return thinking that came from this provider and model, else None: elsewhere its signature is not valid."""
    return part if (part.provider, part.model) == (provider, model) else None


def build_message(parts: Sequence[Part], stop: Stop, request: Request) -> tuple[Message, Stop]:
    """Return the message that ``parts`` make, and why it ended. Raises ``BadReply`` without text and calls.

    The presence of calls decides between ``END`` and ``TOOLS``, because servers report the wrong one. A call that the
    length limit cut off is left out: its arguments may look whole.
    """
    kept = list(parts)
    if stop is Stop.LENGTH and kept and isinstance(kept[-1], ToolCall):
        kept.pop()
    message = Message("assistant", tuple(_with_unique_ids(kept, request.messages)))
    if stop in (Stop.END, Stop.TOOLS):
        stop = Stop.TOOLS if message.calls else Stop.END
    if stop is Stop.END and not message.text.strip():
        raise BadReply("the reply has neither text nor tool calls")
    return message, stop


def _with_unique_ids(parts: Sequence[Part], history: Sequence[Message]) -> list[Part]:
    """Return the parts, each call with an id that no other call of the conversation has.

    Compatible servers send calls without an id, and some number them from 0 in each reply. The same input gets the
    same ids, so that a resumed run sends the same bytes.
    """
    taken: set[str] = set()
    turn = 0
    if any(isinstance(part, ToolCall) for part in parts):
        taken.update(call.id for message in history for call in message.calls)
        turn = sum(message.role == "assistant" for message in history)
    new_ids = (f"call_{turn}_{number}" for number in count())
    result: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall):
            id = part.id
            while not id or id in taken:
                id = next(new_ids)
            taken.add(id)
            part = replace(part, id=id)
        result.append(part)
    return result
