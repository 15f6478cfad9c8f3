"""A loopback server that sends exactly the bytes of a test, valid or not."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

Answer = Callable[[socket.socket], bool]
"""A function that answers one request and returns whether the connection stays open."""

_PACE = 0.02


def respond(body: bytes = b"", status: str = "200 OK", **headers: str) -> Answer:
    """Answer with a whole response and its length."""

    def answer(client: socket.socket) -> bool:
        fields = {"content-length": str(len(body)), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        client.sendall(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
        return True

    return answer


def stream(*pieces: bytes, **headers: str) -> Answer:
    """Answer with a chunked event stream that ends properly."""

    def answer(client: socket.socket) -> bool:
        start_stream(client, **headers)
        for piece in pieces:
            send_piece(client, piece)
        client.sendall(b"0\r\n\r\n")
        return True

    return answer


def cut(*pieces: bytes) -> Answer:
    """Answer with a chunked event stream whose connection is closed before its end."""

    def answer(client: socket.socket) -> bool:
        start_stream(client)
        for piece in pieces:
            send_piece(client, piece)
        return False

    return answer


def raw(data: bytes) -> Answer:
    """Answer with these bytes, and close the connection."""

    def answer(client: socket.socket) -> bool:
        client.sendall(data)
        return False

    return answer


def stall(data: bytes = b"") -> Answer:
    """Answer with these bytes, then send nothing until the client disconnects."""

    def answer(client: socket.socket) -> bool:
        client.sendall(data)
        with suppress(OSError):
            client.recv(1)
        return False

    return answer


def drip(data: bytes, piece: bytes) -> Answer:
    """Answer with these bytes, then ``piece`` repeatedly until the client disconnects (at most ten seconds)."""

    def answer(client: socket.socket) -> bool:
        with suppress(OSError):
            client.sendall(data)
            for _ in range(int(10 / _PACE)):
                if select.select([client], [], [], _PACE)[0]:
                    break
                client.sendall(piece)
        return False

    return answer


@dataclass
class Flood:
    """An endless answer: the head, then bytes as long as the client reads (at most a gigabyte); counts them."""

    head: bytes
    taken: int = 0

    def __call__(self, client: socket.socket) -> bool:
        with suppress(OSError):
            client.sendall(self.head)
            while self.taken < 1 << 30:
                self.taken += client.send(bytes(1 << 16))
        return False


@dataclass
class Interruption:
    """An answer that starts ``answer`` and has another thread call ``interrupt``; measures the time since then."""

    interrupt: Callable[[], None]
    answer: Answer
    _begun: threading.Event = field(default_factory=threading.Event)
    _interrupted_at: float = 0.0

    def __call__(self, client: socket.socket) -> bool:
        self.begin()
        return self.answer(client)

    def begin(self) -> None:
        """Let the thread interrupt now."""
        self._begun.set()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.begin()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the interrupt."""
        assert self._interrupted_at, "nothing was interrupted"
        return time.monotonic() - self._interrupted_at

    def _run(self) -> None:
        self._begun.wait()
        self._interrupted_at = time.monotonic()
        self.interrupt()


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def start_stream(client: socket.socket, **headers: str) -> None:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    client.sendall(STREAM_HEAD[:-2] + lines.encode() + b"\r\n")


def chunk(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def send_piece(client: socket.socket, piece: bytes) -> None:
    if piece:
        client.sendall(chunk(piece))


@dataclass(frozen=True)
class Received:
    """A request as it arrived; ``connection`` counts connections from 1."""

    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)
        return data


@dataclass
class RawServer:
    """A server that gives the answers in turn, and repeats the last one."""

    answers: tuple[Answer, ...]
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connections.append(client)
                thread = threading.Thread(target=self._serve, args=(client, len(self._connections)))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, connection: int) -> None:
        with suppress(OSError), client, client.makefile("rb") as reader:
            while (line := reader.readline()).startswith((b"POST ", b"GET ")):
                target = line.split()[1].decode()
                headers = {}
                while (header := reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", 0)))
                self.received.append(Received(target, headers, body, connection))
                answer = self.answers[min(len(self.received), len(self.answers)) - 1]
                if not answer(client):
                    return


def serve(*answers: Answer) -> RawServer:
    return RawServer(answers)
