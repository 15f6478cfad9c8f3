"""Leads connections out of a sandbox to the proxy that waits outside it: a program of its own, run within.

Run as ``python -I -S forwarder.py SOCKET -- COMMAND...``: it listens on 127.0.0.1, port 3128, passes every connection
on to the Unix socket, runs the command with the usual proxy variables, and ends as it ended.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

_PORT = 3128
_ADDRESS = f"http://127.0.0.1:{_PORT}"
_CHUNK = 65_536
_PAUSE = 0.05
"""Seconds after which a command that had no handle left is asked again."""
_IDLE, LINGER = 300.0, 10.0


def main(place: str, command: list[str]) -> int:
    """Forward until the command has ended; its exit code."""
    listener = socket.create_server(("127.0.0.1", _PORT), backlog=64)
    threading.Thread(target=_accept, args=(listener, place), daemon=True).start()
    proxies = [f"{name}={_ADDRESS}" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")]
    direct = ["NO_PROXY=localhost,127.0.0.1,::1"]
    # Some programs read the one spelling, some the other.
    variables = [form for pair in (*proxies, *direct) for form in (pair, _lower(pair))]
    done = subprocess.run(["/usr/bin/env", *variables, *command], check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _lower(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name.lower()}{equals}{value}"


def _accept(listener: socket.socket, place: str) -> None:
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:
            time.sleep(_PAUSE)
            continue
        try:
            threading.Thread(target=_lead_out, args=(inner, place), daemon=True).start()
        except RuntimeError:  # no thread is left: the next connection may find one
            inner.close()


def _lead_out(inner: socket.socket, place: str) -> None:
    with inner, suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as outer:
        outer.connect(place)
        carry(inner, outer)


def carry(one: socket.socket, other: socket.socket, *, idle: float = _IDLE, linger: float = LINGER) -> None:
    """Pass bytes both ways until both sides have said all; then close.

    Nobody holds a connection for nothing: without a byte for ``idle`` seconds, or for ``linger`` seconds once one side
    has said all, it is over.
    """
    ways = {one: other, other: one}
    with one, other, selectors.DefaultSelector() as selector:
        for side in ways:
            side.settimeout(idle)
            selector.register(side, selectors.EVENT_READ, side)
        while selector.get_map():
            ready = selector.select(idle if len(selector.get_map()) == len(ways) else linger)
            if not ready:
                return
            for key, _ in ready:
                side = key.data
                try:
                    data = side.recv(_CHUNK)
                    if data:
                        ways[side].sendall(data)
                        continue
                    selector.unregister(side)
                    ways[side].shutdown(socket.SHUT_WR)
                except OSError:
                    return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Python's own way out lets the threads end themselves, for which glibc loads a library: where no handle is left for
    # that, it would end the process, and the command would seem to have failed.
    os._exit(main(sys.argv[1], sys.argv[3:]))
