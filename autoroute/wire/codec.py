"""What a wire is to the transport, a codec, and what all codecs do alike to finish a reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol

from autoroute.errors import BadReply
from autoroute.messages import Delta, Message, Part, Reply, Request, Stop, ToolCall
from autoroute.wire.sse import Event


class Decoder(Protocol):
    """Turns the events of one answer into deltas, and at its end into the reply."""

    @property
    def complete(self) -> bool:
        """Whether a reply can be made of what has come, though more may come."""
        ...

    @property
    def done(self) -> bool:
        """Whether the answer said that nothing more comes."""
        ...

    def feed(self, event: Event) -> Sequence[Delta] | None:
        """What is new in an event; None for one that says nothing (a ping, an unknown event).

        Raises ``BadReply`` for what is no event of the protocol, and the error that the event reports.
        """
        ...

    def reply(self, request_id: str) -> Reply:
        """The complete reply; ``request_id`` is that of the headers. Raises ``BadReply`` for an empty one."""
        ...


class Codec(Protocol):
    """One wire: how a request is written and its answer read. No I/O."""

    @property
    def path(self) -> str:
        """What follows the base URL."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the wire wants beyond the common ones."""
        ...

    def encode(self, request: Request) -> bytes:
        """The body of a request; that of a longer conversation begins with the bytes of the shorter one's."""
        ...

    def decoder(self, request: Request) -> Decoder:
        """A decoder for the answer to ``request``."""
        ...


def finish(parts: Sequence[Part], stop: Stop, request: Request) -> tuple[Message, Stop]:
    """The message that ``parts`` make, and why it ended. Raises ``BadReply`` when it says and asks for nothing.

    Whether it has calls decides between ``END`` and ``TOOLS``: servers mix those up. A call that the length limit
    cut off is left out; it may look whole.
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
    """The parts, each call with an id that no other call of the conversation has; the same input, the same ids.

    Compatible servers send calls without an id, and some number them anew in each reply.
    """
    taken: set[str] = set()
    turn = 0
    if any(isinstance(part, ToolCall) for part in parts):
        taken.update(call.id for message in history for call in message.calls)
        turn = sum(message.role == "assistant" for message in history)
    made = (f"call_{turn}_{number}" for number in count())
    result: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall):
            id = part.id
            while not id or id in taken:
                id = next(made)
            taken.add(id)
            part = replace(part, id=id)
        result.append(part)
    return result
