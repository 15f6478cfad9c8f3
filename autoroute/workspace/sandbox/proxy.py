"""The proxy for commands with a listed network: it accepts CONNECT to the listed hosts and ports, and nothing else.

It listens on a private Unix socket that is mounted into the sandbox; no TCP port is opened. TLS passes through as it
is, so a command can send anything to an allowed host.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from autoroute.network import Address, parse_address
from autoroute.patterns import pattern
from autoroute.workspace.sandbox.forwarder import LINGER_SECONDS, relay

_CONNECT = pattern(rb"CONNECT ([\x21-\x7e]{1,300}) HTTP/1\.[01]\r\n")
_MAX_REQUEST_BYTES = 8_192
_TIMEOUT_SECONDS = 20.0
_MAX_CONNECTIONS = 64
_RETRY_SECONDS = 0.05
"""The pause before the next attempt when the machine has no descriptor or thread left."""
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_REFUSED_NETWORKS = tuple(map(ipaddress.IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "168.63.129.16/32")))
"""Carrier-grade NAT, protocol assignments, and the address at which Azure serves its own machines."""

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port, as text."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host that the system's resolver finds."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Return whether an address is on the internet: not of this machine, a private network or a cloud's own services.

    The metadata service of a cloud, for example, gives out credentials to anyone who can reach 169.254.169.254.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = ip.ipv4_mapped or ip.sixtofour if isinstance(ip, ipaddress.IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    if isinstance(ip, ipaddress.IPv6Address):
        # Other addresses are local, or contain an IPv4 address to which some gateway translates them.
        return ip.is_global and ip in _GLOBAL_UNICAST
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _REFUSED_NETWORKS)


class Proxy:
    """A proxy that listens on ``socket`` while its context is entered; ``user`` may connect besides us.

    ``timeout`` is for reading a whole request, and ``linger`` for a connection that one side has finished, both in
    seconds. A host name is resolved once, each of its addresses has to pass ``is_allowed``, and the connection goes to
    one of those addresses. Resolving it again could give a private address (DNS rebinding).
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        user: int | None = None,
        *,
        resolve: Resolve = resolve,
        is_allowed: Callable[[str], bool] = is_public,
        timeout: float = _TIMEOUT_SECONDS,
        linger: float = LINGER_SECONDS,
    ) -> None:
        self._addresses = frozenset(addresses)
        self._user = user
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._timeout = timeout
        self._linger = linger
        self._free_connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._folder = Path(tempfile.mkdtemp(prefix="autoroute-proxy-"))
        self.socket = self._folder / "socket"

    def __enter__(self) -> Proxy:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            # The path of a Unix socket has at most 107 bytes, and that of the folder may be longer.
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
        """Serve a limited number of connections, so that a command cannot use up descriptors that autoroute needs."""
        while True:
            self._free_connections.acquire()
            try:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()
            except (OSError, RuntimeError):
                self._free_connections.release()
                if self._listener.fileno() < 0:
                    return
                time.sleep(_RETRY_SECONDS)

    def _serve_one(self, client: socket.socket) -> None:
        try:
            self._serve(client)
        finally:
            self._free_connections.release()

    def _serve(self, client: socket.socket) -> None:
        try:
            address, rest = self._read_request(client)
            server = self._connect(address)
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
        relay(client, server, linger=self._linger)

    def _read_request(self, client: socket.socket) -> tuple[Address, bytes]:
        """Return the address that a client asks for, and the bytes that it sent after its request."""
        # One deadline for all of it: a client that sends a byte now and then would hold the connection forever.
        head, deadline = b"", time.monotonic() + self._timeout
        while b"\r\n\r\n" not in head:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _Refused("408 Request Timeout")
            client.settimeout(left)
            data = client.recv(4_096)
            if not data or len(head) + len(data) > _MAX_REQUEST_BYTES:
                raise _Refused("400 Bad Request")
            head += data
        lines, _, rest = head.partition(b"\r\n\r\n")
        found = _CONNECT.match(lines + b"\r\n")
        if found is None:
            raise _Refused("405 Method Not Allowed")
        address = parse_address(found[1].decode("ascii"))
        if address is None or address not in self._addresses:
            raise _Refused("403 Forbidden")
        return address, rest

    def _connect(self, address: Address) -> socket.socket:
        try:
            resolved = self._resolve(*address)
        except OSError:
            raise _Refused("502 Bad Gateway") from None
        if not resolved or not all(self._is_allowed(ip) for ip in resolved):
            raise _Refused("403 Forbidden")
        for ip in resolved:
            with suppress(OSError):
                server = socket.create_connection((ip, address[1]), timeout=_TIMEOUT_SECONDS)
                if _is_this_machine(server):
                    server.close()
                    raise _Refused("403 Forbidden")
                return server
        raise _Refused("502 Bad Gateway")


def _is_this_machine(server: socket.socket) -> bool:
    """Return whether a connection leads to a public address of this machine; ``is_public`` refuses loopback ones."""
    peer = server.getpeername()[0]
    return bool(peer == server.getsockname()[0]) and not ipaddress.ip_address(peer.partition("%")[0]).is_loopback


class _Refused(Exception):
    """A refused request; the message is the status line of the response, such as ``403 Forbidden``."""
