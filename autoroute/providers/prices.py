"""What tokens cost, in USD: by ``genai-prices`` where it is installed and knows the model, else by the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from autoroute.messages import Usage
from autoroute.providers.catalog import Catalog, Price
from autoroute.routing import Billing, ProviderProfile, Route

_MILLION = 1_000_000
_THEIR_NAMES: Mapping[str, str] = MappingProxyType({"moonshot": "moonshotai", "xai": "x-ai", "zai-cn": "zai"})
"""Our name of a provider -> that of genai-prices, where they differ."""


class Prices:
    """Costs of routes. A plan's flat fee and one's own machine cost nothing a token; None is: not known."""

    def __init__(
        self,
        catalog: Catalog,
        profiles: Mapping[str, ProviderProfile],
        billing: Callable[[Route], Billing] | None = None,
    ) -> None:
        """``billing`` is that of a route's account, where it need not be what its provider's is."""
        self._catalog = catalog
        self._profiles = profiles
        self._billing = billing or (lambda route: profiles[route.provider].billing)

    @cached_property
    def version(self) -> str:
        """Which tables were used, for the receipt."""
        exact = self._genai_version
        return ", ".join(filter(None, (f"genai-prices {exact}" if exact else "", self._catalog.version)))

    def cost(self, route: Route, usage: Usage, at: datetime) -> float | None:
        """USD for these tokens at this time of day, which some prices depend on."""
        profile = self._profiles[route.provider]
        if self._billing(route) != "usage":
            return 0.0
        exact = self._exact(profile.like or route.provider, route.model, usage, at)
        if exact is not None:
            return exact
        facts = self._catalog.resolve(f"{route.provider}/{route.model}").facts
        return None if facts is None or facts.price is None else _by_table(facts.price, usage)

    @cached_property
    def _genai_version(self) -> str:
        try:
            return version("genai-prices")
        except PackageNotFoundError:
            return ""

    def _exact(self, provider: str, model: str, usage: Usage, at: datetime) -> float | None:
        if not self._genai_version:
            return None
        # Loaded when a turn has been paid for: it takes a quarter of a second.
        import genai_prices

        tokens: Any = genai_prices.Usage(
            input_tokens=usage.input + usage.cache_read + usage.cache_write,
            cache_read_tokens=usage.cache_read or None,
            cache_write_tokens=usage.cache_write or None,
            output_tokens=usage.output,
        )
        name = _THEIR_NAMES.get(provider, provider)
        try:
            found = genai_prices.calc_price(tokens, model, provider_id=name, genai_request_timestamp=at)
        except (LookupError, ValueError):
            return None
        return float(found.total_price)


def _by_table(price: Price, usage: Usage) -> float:
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    total = usage.input * price.input + usage.output * price.output
    return (total + usage.cache_read * read + usage.cache_write * write) / _MILLION
