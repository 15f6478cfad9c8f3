"""Comparison of the model that a reply names with the one that was asked for, by a table of name forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from autoroute.patterns import pattern
from autoroute.providers.catalog import Catalog
from autoroute.routing import Route

_DATE_SUFFIX = pattern(r"-(?:20\d{6}|20\d\d-\d\d-\d\d)$")
"""A release date at the end: ``claude-opus-4-5-20251101``, ``gpt-5.4-2026-03-05``."""

_PREFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bedrock": tuple(f"{region}anthropic." for region in ("", "us.", "eu.", "apac.", "jp.", "au.", "global.")),
        "google": ("models/",),
        "fireworks": ("accounts/fireworks/models/",),
    }
)
"""Provider family -> prefixes that it may put before the id."""

_SUFFIXES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {"bedrock": pattern(r"-v\d+(:\d+)?$"), "vertex": pattern(r"@(20\d{6}|default)$")}
)
"""Provider family -> a suffix that it may put after the id."""


def is_same_model(catalog: Catalog, route: Route, served: str) -> bool:
    """Return whether ``served`` is a name of the route's model. A reply that names no model counts as a match."""
    if not served:
        return True
    facts = catalog.resolve(f"{route.provider}/{route.model}").facts
    known = {route.model, *(facts.served_as if facts else ())}
    family = catalog.family(route.provider)
    forms = {_base_id(name, family) for name in known}
    return served in known or _base_id(served, family) in forms


def _base_id(name: str, family: str) -> str:
    """Return the id in lower case, without its date and without the prefix and suffix of the provider family."""
    name = name.lower().removeprefix(f"{family}/")
    for prefix in _PREFIXES.get(family, ()):
        name = name.removeprefix(prefix)
    suffix = _SUFFIXES.get(family)
    return _DATE_SUFFIX.sub("", suffix.sub("", name) if suffix else name)
