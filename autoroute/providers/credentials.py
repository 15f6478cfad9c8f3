"""Where a provider's key comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoroute.errors import ConfigError
from autoroute.routing import ProviderProfile, Secret, origin


@dataclass(frozen=True, slots=True)
class MissingKey:
    """A key that was looked for and not found: what preflight tells the user."""

    provider: str
    title: str
    looked_at: tuple[str, ...]
    key_page: str


def find_key(profile: ProviderProfile, environ: Mapping[str, str]) -> Secret | MissingKey | None:
    """The key of a provider, bound to its origin; None for a provider that needs none.

    Raises ``ConfigError``, without the value, for a key that cannot be one.
    """
    if profile.auth == "none":
        return None
    for name in profile.key_env:
        value = environ.get(name, "").strip()
        if value:
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ConfigError(f"{name} holds something that is no key: white space or characters outside ASCII")
            return Secret(value, origin=origin(profile.base_url), source=name)
    return MissingKey(profile.name, profile.title, profile.key_env, profile.key_page)
