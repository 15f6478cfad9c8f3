"""The accounts of each provider, as the user's tables describe them: where each key may be found, never the key."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoroute.errors import ConfigError
from autoroute.routing import ProviderProfile

KEY_SOURCES = ("key_env", "key_command", "api_key")
ACCOUNT_KEYS = ("accounts", "key_command", "api_key")
"""Keys of a ``[providers.NAME]`` table that are no part of the profile."""


@dataclass(frozen=True, slots=True)
class Account:
    """One credential of a provider, and where it may be found. ``variables`` are those its own tools read."""

    label: str = "default"
    key_env: tuple[str, ...] = ()
    key_command: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)
    variables: tuple[str, ...] = ()


class _Sources(BaseModel):
    """``[providers.NAME.accounts.LABEL]``, and the same keys in ``[providers.NAME]``."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key_env: list[str] = Field(default_factory=list)
    key_command: str | list[str] = Field(default_factory=list)
    api_key: str = ""


def load_accounts(
    users: Mapping[str, Mapping[str, Any]], profiles: Mapping[str, ProviderProfile], place: str
) -> dict[str, tuple[Account, ...]]:
    """The accounts of every provider, in the user's order. Raises ``ConfigError`` naming the place and the key.

    The one of the provider's own table, ``default``, comes first; it is all there is where no others are given.
    """
    return {
        name: _of_provider(users.get(name, {}), profile, f"{place}: providers.{name}")
        for name, profile in profiles.items()
    }


def has_literal_key(accounts: Mapping[str, tuple[Account, ...]]) -> bool:
    """Whether the user's file has a key in it, so that nobody else may read it."""
    return any(account.api_key for those in accounts.values() for account in those)


def _of_provider(table: Mapping[str, Any], profile: ProviderProfile, where: str) -> tuple[Account, ...]:
    own = {key: table[key] for key in KEY_SOURCES if key in table}
    named = table.get("accounts", {})
    if not isinstance(named, Mapping) or not all(isinstance(inner, Mapping) for inner in named.values()):
        raise ConfigError(f"{where}.accounts: a table for each account is expected", hint=f"[{where}.accounts.work]")
    accounts = [_account(label, inner, f"{where}.accounts.{label}") for label, inner in named.items()]
    if own or not accounts:
        variables = () if "key_env" in own else profile.key_env
        accounts.insert(0, _account("default", own, where, variables))
    return tuple(accounts)


def _account(label: str, table: Mapping[str, Any], where: str, variables: tuple[str, ...] = ()) -> Account:
    if not label or not label.isprintable() or ":" in label:
        raise ConfigError(f"{where}: {label!r} is no name for an account")
    try:
        sources = _Sources.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        words = "no such key" if first["type"] == "extra_forbidden" else first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(f"{where}.{first['loc'][0]}: {words}", hint=f"there are {', '.join(KEY_SOURCES)}") from None
    command = sources.key_command
    try:
        argv = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise ConfigError(f"{where}.key_command: {error}") from None
    return Account(label, tuple(sources.key_env), argv, sources.api_key, variables)
