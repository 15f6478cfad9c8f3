"""The cancel token of a run, which any thread may set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autoroute.errors import AutorouteError, Cancelled

_REPEAT_SECONDS = 0.05


class CancelToken:
    """Whether a run is to stop, and why. Setting it wakes whoever waits and breaks off what is registered.

    The first cancellation counts; later ones change nothing. A token belongs to one run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = threading.Event()
        self._error: AutorouteError | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._is_breaking_off = False
        self._by_keyboard = False

    @property
    def cancelled(self) -> bool:
        """Whether the token is set."""
        return self._set.is_set()

    @property
    def error(self) -> AutorouteError | None:
        """The error that the run ends with, or None while the token is not set."""
        return self._error

    @property
    def by_keyboard(self) -> bool:
        """Whether Ctrl-C set the token, in a program that leaves Ctrl-C to Python."""
        return self._by_keyboard

    def cancel(self, reason: str | AutorouteError | KeyboardInterrupt = "cancelled") -> None:
        """Set the token. ``reason`` is the message of the ``Cancelled`` that the run ends with, or another error.

        Returns at once: the run ends at its next safe point, resumable, with what it was doing broken off.
        """
        with self._lock:
            if self._error is not None:
                return
            match reason:
                case AutorouteError():
                    self._error = reason
                case KeyboardInterrupt():
                    self._error, self._by_keyboard = Cancelled("stopped by Ctrl-C"), True
                case _:
                    self._error = Cancelled(reason)
        self._set.set()
        self._break_off()

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
        """Call ``callback`` once the token is set, again and again until this block is left.

        Again, because what it breaks off may just be starting. It runs on a thread of its own.
        """
        key = id(callback)
        with self._lock:
            self._callbacks[key] = callback
        if self.cancelled:
            self._break_off()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.pop(key, None)

    def _break_off(self) -> None:
        with self._lock:
            if self._is_breaking_off or not self._callbacks:
                return
            self._is_breaking_off = True
        threading.Thread(target=self._repeat, name="autoroute-cancel", daemon=True).start()

    def _repeat(self) -> None:
        while True:
            with self._lock:
                callbacks = list(self._callbacks.values())
                self._is_breaking_off = bool(callbacks)
            if not callbacks:
                return
            for callback in callbacks:
                callback()
            time.sleep(_REPEAT_SECONDS)
