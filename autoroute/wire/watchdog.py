"""The clocks of one request, and the thread that cuts its connection when one of them runs out."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from autoroute.routing import Clocks

_CUT_AGAIN = 0.05
_GOODBYE = 2.0
"""Seconds that the thread has to end, which takes it a moment."""


@runtime_checkable
class _Connection(Protocol):
    """A network stream, as the clients' ``trace`` extension shows it."""

    def get_extra_info(self, info: str) -> Any: ...


class Line:
    """The connection that a client's requests go over, one after the other."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def trace(self, _name: str, info: Mapping[str, object]) -> None:
        """Hear from a request (by its ``trace`` extension) which connection was made for it."""
        stream = info.get("return_value")
        if isinstance(stream, _Connection):
            self._socket = stream.get_extra_info("socket")

    def cut(self) -> None:
        """End it, whoever reads from it."""
        if self._socket is not None:
            with suppress(OSError):
                # The plain socket's method: that of a TLS socket takes the socket's state from under a read.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watchdog:
    """Runs while a request runs, and cuts its line from outside when a clock runs out.

    A time-out of the HTTP client bounds one read from the socket. A server that sends a byte of a header, or a
    ping, now and then passes it for ever; only a shutdown ends a blocked read at a given moment.
    """

    def __init__(self, clocks: Clocks, line: Line) -> None:
        self._changed = threading.Condition()
        self._clocks = clocks
        self._turn_ends = time.monotonic() + clocks.turn
        self._allowed_until = math.inf
        self._awake_at = math.inf
        self._words = ""
        self._line = line
        self._over = False
        self._thread = threading.Thread(target=self._watch, name="autoroute-watchdog", daemon=True)
        self.expired = ""
        """Which clock ran out, in words; "" while none did."""

    def __enter__(self) -> Self:
        self.allow(self._clocks.first_byte, f"no answer within {self._clocks.first_byte:g} s")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        # A cancellation may have struck in the middle of taking the lock, which is then never free again.
        self._thread.join(_GOODBYE)

    def allow(self, seconds: float, words: str) -> None:
        """Start the clock anew; ``words`` are what is said when it runs out before it is started again."""
        with self._changed:
            self._allowed_until = time.monotonic() + seconds
            self._words = words
            if self._allowed_until < self._awake_at:
                self._changed.notify()

    def pause(self) -> None:
        """Stop the clock, but not that of the whole turn, while it is not the server who is waited for."""
        self.allow(math.inf, "")

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                now = time.monotonic()
                if now >= self._turn_ends:
                    self.expired = f"the turn took longer than {self._clocks.turn:g} s"
                elif now >= self._allowed_until:
                    self.expired = self._words
                if self.expired:
                    break
                self._awake_at = min(self._turn_ends, self._allowed_until)
                self._changed.wait(min(self._awake_at - now, threading.TIMEOUT_MAX))
            while not self._over:
                # Again and again: the connection may just be in the making.
                self._line.cut()
                self._changed.wait(_CUT_AGAIN)
