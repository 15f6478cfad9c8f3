"""Replies on their way to the screen: a word is shown once all of it is there, so that no key is shown in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from autoroute.events import Event, TurnUpdate
from autoroute.patterns import pattern

_LAST_WORD = pattern(r"[!-~]*\Z")
"""Of what keys are made of: a script that sets no spaces has nothing to wait for."""
_LONGEST_WORD = 2_000
"""Characters after which one is shown although it goes on: it is far longer than a key."""


class StreamRedaction:
    """Passes events on, and joins the pieces of replies at words; what it passes on is redacted."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._held: TurnUpdate | None = None

    def take(self, event: Event) -> Iterator[Event]:
        """Yield what to show now that this event has come; any event but a piece of the same reply ends a word."""
        if not isinstance(event, TurnUpdate):
            yield from self._let_go()
            yield event
            return
        if self._held is not None and (self._held.turn, self._held.kind) != (event.turn, event.kind):
            yield from self._let_go()
        text = self._held.text + event.text if self._held else event.text
        found = _LAST_WORD.search(text, max(0, len(text) - _LONGEST_WORD))
        cut = found.start() if found and len(text) < found.start() + _LONGEST_WORD else len(text)
        self._held = replace(event, text=text[cut:]) if cut < len(text) else None
        if cut:
            yield replace(event, text=self._redact(text[:cut]))

    def _let_go(self) -> Iterator[Event]:
        held, self._held = self._held, None
        if held is not None:
            yield replace(held, text=self._redact(held.text))
