"""A program that runs inside a sandbox and forwards connections to the proxy outside.

Run as ``python -I -S forwarder.py SOCKET -- COMMAND...``: it listens on 127.0.0.1, port 3128, forwards every connection
to the Unix socket, runs the command with the usual proxy variables, and exits with its exit code. It imports only the
standard library, because nothing else is shown in the sandbox.
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
_CHUNK_BYTES = 65_536
_RETRY_SECONDS = 0.05
"""The pause before the next attempt when the command has used up all descriptors."""
_IDLE_SECONDS = 300.0
LINGER_SECONDS = 10.0


def main(place: str, command: list[str]) -> int:
    """Forward connections until the command ends; return its exit code, 128 and the number for a signal."""
    listener = socket.create_server(("127.0.0.1", _PORT), backlog=64)
    threading.Thread(target=_accept, args=(listener, place), daemon=True).start()
    proxies = [f"{name}={_ADDRESS}" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")]
    direct = ["NO_PROXY=localhost,127.0.0.1,::1"]
    # Some programs read the upper case names, some the lower case ones.
    variables = [form for pair in (*proxies, *direct) for form in (pair, _lower_name(pair))]
    done = subprocess.run(["/usr/bin/env", *variables, *command], check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _lower_name(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name.lower()}{equals}{value}"


def _accept(listener: socket.socket, place: str) -> None:
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:
            time.sleep(_RETRY_SECONDS)
            continue
        try:
            threading.Thread(target=_forward, args=(inner, place), daemon=True).start()
        except RuntimeError:  # the limit on threads is reached; the next connection may work
            inner.close()


def _forward(inner: socket.socket, place: str) -> None:
    with inner, suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as outer:
        outer.connect(place)
        relay(inner, outer)


def relay(
    one: socket.socket, other: socket.socket, *, idle: float = _IDLE_SECONDS, linger: float = LINGER_SECONDS
) -> None:
    """Pass bytes in both directions until both sides have finished sending, then close both sockets.

    Also close them after ``idle`` seconds without a byte, or after ``linger`` seconds once one side has finished: the
    number of connections is limited, and a peer may keep one open forever.
    """
    peers = {one: other, other: one}
    with one, other, selectors.DefaultSelector() as selector:
        for side in peers:
            side.settimeout(idle)
            selector.register(side, selectors.EVENT_READ, side)
        while selector.get_map():
            ready = selector.select(idle if len(selector.get_map()) == len(peers) else linger)
            if not ready:
                return
            for key, _ in ready:
                side = key.data
                try:
                    data = side.recv(_CHUNK_BYTES)
                    if data:
                        peers[side].sendall(data)
                        continue
                    selector.unregister(side)
                    peers[side].shutdown(socket.SHUT_WR)
                except OSError:
                    return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Not ``sys.exit``: it ends threads, for which glibc loads a library. Without a free descriptor for that, glibc
    # aborts the process, and the command would seem to have failed.
    os._exit(main(sys.argv[1], sys.argv[3:]))
