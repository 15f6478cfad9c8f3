"""Who can be asked, as the engine sees it: settled providers with their keys, prices, known limits and pace."""

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
from autoroute.providers.served import same_model
from autoroute.routing import Billing, Route, Secret


@dataclass(frozen=True, slots=True)
class Reach:
    """See ``engine.ports.Providers``; ``look`` is preflight's cheap repeat, ``now`` the time of day, UTC."""

    settled: ResolvedConfig
    prices: Prices
    cooldowns: Cooldowns
    pacer: Pacer
    look: Callable[[Route], None]
    now: Callable[[], datetime]

    def connect(self, route: Route, root: Path) -> wire.Model:
        """The model behind a route, ready to be asked, by the runner of its provider."""
        profile, clocks = self.settled.profiles[route.provider], self.settled.config.clocks
        secret = self.settled.credentials.find(route)
        key = secret if isinstance(secret, Secret) else None
        redactor = self.settled.credentials.redactor
        return wire.connect_with_runner(self.settled.runner, profile, route, key, clocks, root, redactor=redactor)

    def recheck(self, route: Route) -> None:
        """Look, for nothing, whether a route's key still holds. Raises a ``ProviderError``."""
        self.look(route)

    def accounts(self, route: Route) -> Sequence[Route]:
        """The same model on the other accounts of its provider that have a key or a login, in the user's order."""
        labels = self.settled.credentials.labels(route.provider)
        others = [replace(route, account=label) for label in labels if label != route.account]
        return [other for other in others if self._can_be_used(other)]

    def switching(self, route: Route) -> Switching:
        """Keys are all the same user's; a login goes on for another one only where that was agreed to."""
        if not self.settled.profiles[route.provider].logins:
            return "policy"
        return "always" if self.settled.claude.auto_switch else "person"

    def billing(self, route: Route) -> Billing:
        """Whether its tokens cost money, are part of a flat fee, or run on the user's own machine."""
        return self.settled.billing(route)

    def cost(self, route: Route, usage: Usage) -> float | None:
        """USD for tokens; None when the price is not known."""
        return self.prices.cost(route, usage, self.now())

    def is_model(self, route: Route, served: str) -> bool:
        """Whether a name that a reply gave is the route's model."""
        return same_model(self.settled.catalog, route, served)

    def _can_be_used(self, route: Route) -> bool:
        if self.settled.profiles[route.provider].logins:
            return self.settled.runner is not None and self.settled.runner.is_ready(route.account) is True
        try:
            return isinstance(self.settled.credentials.find(route), Secret)
        except AutorouteError:
            return False  # a key that cannot be used is no way out
