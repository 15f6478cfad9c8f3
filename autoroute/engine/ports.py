"""What the engine asks of others: who can be asked, what is known of their limits, and how fast they may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from autoroute.errors import ProviderError
from autoroute.messages import Allowance, Usage
from autoroute.routing import Billing, Route
from autoroute.wire import Model

Switching = Literal["policy", "always", "person"]
"""Whether another account goes on as ``on_limit`` says, without a question in any case, or never without one."""


class Cooldowns(Protocol):
    """Accounts and models that are known to be limited, across runs."""

    def record(self, route: Route, error: ProviderError) -> None:
        """Remember a limit until it resets."""
        ...

    def active_limit(self, route: Route) -> ProviderError | None:
        """The limit that holds now, in the provider's words."""
        ...

    def clear(self, route: Route) -> None:
        """It answered all the same."""
        ...


class Pacer(Protocol):
    """Keeps an account's requests within what it may send at once and in a minute, all runs here together."""

    def acquire(self, route: Route, tokens: int) -> float:
        """0.0 lets a request of about so many tokens go; else the seconds after which to ask again."""
        ...

    def release(self, route: Route, allowances: Sequence[Allowance]) -> None:
        """The request is over; what its answer said is left of the account's limits."""
        ...


class Providers(Protocol):
    """Who can be asked."""

    @property
    def cooldowns(self) -> Cooldowns:
        """Who is known to be limited."""
        ...

    @property
    def pacer(self) -> Pacer:
        """How fast they may be asked."""
        ...

    def connect(self, route: Route, root: Path) -> Model:
        """The model behind a route, ready to be asked; ``root`` is the workspace, where its runner works."""
        ...

    def recheck(self, route: Route) -> None:
        """Look, for nothing, whether a route's key still holds. Raises a ``ProviderError``."""
        ...

    def accounts(self, route: Route) -> Sequence[Route]:
        """The same model on the other accounts of its provider that have a key, in the user's order."""
        ...

    def switching(self, route: Route) -> Switching:
        """Who decides that another account of its provider goes on."""
        ...

    def billing(self, route: Route) -> Billing:
        """Whether its tokens cost money, are part of a flat fee, or run on the user's own machine."""
        ...

    def cost(self, route: Route, usage: Usage) -> float | None:
        """USD for tokens; None when the price is not known."""
        ...

    def is_model(self, route: Route, served: str) -> bool:
        """Whether a name that a reply gave is the route's model."""
        ...
