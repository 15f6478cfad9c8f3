"""Provider profiles: the built-in ones, with the user's tables merged over them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from autoroute.errors import ConfigError
from autoroute.providers.accounts import ACCOUNT_KEYS
from autoroute.routing import ProviderProfile
from autoroute.tables import merge

_OWN = ("title", "models", "runner", "logins")
"""What a sibling does not take over."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def load_profiles(users: Mapping[str, Mapping[str, Any]], place: str) -> dict[str, ProviderProfile]:
    """All profiles by name. ``users`` are the user's ``[providers.NAME]`` tables, ``place`` the file they stand in.

    Raises ``ConfigError`` naming the place and the key.
    """
    builtin = tomllib.loads(files("autoroute.providers").joinpath("builtin.toml").read_text(encoding="utf-8"))
    names = [*builtin, *(name for name in users if name not in builtin)]
    tables = {name: _over(builtin.get(name, {}), _without_accounts(users.get(name, {}))) for name in names}
    return {
        name: _profile(name, tables, builtin, f"{place}: providers.{name}" if name in users else f"providers.{name}")
        for name in names
    }


def _without_accounts(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in ACCOUNT_KEYS}


def _over(builtin: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The user's table over the built-in one, of which ``with_runner`` says what is different under a runner."""
    plain = {key: value for key, value in builtin.items() if key != "with_runner"}
    is_run = own.get("runner", "native") != "native"
    return merge(merge(plain, builtin.get("with_runner", {})) if is_run else plain, own)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK


def _profile(
    name: str, tables: Mapping[str, Mapping[str, Any]], builtin: Mapping[str, Mapping[str, Any]], where: str
) -> ProviderProfile:
    if not name or "/" in name or not name.isprintable():
        raise ConfigError(f"{where}: {name!r} is no name for a provider; it stands before the / of a route")
    merged = merge(_sibling(tables, tables[name], where), tables[name])
    try:
        # As JSON, so that TOML's arrays are taken for tuples and nothing else is converted.
        profile = ProviderProfile.model_validate_json(json.dumps({"title": name, **merged, "name": name}, default=str))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}.{key}: {_words(first['type'], first['msg'])}") from None
    if profile.platform:
        _check_platform(profile, where)
    if profile.runner != "native" or profile.logins:
        _check_runner(profile, builtin.get(name, {}), where)
    if profile.wire != "scripted" and (profile.base_url or not profile.platform):
        _check_url(profile, where)
    return profile


def _sibling(tables: Mapping[str, Mapping[str, Any]], table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The table that ``like`` names, without what is its own; empty when nothing is named."""
    name = table.get("like", "")
    if not name:
        return {}
    if not isinstance(name, str) or name not in tables:
        raise ConfigError(f"{where}.like: there is no provider {name!r}", hint=f"there are {', '.join(tables)}")
    if tables[name].get("like"):
        raise ConfigError(f"{where}.like: {name} is itself like another", hint=f'like = "{tables[name]["like"]}"')
    return {key: value for key, value in tables[name].items() if key not in _OWN}


def _check_platform(profile: ProviderProfile, where: str) -> None:
    """A platform speaks one wire, and its own tools find the credentials."""
    if profile.wire != "anthropic-messages":
        raise ConfigError(f"{where}.platform: {profile.platform} speaks anthropic-messages, not {profile.wire}")
    if profile.auth != "none":
        raise ConfigError(
            f"{where}.auth: the credentials of {profile.platform} are found by its own tools", hint='auth = "none"'
        )


def _check_runner(profile: ProviderProfile, builtin: Mapping[str, Any], where: str) -> None:
    """A runner speaks one wire; and a login goes to the address that it is for, or to a server of one's own."""
    if profile.wire != "anthropic-messages" or profile.platform:
        raise ConfigError(
            f"{where}.runner: {profile.runner} speaks anthropic-messages, and {profile.name} does not",
            hint=f'set wire = "anthropic-messages" and the base_url where {profile.title} speaks it',
        )
    if profile.logins and not builtin.get("logins"):
        raise ConfigError(f"{where}.logins: only a built-in provider has logins", hint="give it a key: key_env")
    if profile.logins and (profile.runner == "native" or profile.auth != "none" or profile.key_env):
        raise ConfigError(
            f"{where}: {profile.name}/ goes by the logins of {profile.title}, not by a key",
            hint=f"{profile.like}/MODEL goes by key",
        )
    home = builtin.get("base_url", "")
    if profile.logins and profile.base_url != home and not is_loopback(profile.base_url):
        raise ConfigError(
            f"{where}.base_url: the logins of {profile.title} go to {home} alone",
            hint=f"for another server write a [providers.NAME] with runner = {profile.runner!r} and a key of its own",
        )


def _check_url(profile: ProviderProfile, where: str) -> None:
    try:
        parts = urlsplit(profile.base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not profile.base_url.isprintable():
        raise ConfigError(f"{where}.base_url: {profile.base_url!r} is no http or https URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{where}.base_url: leave out user, password, query and fragment")
    has_key = profile.auth != "none" or profile.platform
    if parts.scheme == "http" and has_key and not is_loopback(profile.base_url):
        raise ConfigError(
            f"{where}.base_url: {profile.base_url} would send the key in the clear",
            hint='use https, or auth = "none" if it needs no key',
        )


def _words(kind: str, message: str) -> str:
    return {"missing": "a provider that is not built in needs it", "extra_forbidden": "no such key"}.get(
        kind, message[:1].lower() + message[1:]
    )
