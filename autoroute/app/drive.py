"""The loop between a run and the world: redact each event, keep it, show it, then ask for the next."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from inspect import GEN_CLOSED, getgeneratorstate

from autoroute.app.ports import Guard, Observer, Store
from autoroute.app.stream_redaction import StreamRedaction
from autoroute.cancellation import CancelToken
from autoroute.errors import AutorouteError, Cancelled
from autoroute.events import Event, Notice, RunEnded
from autoroute.redaction import Redact, redact_value
from autoroute.store import FileNotWritten, NotRecorded


class Driver:
    """Carries the events of one run to its store and its observers.

    Whatever leaves a run leaves it here, and is redacted. An error that happens here (a cancellation, a full disk) is
    thrown into the run, which ends itself with an event; once that is stored, nothing changes how the run ended.
    """

    def __init__(
        self,
        events: Generator[Event, None, None],
        store: Store,
        observers: Sequence[Observer],
        redact: Redact,
        cancel: CancelToken,
        guard: Guard,
    ) -> None:
        self._events = events
        self._store = store
        self._observers = list(observers)
        self._redact = redact
        self._cancel = cancel
        self._guard = guard
        self._stream = StreamRedaction(redact)
        self._next: Callable[[], Event] = partial(next, events)
        self._has_begun = False
        self._is_told = False
        self.ended: RunEnded | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more: the run has ended, or it was broken off without an end."""
        return self.ended is not None or getgeneratorstate(self._events) == GEN_CLOSED

    def step(self) -> list[Event]:
        """Take one event out of the run; return what observers were shown, which may be nothing yet.

        Raises ``NotRecorded`` when the event could not be stored: nothing comes after it then.
        """
        try:
            event = self._next()
        except StopIteration:
            raise AssertionError("a run ended without RunEnded") from None
        self._next = partial(next, self._events)
        shown: list[Event] = []
        try:
            with self._guard.shield():
                event = redact_value(event, self._redact)
                stored = self._keep(event)
                if isinstance(stored[-1], RunEnded):
                    self.ended = stored[-1]
                    self._guard.stop_raising()
            self._has_begun = True
            for kept in stored:
                for piece in self._stream.take(kept):
                    shown.append(piece)
                    self._notify(piece)
        except NotRecorded:
            self._events.close()
            raise
        except AutorouteError as error:
            self._next = partial(self._events.throw, error)
        if self.ended is not None:
            self._events.close()
        elif self._cancel.error is not None and self._has_begun and not self._is_told:
            # Not before the first event: a generator that has not started ends without one when it is thrown into.
            self._is_told = True
            self._next = partial(self._events.throw, self._cancel.error)
        return shown

    def drain(self) -> RunEnded:
        """Step until the run has ended; return its last event."""
        while self.ended is None:
            self.step()
        return self.ended

    def _keep(self, event: Event) -> Sequence[Event]:
        """Record an event; return what to show. An end that is in the journal counts even if another file fails."""
        try:
            return (self._store.record(event),)
        except FileNotWritten as error:
            if not isinstance(event, RunEnded):
                raise
            text = f"{error.message} ({error.hint}, then {self._store.resume_command} writes it)"
            return Notice(level="warning", text=text, at=error.event.at), error.event

    def _notify(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer.notify(event)
            except Cancelled:
                raise  # a signal that arrived while it was at work
            except Exception as error:  # noqa: BLE001 - an observer's bug must not reach the run
                self._observers.remove(observer)
                name = type(observer).__name__
                text = f"{name} failed and gets no more events: {type(error).__name__}: {error}"
                self._notify(Notice(level="warning", text=self._redact(text), at=event.at))
