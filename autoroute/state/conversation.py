"""A conversation with a model, as its events tell it: every message so far, and what the model is told next.

Messages grow at their end only, so that each request begins with the bytes of the one before and prompt caches hit.
Two events rewrite them: a compaction, and a move to another model, which gets no thinking of the former one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from autoroute.events import (
    ArtifactRejected,
    ConversationCompacted,
    Event,
    PromptSent,
    SubtaskStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from autoroute.messages import Message, Part, Reply, Text, Thinking, ToolResult, estimate_tokens
from autoroute.routing import Phase, Route
from autoroute.text import truncate_middle

_MIN_GROWTH_TOKENS = 500
_MIN_GROWTH_SHARE = 0.05
"""A conversation has grown, for the check for silent truncation, by so many tokens and this share of the prompt."""
_MIN_COUNT_SHARE = 0.5
"""A count below this share of the last one leaves out what the cache holds; it says nothing about truncation."""
_MAX_OVERESTIMATE = 3
"""Our own estimate is too high, but by less than this factor."""


@dataclass(slots=True)
class Pending:
    """What has happened since the last reply."""

    results: dict[str, ToolResult] = field(default_factory=dict)
    """Results of the reply's calls that have run, by call id."""
    begun: dict[str, ToolStarted] = field(default_factory=dict)
    """The reply's calls that have begun, by call id."""
    prompts: list[Text] = field(default_factory=list)
    rejected: bool = False
    """Whether the artifact that the reply submitted was rejected."""
    compactions: int = 0


@dataclass(slots=True)
class Serving:
    """The model that serves the conversation now, and what it has used up of the limits of a conversation."""

    route: Route | None = None
    """The route that was asked last; None before the first request."""
    turns: int = 0
    corrections: int = 0
    earlier_attempts: int = 0
    """Attempts at the subtask that were over when this model took over."""
    prompt_tokens: int = 0
    """Tokens of its last request as the provider counted them; 0 when it did not."""
    unmoved: int = 0
    """How often in a row the provider counted a grown prompt as no longer than the one before."""


