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

_CUT_INTERVAL_SECONDS = 0.05
_JOIN_TIMEOUT_SECONDS = 2.0
"""How long the end of a request waits for its thread, which normally ends at once."""


@runtime_checkable
class _NetworkStream(Protocol):
    """A network stream, as the ``trace`` extension of httpx and httpx2 shows it."""

    def get_extra_info(self, info: str) -> Any: ...


class Connection:
    """The network connection that the requests of one HTTP client use, one after the other."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def trace(self, _name: str, info: Mapping[str, object]) -> None:
        """Note the socket that was opened for a request; this is a callback for the ``trace`` extension."""
        stream = info.get("return_value")
        if isinstance(stream, _NetworkStream):
            self._socket = stream.get_extra_info("socket")

    def follow(self, other: Connection) -> None:
        """Take over the socket of a connection that was kept."""
        self._socket = other._socket

    def cut(self) -> None:
        """Shut the socket down, so that a read that is blocked on it returns."""
        if self._socket is not None:
            with suppress(OSError):
                # The plain socket's method: SSLSocket.shutdown drops the TLS state that a blocked read still uses.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watchdog:
    """A context manager that runs beside a request and cuts its connection when a clock runs out.

    A timeout of the HTTP client bounds one read from the socket. A server that now and then sends one byte of a
    header, or a ping, never exceeds it. Only a shutdown of the socket ends a blocked read at a given moment.
    """

    def __init__(self, clocks: Clocks, connection: Connection) -> None:
        self._changed = threading.Condition()
        self._clocks = clocks
        self._turn_ends = time.monotonic() + clocks.turn
        self._allowed_until = math.inf
        self._awake_at = math.inf
        self._reason = ""
        self._connection = connection
        self._over = False
        self._thread = threading.Thread(target=self._watch, name="autoroute-watchdog", daemon=True)
        self.cut_reason = ""
        """Why the connection was cut; "" while it was not."""

    def __enter__(self) -> Self:
        self.allow(self._clocks.first_byte, f"no response within {self._clocks.first_byte:g} s")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        # Bounded: a signal handler that raised while the lock was being taken leaves it locked forever.
        self._thread.join(_JOIN_TIMEOUT_SECONDS)

    def allow(self, seconds: float, reason: str) -> None:
        """Restart the clock; ``reason`` becomes ``cut_reason`` if it runs out before the next restart."""
        with self._changed:
            self._allowed_until = time.monotonic() + seconds
            self._reason = reason
            if self._allowed_until < self._awake_at:
                self._changed.notify()

    def pause(self) -> None:
        """Stop the clock while the consumer, not the server, is the slow one. The turn's clock goes on."""
        self.allow(math.inf, "")

    def interrupt(self, reason: str) -> None:
        """Cut the connection now, from any thread. A request that has already ended is not affected."""
        with self._changed:
            if not self._over:
                self.cut_reason = self.cut_reason or reason
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._over and not self.cut_reason:
                now = time.monotonic()
                if now >= self._turn_ends:
                    self.cut_reason = f"the turn took longer than {self._clocks.turn:g} s"
                elif now >= self._allowed_until:
                    self.cut_reason = self._reason
                else:
                    self._awake_at = min(self._turn_ends, self._allowed_until)
                    self._changed.wait(min(self._awake_at - now, threading.TIMEOUT_MAX))
            while not self._over:
                # Repeated: the client may be opening a connection at this moment.
                self._connection.cut()
                self._changed.wait(_CUT_INTERVAL_SECONDS)
