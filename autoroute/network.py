"""What commands may connect to, as people write it: ``off``, ``on``, or ``HOST:PORT`` one or several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Network = Literal["off", "on", "listed"]
"""None at all, the machine's own, or the listed addresses by way of a proxy of ours."""
Place = tuple[str, int]
"""Host and port."""

_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_PLACE = re.compile(r"([A-Za-z0-9.-]{1,253}):([1-9][0-9]{0,4})")
_GRAMMAR = "off, on, or HOST:PORT such as registry.example:443 is expected"


@dataclass(frozen=True, slots=True)
class Reachable:
    """What commands may connect to; ``places`` are those of a list."""

    network: Network
    places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.places) or self.network


def read_reachable(value: object) -> object:
    """``off``, ``on``, or places with commas between them or as a list; raises ``ValueError`` for other text."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        return value
    words = list(dict.fromkeys(value))
    if words in ([], ["off"]):
        return Reachable("off")
    if words == ["on"]:
        return Reachable("on")
    if alone := next((word for word in words if word in ("off", "on")), ""):
        raise ValueError(f"{alone} stands alone, and here it stands beside {_others(words, alone)}")
    return Reachable("listed", tuple(_read_place(word) for word in words))


def parse_place(text: str) -> Place | None:
    """``registry.example:443`` as host and port, None for all that is not exactly that.

    A host is a name of letters, digits and hyphens with a dot in it: no address, no wildcard, no trailing dot.
    """
    found = _PLACE.fullmatch(text)
    if found is None or int(found[2]) > 65_535:
        return None
    host = found[1].lower()
    # A name whose last part begins like a number is read as an address by some resolver or other.
    if not _NAME.fullmatch(host) or host.rpartition(".")[2][0].isdigit():
        return None
    return host, int(found[2])


def _read_place(text: str) -> Place:
    place = parse_place(text)
    if place is None:
        raise ValueError(f"{_GRAMMAR}, not {text!r}")
    return place


def _others(words: list[str], alone: str) -> str:
    return ", ".join(word for word in words if word != alone)
