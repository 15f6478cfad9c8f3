"""The provider profiles: the built-in ones, with the user's tables merged over them."""

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
from autoroute.text import did_you_mean

_NOT_INHERITED = ("title", "models", "runner", "logins")
"""Keys that ``like`` does not copy from the sibling."""
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def load_profiles(user_tables: Mapping[str, Mapping[str, Any]], source: str) -> dict[str, ProviderProfile]:
    """Return all profiles by name.

    ``user_tables`` are the user's ``[providers.NAME]`` tables, ``source`` the file that contains them. Raises
    ``ConfigError`` with the file and the key.
    """
    builtin = tomllib.loads(files("autoroute.providers").joinpath("builtin.toml").read_text(encoding="utf-8"))
    names = [*builtin, *(name for name in user_tables if name not in builtin)]
    tables = {
        name: _merge_user_table(builtin.get(name, {}), _without_accounts(user_tables.get(name, {}))) for name in names
    }
    return {
        name: _profile(
            name, tables, builtin, f"{source}: providers.{name}" if name in user_tables else f"providers.{name}"
        )
        for name in names
    }


def _without_accounts(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in ACCOUNT_KEYS}


def _merge_user_table(builtin: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's table over the built-in one.

    If the user chose a runner, the built-in ``with_runner`` table goes between the two. It holds what differs then: the
    GLM Coding Plan, for one, has another endpoint for Claude Code.
    """
    plain = {key: value for key, value in builtin.items() if key != "with_runner"}
    has_runner = own.get("runner", "native") != "native"
    return merge(merge(plain, builtin.get("with_runner", {})) if has_runner else plain, own)


def is_loopback(url: str) -> bool:
    """Return whether a URL points to this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK_HOSTS


def _profile(
    name: str, tables: Mapping[str, Mapping[str, Any]], builtin: Mapping[str, Mapping[str, Any]], where: str
) -> ProviderProfile:
    if not name or "/" in name or not name.isprintable():
        raise ConfigError(f"{where}: invalid provider name {name!r}", hint="use printable characters without a slash")
    merged = merge(_sibling(tables, tables[name], where), tables[name])
    try:
        # In strict mode pydantic accepts a list for a tuple only from JSON, and TOML has no tuples.
        profile = ProviderProfile.model_validate_json(json.dumps({"title": name, **merged, "name": name}, default=str))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}.{key}: {_describe(first['type'], first['msg'])}") from None
    if profile.platform:
        _check_platform(profile, where)
    if profile.runner != "native" or profile.logins:
        _check_runner(profile, builtin.get(name, {}), where)
    if profile.wire != "scripted" and (profile.base_url or not profile.platform):
        _check_url(profile, where)
    return profile


def _sibling(tables: Mapping[str, Mapping[str, Any]], table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return what a table inherits from the one that ``like`` names; nothing if it names none."""
    name = table.get("like", "")
    if not name:
        return {}
    if not isinstance(name, str) or name not in tables:
        raise ConfigError(
            f"{where}.like: unknown provider {name!r}",
            hint=did_you_mean(str(name), tables, otherwise=f"providers: {', '.join(tables)}"),
        )
    if tables[name].get("like"):
        raise ConfigError(f"{where}.like: {name} has a `like` of its own", hint=f'like = "{tables[name]["like"]}"')
    return {key: value for key, value in tables[name].items() if key not in _NOT_INHERITED}


def _check_platform(profile: ProviderProfile, where: str) -> None:
    """Raise ``ConfigError`` if a platform has another wire than its own, or an auth: its own tools find credentials."""
    if profile.wire != "anthropic-messages":
        raise ConfigError(
            f'{where}.platform: {profile.platform} requires wire = "anthropic-messages", not {profile.wire!r}'
        )
    if profile.auth != "none":
        raise ConfigError(
            f"{where}.auth: {profile.platform} finds its credentials with its own tools", hint='auth = "none"'
        )


def _check_runner(profile: ProviderProfile, builtin: Mapping[str, Any], where: str) -> None:
    """Raise ``ConfigError`` for a runner without its wire, and for a login that would be sent to a foreign server."""
    if profile.wire != "anthropic-messages" or profile.platform:
        raise ConfigError(
            f"{where}.runner: {profile.runner} requires the wire anthropic-messages, which {profile.name} does not use",
            hint=f'set wire = "anthropic-messages" and the matching base_url of {profile.title}',
        )
    if profile.logins and not builtin.get("logins"):
        raise ConfigError(f"{where}.logins: only a built-in provider can have logins", hint="set key_env to use a key")
    if profile.logins and (profile.runner == "native" or profile.auth != "none" or profile.key_env):
        raise ConfigError(
            f"{where}: {profile.name}/ uses the logins of {profile.title}, not a key",
            hint=f"use {profile.like}/MODEL with a key",
        )
    home = builtin.get("base_url", "")
    if profile.logins and profile.base_url != home and not is_loopback(profile.base_url):
        raise ConfigError(
            f"{where}.base_url: the logins of {profile.title} are sent only to {home}",
            hint=f"for another server, add [providers.NAME] with runner = {profile.runner!r} and its own key",
        )


def _check_url(profile: ProviderProfile, where: str) -> None:
    try:
        parts = urlsplit(profile.base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not profile.base_url.isprintable():
        raise ConfigError(f"{where}.base_url: invalid URL {profile.base_url!r}", hint="use an http or https URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{where}.base_url: the URL must not have a user, password, query or fragment")
    has_key = profile.auth != "none" or profile.platform
    if parts.scheme == "http" and has_key and not is_loopback(profile.base_url):
        raise ConfigError(
            f"{where}.base_url: the key would be sent unencrypted to {profile.base_url}",
            hint='use https, or auth = "none" if no key is needed',
        )


def _describe(kind: str, message: str) -> str:
    return {"missing": "required for a provider that is not built in", "extra_forbidden": "unknown key"}.get(
        kind, message[:1].lower() + message[1:]
    )
