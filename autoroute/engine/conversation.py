"""A conversation as its events tell it: the same fold keeps it while it is held and finds it again after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from autoroute.events import (
    ArtifactRejected,
    ConversationCompacted,
    Event,
    PromptSent,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from autoroute.messages import Message, Part, Reply, Stop, Text, Thinking, ToolResult, estimate_tokens
from autoroute.phases import prompts
from autoroute.redaction import redact_value
from autoroute.routing import Phase, Route
from autoroute.text import truncate_middle

Told = TypeVar("Told", bound=Event)

_LEAST_GROWTH, _LEAST_SHARE, _LEAST_PROMPT = 500, 0.05, 0.5
"""Tokens and part of the last prompt that must be new, and how far its count may fall, for it to look truncated."""
_COUNTS_ALL = 3
"""Our own count is too high, but not by this much."""


@dataclass(slots=True)
class Conversation:
    """What was said, and what is due next. ``attempt`` and ``tree`` are those of a subtask's conversation.

    ``messages`` end with the last reply; ``results`` are those of its calls that have run, ``begun`` the calls that had
    begun. ``turns`` and ``corrections`` count what the model that sits there now has had.
    """

    phase: Phase
    attempt: int = 1
    tree: str = ""
    messages: tuple[Message, ...] = ()
    reply: Reply | None = None
    turn: int = 0
    results: dict[str, ToolResult] = field(default_factory=dict)
    begun: dict[str, ToolStarted] = field(default_factory=dict)
    said: list[Text] = field(default_factory=list)
    route: Route | None = None
    """Who was asked last."""
    tokens: int = 0
    """Of the conversation up to its last reply, as the provider counted them; 0 when it did not."""
    prompt: int = 0
    """Of the last request, likewise."""
    turns: int = 0
    corrections: int = 0
    earlier: int = 0
    """Attempts that were over when the model that sits there now took over."""
    refused: bool = False
    """Whether what was handed on was refused, and the model has not been asked since."""
    shortened: int = 0
    """How often it was shortened since the last reply."""
    unmoved: int = 0
    """How often in a row the provider counted a grown prompt as no longer than before."""
    redact: Callable[[str], str] = str
    """Takes out of a text what no model may be told: whatever is told comes by here."""
    _due: Message | None = None

    def note(self, event: Told) -> Told:
        """Take an event into account, and pass it on, without what no model may be told.

        That is also what a reply says: it may go on to another provider, and its calls act on what others read.
        """
        event = redact_value(event, self.redact)
        match event:
            case PromptSent():
                self.said.append(Text(event.text))
                self._due = None
            case TurnStarted():
                self._session(event.route)
            case TurnEnded(usable=True):
                self._hear(event)
            case ToolStarted():
                self.begun[event.call] = event
            case ToolEnded():
                self.results[event.call] = ToolResult(event.call, event.text, event.is_error)
                self._due = None
            case ArtifactRejected():
                self.corrections += 1
                self.refused = True
            case ConversationCompacted():
                self._shorten(event)
        return event

    @property
    def due(self) -> Message | None:
        """What the model is told next: the results of its calls, then words; None when its turn is over."""
        if self._due is None:
            parts: list[Part] = []
            if self.reply is not None:
                parts += (self.results[call.id] for call in self.reply.message.calls if call.id in self.results)
                parts += _go_on(self.reply.stop, self.phase)
            parts += self.said
            self._due = Message("user", tuple(parts)) if parts else None
        return self._due

    @property
    def served_model(self) -> str:
        """What the last reply said it came from."""
        return self.reply.served_model if self.reply else ""

    @property
    def length(self) -> int:
        """Tokens of the whole with what is due; 0 while no reply has counted any."""
        return self.tokens + (estimate_tokens(self.due) if self.due else 0) if self.tokens else 0

    def is_new(self, route: Route) -> bool:
        """Whether a route is another than the one that was asked last: it begins with nothing used up."""
        return self.route is not None and self.route.identity != route.identity

    def messages_for(self, route: Route) -> tuple[Message, ...]:
        """Return the messages that a route gets: thinking is valid at its origin only, so a new one gets none."""
        return without_thinking(self.messages) if self.is_new(route) else self.messages

    def _session(self, route: Route) -> None:
        if self.is_new(route):
            self.messages = self.messages_for(route)
            self.turns = self.corrections = self.prompt = self.unmoved = 0
            self.earlier = self.attempt - 1
        self.route = route
        self.refused = False

    def _hear(self, event: TurnEnded) -> None:
        usage, told = event.reply.usage, (self.due,) if self.due else ()
        self.unmoved = self.unmoved + 1 if self._is_unmoved(usage.total - usage.output) else 0
        self.messages = (*self.messages, *told, event.reply.message)
        self.reply, self.turn = event.reply, event.turn
        self.tokens = usage.total
        self.prompt = usage.total - usage.output
        self.turns += 1
        self.shortened = 0
        self.results, self.begun, self.said, self._due = {}, {}, [], None

    def _is_unmoved(self, prompt: int) -> bool:
        """Whether a provider counts a grown conversation as no longer than before.

        A server that does not count what its cache holds shows far less than there is, and is none of these.
        """
        if not self.prompt or self.due is None or not self.prompt * _LEAST_PROMPT < prompt <= self.prompt:
            return False
        if estimate_tokens(self.due) <= max(_LEAST_GROWTH, self.prompt * _LEAST_SHARE):
            return False
        return sum(map(estimate_tokens, self.messages)) < _COUNTS_ALL * prompt

    @property
    def is_truncated(self) -> bool:
        """Whether the provider leaves out the beginning silently. Once may be thinking that it counts no longer."""
        return self.unmoved > 1

    def _shorten(self, event: ConversationCompacted) -> None:
        tail = without_thinking(self.messages[len(self.messages) - event.kept :])
        opening = Message("user", (Text(event.opening),))
        self.messages = (opening, *(cut_results(message, event.longest) for message in tail))
        self.results = {id: cut_result(result, event.longest) for id, result in self.results.items()}
        # Nobody has counted it as it now is.
        self.tokens = self.prompt = self.unmoved = 0
        self._due = None
        self.shortened += 1


def _go_on(stop: Stop, phase: Phase) -> list[Part]:
    """What a reply that ended before its time is answered with."""
    match stop:
        case Stop.LENGTH:
            return [Text(prompts.correct_truncated_reply(phase))]
        case Stop.PAUSE:
            return [Text("Go on.")]
    return []


def without_thinking(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages without thinking; one that held nothing else says so, because none may be empty."""
    return tuple(_without_thinking(message) for message in messages)


def _without_thinking(message: Message) -> Message:
    if not any(isinstance(part, Thinking) for part in message.parts):
        return message
    kept = tuple(part for part in message.parts if not isinstance(part, Thinking))
    return replace(message, parts=kept or (Text("(thinking)"),))


def cut_results(message: Message, longest: int) -> Message:
    """The message with each tool result cut to so many characters."""
    parts = tuple(cut_result(part, longest) if isinstance(part, ToolResult) else part for part in message.parts)
    return message if parts == message.parts else replace(message, parts=parts)


def cut_result(result: ToolResult, longest: int) -> ToolResult:
    """The result, cut in the middle to so many characters."""
    return replace(result, text=truncate_middle(result.text, longest))
