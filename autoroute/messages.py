"""Messages to and from a model, in a form that belongs to no vendor.

A conversation is a tuple of messages that grows only at its end. So each request begins with the bytes of the one
before, and prompt caches hit. Codecs in ``wire/`` turn these values into a vendor's JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True, slots=True)
class Text:
    """Text from either side."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Thinking:
    """A model's reasoning. It is sent back, byte-identical, to its origin and to no other model.

    ``provider`` and ``model`` are the origin. ``opaque`` is what the origin's wire needs to accept the block again (a
    signature, redacted data), as JSON text in that wire's own form.
    """

    text: str
    provider: str
    model: str
    opaque: str = ""
    type: Literal["thinking"] = "thinking"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. ``arguments`` is the JSON text as the model wrote it, valid or not.

    ``altered`` says that a key was redacted in it, so it is not what the model wrote.
    """

    id: str
    name: str
    arguments: str
    altered: bool = False
    type: Literal["tool_call"] = "tool_call"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of the tool call with the id ``call``; ``is_error`` tells the model that it failed."""

    call: str
    text: str
    is_error: bool = False
    type: Literal["tool_result"] = "tool_result"


Part = Text | Thinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """A message of one side. User messages have tool results first, then text; assistant messages have the rest."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """Its text, without thinking, calls and results."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Its tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def size(self) -> int:
        """Characters of all parts. Thinking counts once, as its text or as the opaque form that goes back."""
        total = 0
        for part in self.parts:
            match part:
                case Thinking():
                    total += max(len(part.text), len(part.opaque))
                case ToolCall():
                    total += len(part.name) + len(part.arguments)
                case _:
                    total += len(part.text)
        return total


CHARACTERS_PER_TOKEN = 3
"""Fewer than any tokenizer makes of code and prose, so that an estimate is too high rather than too low."""


def estimate_tokens(message: Message) -> int:
    """Return the tokens of a message that no provider has counted yet, rather too many than too few."""
    return message.size // CHARACTERS_PER_TOKEN + 1


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """The declaration of a tool for a model; ``parameters`` is a JSON schema, as JSON text with sorted keys."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one turn. ``effort`` is low, medium, high or "" (the model's default)."""

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 32_000
    effort: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply. ``input`` excludes tokens that were read from or written to the prompt cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )

    @property
    def total(self) -> int:
        """All tokens, including cached ones."""
        return self.input + self.output + self.cache_read + self.cache_write


class Stop(StrEnum):
    """Why a reply ended, in our words for every vendor."""

    END = "end"
    TOOLS = "tools"
    LENGTH = "length"
    REFUSAL = "refusal"
    CONTEXT = "context"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply as it arrives, for people to watch. The complete reply follows at the end."""

    kind: Literal["text", "thinking", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """What remains of one of a provider's limits until ``resets_at`` (UTC). ``kind`` is what the limit counts."""

    kind: Literal["requests", "tokens", "input_tokens", "output_tokens"]
    remaining: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. ``served_model`` is the name in the response; "" if it names none."""

    message: Message
    stop: Stop
    served_model: str
    usage: Usage = Usage()
    request_id: str = ""
    allowances: tuple[Allowance, ...] = ()
    """For pacing on this machine; the journal does not record them."""
