"""How models are spoken to: one transport (``http.py``), one codec a protocol, one row each in ``_ADAPTERS``.

The engine knows this seam and no adapter behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol

from autoroute.messages import Delta, Reply, Request
from autoroute.routing import Clocks, ProviderProfile, Route, Secret


class Model(Protocol):
    """One model of one account, ready to be asked."""

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn: deltas as they arrive, then the complete reply as the last item.

        Raises a ``ProviderError``, also in the middle; nothing of a turn that raised was answered.
        Closing the iterator ends the request.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a free request got: JSON data, and the server's time of day."""

    data: Any
    date: datetime | None


_ADAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "anthropic-messages": "autoroute.wire.anthropic_messages",
        "openai-chat": "autoroute.wire.openai_chat",
        "openai-responses": "autoroute.wire.openai_responses",
        "scripted": "autoroute.wire.scripted",
    }
)
"""Wire -> its module, whose ``connect`` makes a model; loaded when a route first needs it."""

WIRES = tuple(_ADAPTERS)


def connect(profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks) -> Model:
    """The model behind a route, ready to be asked; nothing is sent yet.

    Raises ``ConfigError`` for a profile that its wire cannot use.
    """
    make: Callable[[ProviderProfile, Route, Secret | None, Clocks], Model]
    make = import_module("autoroute.wire.platforms" if profile.platform else _ADAPTERS[profile.wire]).connect
    return make(profile, route, secret, clocks)


def look(profile: ProviderProfile, path: str, route: Route, secret: Secret | None, clocks: Clocks) -> Answer:
    """The JSON that a provider answers to a free GET with the account's key. Raises a ``ProviderError``."""
    data, date = import_module("autoroute.wire.http").look(profile, path, route, secret, clocks)
    return Answer(data, date)


def download(url: str, clocks: Clocks) -> Any:
    """The JSON at a public address. Raises a ``ProviderError``."""
    return import_module("autoroute.wire.http").download(url, clocks)
