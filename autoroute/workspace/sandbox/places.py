"""The grammar of what a command may connect to: ``HOST:PORT``, and nothing that one reader takes for another."""

from __future__ import annotations

import re

from autoroute.errors import ConfigError

Place = tuple[str, int]

_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_PLACE = re.compile(r"([A-Za-z0-9.-]{1,253}):([1-9][0-9]{0,4})")


def read_place(text: str) -> Place:
    """``registry.example:443`` as host and port. Raises ``ConfigError`` for all that is not exactly that.

    A host is a name of letters, digits and hyphens with a dot in it: no address, no wildcard, no trailing dot.
    """
    place = parse_place(text)
    if place is None:
        raise ConfigError(f"network: {text!r} is no HOST:PORT", hint="registry.example:443, with a name and a port")
    return place


def parse_place(text: str) -> Place | None:
    """The same, None for what is none."""
    found = _PLACE.fullmatch(text)
    if found is None or int(found[2]) > 65_535:
        return None
    host = found[1].lower()
    # A name whose last part begins like a number is read as an address by some resolver or other.
    if not _NAME.fullmatch(host) or host.rpartition(".")[2][0].isdigit():
        return None
    return host, int(found[2])
