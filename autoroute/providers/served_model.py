"""Whether the model that a reply names is the one that was asked for: by a table of forms, nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from autoroute.providers.catalog import Catalog
from autoroute.routing import Route

_DATED = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d)$")
"""A release date at the end: ``claude-opus-4-5-20251101``, ``gpt-5.4-2026-03-05``."""

_BEFORE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bedrock": tuple(f"{region}anthropic." for region in ("", "us.", "eu.", "apac.", "jp.", "au.", "global.")),
        "google": ("models/",),
        "fireworks": ("accounts/fireworks/models/",),
    }
)
"""Family of providers -> what may stand before the id."""

_AFTER: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {"bedrock": re.compile(r"-v\d+(:\d+)?$"), "vertex": re.compile(r"@(20\d{6}|default)$")}
)
"""Family of providers -> what may stand after it."""


def is_same_model(catalog: Catalog, route: Route, served: str) -> bool:
    """Whether ``served`` is a name of the route's model. An answer that names no model contradicts nothing."""
    if not served:
        return True
    facts = catalog.resolve(f"{route.provider}/{route.model}").facts
    known = {route.model, *(facts.served_as if facts else ())}
    family = catalog.family(route.provider)
    forms = {_plain(name, family) for name in known}
    return served in known or _plain(served, family) in forms


def _plain(name: str, family: str) -> str:
    """The id without its date and what providers of the family put around it, in lower case."""
    name = name.lower().removeprefix(f"{family}/")
    for prefix in _BEFORE.get(family, ()):
        name = name.removeprefix(prefix)
    after = _AFTER.get(family)
    return _DATED.sub("", after.sub("", name) if after else name)
