"""Whether the model that a reply names is the one that was asked for: by a table of forms, nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from autoroute.providers.catalogue import Catalogue
from autoroute.routing import Route

_DATED = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d)$")
"""A release date at the end: ``claude-opus-4-5-20251101``, ``gpt-5.4-2026-03-05``."""

_PREFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "anthropic": ("anthropic.", "us.anthropic.", "eu.anthropic.", "global.anthropic."),
        "bedrock": ("anthropic.", "us.anthropic.", "eu.anthropic.", "global.anthropic."),
        "google": ("models/",),
        "fireworks": ("accounts/fireworks/models/",),
        "openrouter": (),
    }
)
"""Provider -> what its answers may put before the id."""


def same_model(catalogue: Catalogue, route: Route, served: str) -> bool:
    """Whether ``served`` is a name of the route's model. An answer that names no model contradicts nothing."""
    if not served:
        return True
    facts = catalogue.resolve(f"{route.provider}/{route.model}").facts
    known = {route.model, *(facts.served_as if facts else ())}
    forms = {_plain(name, route.provider) for name in known}
    return served in known or _plain(served, route.provider) in forms


def _plain(name: str, provider: str) -> str:
    """The id without its date and its provider's prefix, in lower case."""
    for prefix in _PREFIXES.get(provider, ()):
        name = name.removeprefix(prefix)
    # The last part alone is dated: vendor/model-20260101.
    return _DATED.sub("", name.lower().removeprefix(f"{provider}/"))