@dataclass(slots=True)
class Conversation:
    """The messages of a conversation, and what is due next."""

    phase: Phase
    subtask: SubtaskStarted | None = None
    """The attempt at a subtask that the conversation is about, once the model was told of it."""
    messages: tuple[Message, ...] = ()
    """They end with the last reply."""
    last: TurnEnded | None = None
    """The turn of the last reply."""
    pending: Pending = field(default_factory=Pending)
    serving: Serving = field(default_factory=Serving)
    tokens: int = 0
    """Tokens up to the last reply as the provider counted them; 0 when it did not."""
    _due: Message | None = field(default=None, compare=False, repr=False)

    @property
    def reply(self) -> Reply | None:
        """The last reply."""
        return self.last.reply if self.last else None

    @property
    def attempt(self) -> int:
        """The number of the attempt at a subtask, from 1."""
        return self.subtask.attempt if self.subtask else 1

    @property
    def tree(self) -> str:
        """The tree of the workspace when that attempt began; "" outside of a subtask."""
        return self.subtask.tree if self.subtask else ""

    @property
    def due(self) -> Message | None:
        """What the model is told next: the results of its calls, then prompts; None when its turn is over."""
        if self._due is None:
            parts: list[Part] = []
            if self.reply is not None:
                results = self.pending.results
                parts += (results[call.id] for call in self.reply.message.calls if call.id in results)
            parts += self.pending.prompts
            self._due = Message("user", tuple(parts)) if parts else None
        return self._due

    @property
    def served_model(self) -> str:
        """The model that the last reply named; "" before the first reply."""
        return self.reply.served_model if self.reply else ""

    @property
    def length(self) -> int:
        """Tokens of the whole with what is due; 0 while the provider has counted none."""
        return self.tokens + (estimate_tokens(self.due) if self.due else 0) if self.tokens else 0

    @property
    def is_truncated(self) -> bool:
        """Whether the provider leaves out the beginning silently.

        One unmoved count may be thinking that is no longer counted; two in a row are not.
        """
        return self.serving.unmoved > 1

    def is_new(self, route: Route) -> bool:
        """Return whether ``route`` is another than was asked last: it begins with no limit used up."""
        return self.serving.route is not None and self.serving.route.identity != route.identity

    def messages_for(self, route: Route) -> tuple[Message, ...]:
        """Return the messages that a route gets: thinking is valid at its origin only, so a new one gets none."""
        return without_thinking(self.messages) if self.is_new(route) else self.messages

    def apply(self, event: Event) -> None:
        """Take an event of this conversation into account."""
        match event:
            case PromptSent():
                self.pending.prompts.append(Text(event.text))
                self._due = None
            case TurnStarted():
                self._ask(event.route)
            case TurnEnded(usable=True):
                self._add_reply(event)
            case ToolStarted():
                self.pending.begun[event.call] = event
            case ToolEnded():
                self.pending.results[event.call] = ToolResult(event.call, event.text, event.is_error)
                self._due = None
            case ArtifactRejected():
                self.serving.corrections += 1
                self.pending.rejected = True
            case ConversationCompacted():
                self._compact(event)

    def _ask(self, route: Route) -> None:
        """Note who is asked: another model or account begins with no limit used up, and gets no thinking."""
        if self.is_new(route):
            self.messages = self.messages_for(route)
            self.serving = Serving(earlier_attempts=self.attempt - 1)
        self.serving.route = route

    def _add_reply(self, event: TurnEnded) -> None:
        usage = event.reply.usage
        prompt_tokens = usage.total - usage.output
        self.serving.unmoved = self.serving.unmoved + 1 if self._is_unmoved(prompt_tokens) else 0
        self.serving.prompt_tokens = prompt_tokens
        self.serving.turns += 1
        # The very message that was sent: codecs keep what they made of it by identity.
        asked = (self.due,) if self.due else ()
        self.messages = (*self.messages, *asked, event.reply.message)
        self.tokens = usage.total
        self.last, self.pending, self._due = event, Pending(), None

    def _is_unmoved(self, prompt_tokens: int) -> bool:
        """Return whether the provider counts a grown prompt as no longer than the one before.

        A server that does not count what its cache holds shows far less than was sent; that is not a truncation.
        """
        before = self.serving.prompt_tokens
        if not before or self.due is None or not before * _MIN_COUNT_SHARE < prompt_tokens <= before:
            return False
        if estimate_tokens(self.due) <= max(_MIN_GROWTH_TOKENS, before * _MIN_GROWTH_SHARE):
            return False
        return sum(map(estimate_tokens, self.messages)) < _MAX_OVERESTIMATE * prompt_tokens

    def _compact(self, event: ConversationCompacted) -> None:
        tail = without_thinking(self.messages[len(self.messages) - event.kept :])
        opening = Message("user", (Text(event.opening),))
        self.messages = (opening, *(truncate_results(message, event.longest) for message in tail))
        results = self.pending.results
        self.pending.results = {id: _truncate_result(result, event.longest) for id, result in results.items()}
        self.pending.compactions += 1
        # The provider has not counted the shorter conversation yet.
        self.tokens = self.serving.prompt_tokens = self.serving.unmoved = 0
        self._due = None


def without_thinking(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return the messages without thinking.

    One that held nothing else says so instead: providers refuse an empty message.
    """
    return tuple(_without_thinking(message) for message in messages)


def _without_thinking(message: Message) -> Message:
    if not any(isinstance(part, Thinking) for part in message.parts):
        return message
    kept = tuple(part for part in message.parts if not isinstance(part, Thinking))
    return replace(message, parts=kept or (Text("(thinking)"),))


def truncate_results(message: Message, max_characters: int) -> Message:
    """Return the message with each tool result truncated in the middle to ``max_characters``."""
    parts = tuple(
        _truncate_result(part, max_characters) if isinstance(part, ToolResult) else part for part in message.parts
    )
    return message if parts == message.parts else replace(message, parts=parts)


def _truncate_result(result: ToolResult, max_characters: int) -> ToolResult:
    return replace(result, text=truncate_middle(result.text, max_characters))
