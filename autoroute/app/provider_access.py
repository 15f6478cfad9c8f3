"""The providers as the engine sees them: connections, accounts, prices, known limits and pacing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from autoroute import wire
from autoroute.config.resolve import ResolvedConfig
from autoroute.engine.ports import Switching
from autoroute.errors import AutorouteError
from autoroute.messages import Usage
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.pacing import Pacer
from autoroute.providers.prices import Prices
from autoroute.providers.served_model import is_same_model
from autoroute.routing import Billing, Route, Secret


@dataclass(frozen=True, slots=True)
class ProviderAccess:
    """The engine's port ``Providers``, made of resolved settings.

    ``check_again`` is the cheap repeat of preflight for one route; ``now`` returns the time of day in UTC.
    """

    resolved: ResolvedConfig
    prices: Prices
    cooldowns: Cooldowns
    pacer: Pacer
    check_again: Callable[[Route], None]
    now: Callable[[], datetime]

    @property
    def price_tables(self) -> str:
        """The name of the price tables that costs come from."""
        return self.prices.version

    def connect(self, route: Route, root: Path) -> wire.Model:
        """Return the model behind a route, through the runner of its provider. ``root`` is the workspace."""
        profile, clocks = self.resolved.profiles[route.provider], self.resolved.config.clocks
        secret = self.resolved.credentials.find(route)
        key = secret if isinstance(secret, Secret) else None
        redactor = self.resolved.credentials.redactor
        return wire.connect_with_runner(self.resolved.runner, profile, route, key, clocks, root, redactor=redactor)

    def recheck(self, route: Route) -> None:
        """Check, with free requests only, whether a route's key is still accepted. Raises a ``ProviderError``."""
        self.check_again(route)

    def accounts(self, route: Route) -> Sequence[Route]:
        """Return the same model on the other accounts of its provider that have a key or login, in the user's order."""
        labels = self.resolved.credentials.labels(route.provider)
        others = [replace(route, account=label) for label in labels if label != route.account]
        return [other for other in others if self._is_usable(other)]

    def switching(self, route: Route) -> Switching:
        """Return who decides about a switch of account.

        All keys belong to the same user. A login is replaced by another one only if the user agreed to that.
        """
        if not self.resolved.profiles[route.provider].logins:
            return "policy"
        return "always" if self.resolved.claude.auto_switch else "person"

    def billing(self, route: Route) -> Billing:
        """Return whether its tokens are paid for one by one, part of a flat fee, or free on the user's machine."""
        return self.resolved.billing(route)

    def cost(self, route: Route, usage: Usage) -> float | None:
        """Return the cost of tokens in USD; None when the price is unknown."""
        return self.prices.cost(route, usage, self.now())

    def is_model(self, route: Route, served: str) -> bool:
        """Return whether a name in a reply means the route's model."""
        return is_same_model(self.resolved.catalog, route, served)

    def _is_usable(self, route: Route) -> bool:
        if self.resolved.profiles[route.provider].logins:
            return self.resolved.runner is not None and self.resolved.runner.is_ready(route.account) is True
        try:
            return isinstance(self.resolved.credentials.find(route), Secret)
        except AutorouteError:
            return False  # a key that cannot be read cannot be switched to
