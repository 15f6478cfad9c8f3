"""Loopback listeners of every socket family, and what they received."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s"


class Listeners:
    """Listeners that accept connections and datagrams until closed. ``names`` are their ports and paths.

    Clients that connect get ``secret``, as from an agent that holds keys.
    """

    def __init__(self, folder: Path, shared: Path, mark: str, secret: str) -> None:
        self._heard: list[str] = []
        self._secret = secret.encode()
        self._selector = selectors.DefaultSelector()
        self._nudge, nudged = socket.socketpair()
        self._passed = threading.Event()
        self._selector.register(nudged, selectors.EVENT_READ, "nudge")
        names: dict[str, str] = {}
        for name, family, address in (
            ("TCP4", socket.AF_INET, ("127.0.0.1", 0)),
            ("TCP6", socket.AF_INET6, ("::1", 0)),
        ):
            names[name] = self._listen(name, family, socket.SOCK_STREAM, address)
        for name, family, address in (
            ("UDP4", socket.AF_INET, ("127.0.0.1", 0)),
            ("UDP6", socket.AF_INET6, ("::1", 0)),
        ):
            names[name] = self._listen(name, family, socket.SOCK_DGRAM, address)
        for name, kind, path in (
            ("AGENT", socket.SOCK_STREAM, str(folder / "agent")),
            ("LOG", socket.SOCK_DGRAM, str(folder / "log")),
            ("DAEMON", socket.SOCK_STREAM, str(shared / "daemon")),
            ("ABSTRACT", socket.SOCK_STREAM, f"\0escapes-{mark}"),
            ("", socket.SOCK_DGRAM, f"\0escapes-{mark}-dgram"),
        ):
            self._listen(name or "ABSTRACT", socket.AF_UNIX, kind, path)
            if name:
                names[name] = path.lstrip("\0")
        self.names: Mapping[str, str] = names
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def take(self) -> list[str]:
        """Return what was received since the last call, including everything that has arrived by now."""
        self._passed.clear()
        self._nudge.send(b"?")
        self._passed.wait()
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Stop listening."""
        self._nudge.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _listen(self, name: str, family: int, kind: int, address: object) -> str:
        try:
            made = socket.socket(family, kind)
            made.bind(address)  # type: ignore[arg-type]
        except OSError:
            return "1"  # a machine without IPv6
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        made.settimeout(0)
        self._selector.register(made, selectors.EVENT_READ, name)
        return "" if family == socket.AF_UNIX else str(made.getsockname()[1])

    def _serve(self) -> None:
        while True:
            ready = [key for key, _ in self._selector.select()]
            # The nudge comes last: everything that was ready before it has been read when it is answered.
            for key in sorted(ready, key=lambda key: key.data == "nudge"):
                assert isinstance(key.fileobj, socket.socket)
                if key.data == "nudge":
                    if not key.fileobj.recv(1):
                        return
                    self._passed.set()
                else:
                    self._hear(key.data, key.fileobj)

    def _hear(self, name: str, made: socket.socket) -> None:
        with suppress(OSError):
            if made.type == socket.SOCK_DGRAM:
                while True:
                    made.recv(4096)
                    self._heard.append(name)
            while True:
                connection, _ = made.accept()
                self._heard.append(name)
                connection.settimeout(0.2)
                with connection, suppress(OSError):
                    answer = _ANSWER % (len(self._secret), self._secret)
                    connection.sendall(self._secret if made.family == socket.AF_UNIX else answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(4096)


def terminal() -> tuple[int, int, str]:
    """Open a terminal of the user; return its two ends and its name."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    return ours, theirs, os.ttyname(theirs)
