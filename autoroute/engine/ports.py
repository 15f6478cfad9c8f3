"""The ports of the engine to providers: connections, accounts, prices, known limits, pacing. Adapters are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from autoroute.errors import ProviderError
from autoroute.messages import Allowance, Usage
from autoroute.routing import Billing, Route
from autoroute.wire import Model

Switching = Literal["policy", "always", "person"]
"""Who decides about a switch of account: ``on_limit``, the user once and for all, or a person each time."""


class Cooldowns(Protocol):
    """Accounts and models that are known to be limited, across runs."""

    def record(self, route: Route, error: ProviderError) -> None:
        """Remember a limit until it resets."""
        ...

    def active_limit(self, route: Route) -> ProviderError | None:
        """Return the limit that applies now, as the provider reported it."""
        ...

    def clear(self, route: Route) -> None:
        """Forget a limit: the route answers."""
        ...


class Pacer(Protocol):
    """Keeps the requests of an account, of all runs on this machine together, within its rates."""

    def acquire(self, route: Route, tokens: int) -> float:
        """Return 0.0 to let a request of about so many tokens go, else the seconds after which to ask again."""
        ...

    def release(self, route: Route, allowances: Sequence[Allowance]) -> None:
        """Note that the request is over, and what its response says is left of the account's limits."""
        ...


class Providers(Protocol):
    """The providers of a run."""

    @property
    def cooldowns(self) -> Cooldowns:
        """The limits that are known."""
        ...

    @property
    def pacer(self) -> Pacer:
        """The pacing of requests."""
        ...

    @property
    def price_tables(self) -> str:
        """The name of the price tables that costs come from."""
        ...

    def connect(self, route: Route, root: Path) -> Model:
        """Return the model behind a route. ``root`` is the workspace, where its runner works."""
        ...

    def recheck(self, route: Route) -> None:
        """Check, with free requests only, whether a route's key is still accepted. Raises a ``ProviderError``."""
        ...

    def accounts(self, route: Route) -> Sequence[Route]:
        """Return the same model on the other accounts of its provider that have a key, in the user's order."""
        ...

    def switching(self, route: Route) -> Switching:
        """Return who decides about a switch to another account of its provider."""
        ...

    def billing(self, route: Route) -> Billing:
        """Return whether its tokens are paid for one by one, part of a flat fee, or free on the user's machine."""
        ...

    def cost(self, route: Route, usage: Usage) -> float | None:
        """Return USD for tokens; None when the price is unknown."""
        ...

    def is_model(self, route: Route, served: str) -> bool:
        """Return whether a name in a reply means the route's model."""
        ...
