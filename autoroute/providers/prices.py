"""Costs of tokens in USD: from ``genai-prices`` if it is installed and knows the model, else from the catalog."""

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

_TOKENS_PER_PRICE = 1_000_000
_GENAI_PRICES_NAMES: Mapping[str, str] = MappingProxyType({"moonshot": "moonshotai", "xai": "x-ai", "zai-cn": "zai"})
"""Our name of a provider -> its name in genai-prices, where the two differ."""


class Prices:
    """Costs of routes. A token costs nothing on a flat-fee plan or on the user's own machine. None means unknown."""

    def __init__(
        self,
        catalog: Catalog,
        profiles: Mapping[str, ProviderProfile],
        billing: Callable[[Route], Billing] | None = None,
    ) -> None:
        """``billing`` returns the billing of a route's account, which may differ from that of its provider."""
        self._catalog = catalog
        self._profiles = profiles
        self._billing = billing or (lambda route: profiles[route.provider].billing)

    @cached_property
    def version(self) -> str:
        """The price tables in use, for the receipt."""
        genai = self._genai_version
        return ", ".join(filter(None, (f"genai-prices {genai}" if genai else "", self._catalog.version)))

    def cost(self, route: Route, usage: Usage, at: datetime) -> float | None:
        """Return the USD for these tokens, None if the price is unknown. Some prices depend on the time of day."""
        profile = self._profiles[route.provider]
        if self._billing(route) != "usage":
            return 0.0
        exact = self._genai_cost(profile.like or route.provider, route.model, usage, at)
        if exact is not None:
            return exact
        facts = self._catalog.resolve(f"{route.provider}/{route.model}").facts
        return None if facts is None or facts.price is None else _catalog_cost(facts.price, usage)

    @cached_property
    def _genai_version(self) -> str:
        try:
            return version("genai-prices")
        except PackageNotFoundError:
            return ""

    def _genai_cost(self, provider: str, model: str, usage: Usage, at: datetime) -> float | None:
        if not self._genai_version:
            return None
        # Loaded only after a paid turn, because the import takes 0.22 s.
        import genai_prices

        tokens: Any = genai_prices.Usage(
            input_tokens=usage.input + usage.cache_read + usage.cache_write,
            cache_read_tokens=usage.cache_read or None,
            cache_write_tokens=usage.cache_write or None,
            output_tokens=usage.output,
        )
        name = _GENAI_PRICES_NAMES.get(provider, provider)
        try:
            found = genai_prices.calc_price(tokens, model, provider_id=name, genai_request_timestamp=at)
        except (LookupError, ValueError):
            return None
        return float(found.total_price)


def _catalog_cost(price: Price, usage: Usage) -> float:
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    total = usage.input * price.input + usage.output * price.output
    return (total + usage.cache_read * read + usage.cache_write * write) / _TOKENS_PER_PRICE
