"""How models are asked: one transport a client library, one codec a protocol, and one row each in ``_ADAPTERS``.

    streaming.py     the model behind every HTTP wire     http.py, platforms.py      its transports: httpx, the SDK
    codec.py         what a protocol implements           anthropic_messages.py, openai_*.py   the protocols
    watchdog.py      the clocks of a request              sse.py, payload.py         events and JSON on the wire
    response.py      how a response is judged             classification.py, error_bodies.py, reset_times.py   errors
    scripted.py      replies from a file

The engine knows this module and none of the adapters behind it. A ``Runner`` is the other way to a model: a vendor's
own program, which drives the tool loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from autoroute.errors import ConfigError, ExitCode
from autoroute.messages import Delta, Reply, Request
from autoroute.redaction import Redactor
from autoroute.routing import Billing, Clocks, ProviderProfile, Route, Secret


class Model(Protocol):
    """One model of one account, ready for requests. One request at a time; ``interrupt`` is for other threads."""

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn: deltas as they arrive, then the complete reply as the last item.

        Raises a ``ProviderError``, also after some deltas; a turn that raised has no reply.
        Closing the iterator ends the request.
        """
        ...

    def digest(self, request: Request) -> str:
        """Return the SHA-256, in hexadecimal, of the body that ``ask(request)`` sends.

        A model that sends no body itself hashes the request's own JSON. Nothing is sent, and the ``ask`` that follows
        encodes nothing again.
        """
        ...

    def interrupt(self) -> None:
        """End the request in flight at once, from any thread; its ``ask`` then raises ``Unreachable``.

        A reply that was complete by then is still returned. Without a request in flight nothing happens, and the next
        one is not affected: a caller that races with the start of a request calls again.
        """
        ...

    def close(self) -> None:
        """Close connections and end processes. The next ``ask`` opens them again."""
        ...


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """The JSON data of a free request, and the server's time of day."""

    data: Any
    date: datetime | None


@dataclass(frozen=True, slots=True)
class RouteCheck:
    """One free check of a route by its runner. ``hint`` says how to fix what it found."""

    check: str
    """In a word: ``binary``, ``login``."""
    status: Literal["ok", "warning", "error"]
    summary: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.CREDENTIALS


class Runner(Protocol):
    """A vendor's program that talks to models, and the logins that it keeps."""

    def connect(
        self,
        profile: ProviderProfile,
        route: Route,
        secret: Secret | None,
        clocks: Clocks,
        root: Path,
        *,
        until_spent: bool = False,
    ) -> Model:
        """Return the model behind a route, which works in the folder ``root``. No process is started yet.

        Raises ``ConfigError`` without the program. ``until_spent`` ignores the thresholds for leaving it early.
        """
        ...

    def check_route(self, profile: ProviderProfile, route: Route) -> Iterator[RouteCheck]:
        """Yield what can be checked for free, in order; the first error is the last."""
        ...

    def recheck_login(self, route: Route) -> None:
        """Check again that a login is valid. Raises ``Unauthorized``."""
        ...

    def is_ready(self, account: str) -> bool | None:
        """Return whether an account is logged in; None when the program could not tell."""
        ...

    def billing(self, account: str) -> Billing:
        """Return how an account's tokens are billed: a Console login pays for each, a subscription does not."""
        ...


_ADAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "anthropic-messages": "autoroute.wire.anthropic_messages",
        "openai-chat": "autoroute.wire.openai_chat",
        "openai-responses": "autoroute.wire.openai_responses",
        "scripted": "autoroute.wire.scripted",
    }
)
"""Wire -> the module whose ``connect`` makes its models, imported when a route first needs it."""

WIRES = tuple(_ADAPTERS)


def connect(
    profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks, redactor: Redactor | None = None
) -> Model:
    """Return the model behind a route; nothing is sent yet.

    ``redactor`` learns the keys that a platform's own tools find. Raises ``ConfigError`` for a profile that its wire
    cannot use.
    """
    if profile.platform:
        model: Model = import_module("autoroute.wire.platforms").connect(profile, route, clocks, redactor or Redactor())
        return model
    make: Callable[[ProviderProfile, Route, Secret | None, Clocks], Model]
    make = import_module(_ADAPTERS[profile.wire]).connect
    return make(profile, route, secret, clocks)


def connect_with_runner(
    runner: Runner | None,
    profile: ProviderProfile,
    route: Route,
    secret: Secret | None,
    clocks: Clocks,
    root: Path,
    *,
    until_spent: bool = False,
    redactor: Redactor | None = None,
) -> Model:
    """Return the model behind a route, from its provider's runner; see ``connect`` and ``Runner.connect``."""
    if profile.runner == "native":
        return connect(profile, route, secret, clocks, redactor)
    if runner is None:
        raise ConfigError(f"{profile.title or profile.name} needs the runner {profile.runner}, which is not available")
    return runner.connect(profile, route, secret, clocks, root, until_spent=until_spent)


def fetch_json(
    profile: ProviderProfile, path: str, route: Route, secret: Secret | None, clocks: Clocks
) -> JsonResponse:
    """Return the JSON of a free GET with the account's key; ``path`` is relative to the base URL.

    Raises a ``ProviderError``.
    """
    data, date = import_module("autoroute.wire.http").fetch_json(profile, path, route, secret, clocks)
    return JsonResponse(data, date)


def close_idle_connections() -> None:
    """Close the connections that were kept for requests to come, after a run in a program that goes on."""
    if http := sys.modules.get("autoroute.wire.http"):
        http.close_idle_connections()


def download_json(url: str, clocks: Clocks) -> Any:
    """Return the JSON at a public address. Raises a ``ProviderError``."""
    return import_module("autoroute.wire.http").download_json(url, clocks)
