"""The network access of commands, as people write it: ``off``, ``on``, or a list of ``HOST:PORT``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoroute.patterns import pattern

NetworkMode = Literal["off", "on", "listed"]
"""No network, the machine's own, or the listed addresses through autoroute's proxy."""
Address = tuple[str, int]
"""A host name and a port."""

_HOST = pattern(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_ADDRESS = pattern(r"([A-Za-z0-9.-]{1,253}):([1-9][0-9]{0,4})")
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class NetworkAccess:
    """What commands may connect to. ``addresses`` is empty unless the mode is ``listed``."""

    mode: NetworkMode
    addresses: tuple[Address, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.addresses) or self.mode


def parse_network_access(value: object) -> object:
    """Parse ``off``, ``on``, or addresses: a list of texts, or one text with commas.

    Raises ``ValueError`` for any other text. A value of another type is returned as it is, for pydantic to refuse.
    """
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        return value
    parts = list(dict.fromkeys(value))
    if parts in ([], ["off"]):
        return NetworkAccess("off")
    if parts == ["on"]:
        return NetworkAccess("on")
    if mode := next((part for part in parts if part in ("off", "on")), ""):
        others = ", ".join(part for part in parts if part != mode)
        raise ValueError(f"{mode} cannot be combined with {others}")
    return NetworkAccess("listed", tuple(_require_address(part) for part in parts))


def parse_address(text: str) -> Address | None:
    """Return ``registry.example:443`` as host and port; None for any other form.

    A host is a name of letters, digits and hyphens with at least one dot. IP addresses, wildcards and a trailing dot
    are not accepted: the proxy compares names, and each name must have one spelling.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[2]) > _MAX_PORT:
        return None
    host = found[1].lower()
    # Some resolvers read a name whose last label begins with a digit as an IP address: 127.1, 0x7f.1.
    if not _HOST.fullmatch(host) or host.rpartition(".")[2][0].isdigit():
        return None
    return host, int(found[2])


def _require_address(text: str) -> Address:
    address = parse_address(text)
    if address is None:
        raise ValueError(f"{text!r} is not valid: write off, on, or HOST:PORT, as registry.example:443")
    return address
