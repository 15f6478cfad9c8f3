"""The one way out of a sandbox whose network is listed: CONNECT to the listed hosts and ports, and nothing else.

It listens on a private Unix socket that is put into the sandbox. TLS goes through as it is, so a host that is
allowed is one that anything can be sent to.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from autoroute.network import Address, parse_address
from autoroute.workspace.sandbox.forwarder import LINGER, carry

_CONNECT = re.compile(rb"CONNECT ([\x21-\x7e]{1,300}) HTTP/1\.[01]\r\n")
_LONGEST_HEAD = 8_192
_SECONDS = 20.0
_AT_ONCE = 64
_PAUSE = 0.05
"""Seconds after which a machine that had no handle or thread left is asked again."""
_INTERNET_6 = ipaddress.ip_network("2000::/3")
_NEVER = tuple(map(ipaddress.IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "168.63.129.16/32")))
"""Shared by customers of a provider, kept for protocols, and where a cloud answers its machines."""

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, as text."""


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the system knows."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's: not this machine's, not this network's, not a cloud's own."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = ip.ipv4_mapped or ip.sixtofour if isinstance(ip, ipaddress.IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    if isinstance(ip, ipaddress.IPv6Address):
        # All that is not in there is local, or an address of version 4 that some gateway reads out of it.
        return ip.is_global and ip in _INTERNET_6
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NEVER)


class Proxy:
    """Listens while it is entered; ``socket`` is where. ``user`` may connect beside us; ``looks_up`` is the resolver.

    A client has ``seconds`` for its request, and a connection that one side has left ends after ``linger`` seconds.
    ``accepts`` says of an address whether it may be gone to; what a name leads to is looked up once and checked, and
    that address is the one that is connected to.
    """

    def __init__(
        self,
        places: Sequence[Address],
        user: int | None = None,
        *,
        looks_up: Resolve = resolve,
        accepts: Callable[[str], bool] = is_public,
        seconds: float = _SECONDS,
        linger: float = LINGER,
    ) -> None:
        self._places = frozenset(places)
        self._user = user
        self._looks_up = looks_up
        self._accepts = accepts
        self._seconds = seconds
        self._linger = linger
        self._places_left = threading.BoundedSemaphore(_AT_ONCE)
        self._folder = Path(tempfile.mkdtemp(prefix="autoroute-proxy-"))
        self.socket = self._folder / "socket"

    def __enter__(self) -> Proxy:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            # An address of this family is 107 bytes at most, a folder for temporary files may be deeper.
            self._listener.bind(f"/proc/self/fd/{folder}/{self.socket.name}")
        finally:
            os.close(folder)
        self.socket.chmod(0o600)
        if self._user is not None:
            os.chown(self.socket, self._user, self._user)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(OSError):
            self.socket.unlink()
            self._folder.rmdir()

    def _accept(self) -> None:
        """Serve so many at once and no more: a command must not use up what autoroute itself needs."""
        while True:
            self._places_left.acquire()
            try:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()
            except (OSError, RuntimeError):
                self._places_left.release()
                if self._listener.fileno() < 0:
                    return
                time.sleep(_PAUSE)

    def _serve_one(self, client: socket.socket) -> None:
        try:
            self._serve(client)
        finally:
            self._places_left.release()

    def _serve(self, client: socket.socket) -> None:
        try:
            place, rest = self._read_request(client)
            server = self._connect(place)
        except _Refused as refusal:
            with suppress(OSError):
                client.sendall(f"HTTP/1.1 {refusal}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            client.close()
            return
        except OSError:
            client.close()
            return
        with suppress(OSError):
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if rest:
                server.sendall(rest)
        carry(client, server, linger=self._linger)

    def _read_request(self, client: socket.socket) -> tuple[Address, bytes]:
        head, deadline = b"", time.monotonic() + self._seconds
        while b"\r\n\r\n" not in head:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _Refused("408 Request Timeout")
            client.settimeout(left)
            data = client.recv(4_096)
            if not data or len(head) + len(data) > _LONGEST_HEAD:
                raise _Refused("400 Bad Request")
            head += data
        lines, _, rest = head.partition(b"\r\n\r\n")
        found = _CONNECT.match(lines + b"\r\n")
        if found is None:
            raise _Refused("405 Method Not Allowed")
        place = parse_address(found[1].decode("ascii"))
        if place is None or place not in self._places:
            raise _Refused("403 Forbidden")
        return place, rest

    def _connect(self, place: Address) -> socket.socket:
        try:
            addresses = self._looks_up(*place)
        except OSError:
            raise _Refused("502 Bad Gateway") from None
        if not addresses or not all(self._accepts(address) for address in addresses):
            raise _Refused("403 Forbidden")
        for address in addresses:
            with suppress(OSError):
                server = socket.create_connection((address, place[1]), timeout=_SECONDS)
                if _is_our_own(server):
                    server.close()
                    raise _Refused("403 Forbidden")
                return server
        raise _Refused("502 Bad Gateway")


def _is_our_own(server: socket.socket) -> bool:
    """Whether it leads to this machine by an address that the internet knows; a loopback one says so by itself."""
    peer = server.getpeername()[0]
    return bool(peer == server.getsockname()[0]) and not ipaddress.ip_address(peer.partition("%")[0]).is_loopback


class _Refused(Exception):
    """An answer to a client: status and reason."""
