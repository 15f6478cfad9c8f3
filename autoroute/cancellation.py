"""The cancel token of a run, which any thread may set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autoroute.errors import AutorouteError, Cancelled


class CancelToken:
    """Whether a run is to stop, and why. Setting it wakes whoever waits and breaks off what is registered.

    The first cancellation counts; later ones change nothing. A token belongs to one run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = threading.Event()
        self._error: AutorouteError | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    @property
    def cancelled(self) -> bool:
        """Whether the token is set."""
        return self._set.is_set()

    @property
    def error(self) -> AutorouteError | None:
        """The error that the run ends with, or None while the token is not set."""
        return self._error

    def cancel(self, reason: str | AutorouteError = "cancelled") -> None:
        """Set the token. ``reason`` is the message of the ``Cancelled`` that the run ends with, or another error.

        Returns at once: the run ends at its next safe point, resumable, with what it was doing broken off.
        """
        with self._lock:
            if self._error is not None:
                return
            self._error = reason if isinstance(reason, AutorouteError) else Cancelled(reason)
            callbacks = list(self._callbacks.values())
        self._set.set()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise the error if the token is set."""
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float) -> None:
        """Sleep; raise the error as soon as the token is set."""
        self._set.wait(seconds)
        self.check()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback`` when the token is set within this block; at once if it is set already.

        It runs on the thread that cancels, so it must be safe there and return soon.
        """
        key = id(callback)
        with self._lock:
            self._callbacks[key] = callback
            is_set = self._error is not None
        if is_set:
            callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.pop(key, None)
