"""How models are spoken to: one transport (``http.py``), one codec a protocol, one row each in ``_ADAPTERS``.

The engine knows this seam and no adapter behind it. A ``Runner`` is the other way to a model: through a vendor's own
program, which drives the tool loop.
"""

from __future__ import annotations

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
class JsonResponse:
    """What a free request got: JSON data, and the server's time of day."""

    data: Any
    date: datetime | None


@dataclass(frozen=True, slots=True)
class RouteCheck:
    """Something that a runner found out about a route, for nothing. ``hint`` is what mends it."""

    check: str
    """In a word: ``binary``, ``login``."""
    status: Literal["ok", "warning", "error"]
    summary: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.CREDENTIALS


class Runner(Protocol):
    """A vendor's program that speaks to models, and the logins that it keeps."""

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
        """The model behind a route; ``root`` is the folder that it works in. Nothing is started yet.

        Raises ``ConfigError`` without the program. ``until_spent`` ignores the thresholds for leaving it early.
        """
        ...

    def check_route(self, profile: ProviderProfile, route: Route) -> Iterator[RouteCheck]:
        """What can be known for nothing, in order; the first error ends it."""
        ...

    def recheck_login(self, route: Route) -> None:
        """Look again whether a login still holds. Raises ``Unauthorized``."""
        ...

    def is_ready(self, account: str) -> bool | None:
        """Whether an account is logged in; None when the program could not say."""
        ...

    def billing(self, account: str) -> Billing:
        """What an account's tokens cost: a Console login pays for each, a subscription does not."""
        ...


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


def connect(
    profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks, redactor: Redactor | None = None
) -> Model:
    """The model behind a route, ready to be asked; nothing is sent yet.

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
    """The model behind a route, by the runner of its provider; see ``connect`` and ``Runner.connect``."""
    if profile.runner == "native":
        return connect(profile, route, secret, clocks, redactor)
    if runner is None:
        raise ConfigError(f"{profile.name}/ goes by {profile.runner}, which has no part in this")
    return runner.connect(profile, route, secret, clocks, root, until_spent=until_spent)


def fetch_json(
    profile: ProviderProfile, path: str, route: Route, secret: Secret | None, clocks: Clocks
) -> JsonResponse:
    """The JSON that a provider answers to a free GET with the account's key. Raises a ``ProviderError``."""
    data, date = import_module("autoroute.wire.http").fetch_json(profile, path, route, secret, clocks)
    return JsonResponse(data, date)


def download_json(url: str, clocks: Clocks) -> Any:
    """The JSON at a public address. Raises a ``ProviderError``."""
    return import_module("autoroute.wire.http").download_json(url, clocks)
