"""Leads connections out of a sandbox to the proxy that waits outside it: a program of its own, run within.

Run as ``python -I -S forwarder.py SOCKET -- COMMAND...``: it listens on 127.0.0.1, port 3128, passes every connection
on to the Unix socket, runs the command with the usual proxy variables, and ends as it ended.
"""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import sys
import threading

_PORT = 3128
_ADDRESS = f"http://127.0.0.1:{_PORT}"
_CHUNK = 65_536


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
        inner, _ = listener.accept()
        outer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            outer.connect(place)
        except OSError:
            inner.close()
            continue
        threading.Thread(target=carry, args=(inner, outer), daemon=True).start()


def carry(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until both sides have said all; then close."""
    ways = {one: other, other: one}
    with one, other, selectors.DefaultSelector() as selector:
        for side in ways:
            selector.register(side, selectors.EVENT_READ, side)
        while selector.get_map():
            for key, _ in selector.select():
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
    sys.exit(main(sys.argv[1], sys.argv[3:]))
