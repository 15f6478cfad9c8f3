"""The accounts of each provider, read from the user's tables: where each key may be found, never the key itself."""

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
"""Keys of a ``[providers.NAME]`` table that describe accounts, not the profile."""


@dataclass(frozen=True, slots=True)
class Account:
    """One credential of a provider, and the places where its key may be found."""

    label: str = "default"
    key_env: tuple[str, ...] = ()
    key_command: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)
    variables: tuple[str, ...] = ()
    """The variables that the provider's own tools read. They are tried last."""


class _KeySources(BaseModel):
    """The keys of ``[providers.NAME.accounts.LABEL]``, which ``[providers.NAME]`` may have too."""

    # The input may hold a key: an error must not print it.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key_env: list[str] = Field(default_factory=list)
    key_command: str | list[str] = Field(default_factory=list)
    api_key: str = ""


def load_accounts(
    user_tables: Mapping[str, Mapping[str, Any]], profiles: Mapping[str, ProviderProfile], source: str
) -> dict[str, tuple[Account, ...]]:
    """Return the accounts of every provider, in the user's order.

    The account of the provider's own table is ``default`` and comes first. It is the only one if no others are given.
    ``source`` is the user's file, for messages. Raises ``ConfigError`` with the file and the key.
    """
    return {
        name: _provider_accounts(user_tables.get(name, {}), profile, f"{source}: providers.{name}")
        for name, profile in profiles.items()
    }


def has_literal_key(accounts: Mapping[str, tuple[Account, ...]]) -> bool:
    """Return whether the user's file contains a key, so that no other user may read it."""
    return any(account.api_key for group in accounts.values() for account in group)


def _provider_accounts(table: Mapping[str, Any], profile: ProviderProfile, where: str) -> tuple[Account, ...]:
    own = {key: table[key] for key in KEY_SOURCES if key in table}
    labeled = table.get("accounts", {})
    if not isinstance(labeled, Mapping) or not all(isinstance(inner, Mapping) for inner in labeled.values()):
        raise ConfigError(f"{where}.accounts: expected a table for each account", hint=f"[{where}.accounts.work]")
    accounts = [_account(label, inner, f"{where}.accounts.{label}") for label, inner in labeled.items()]
    if own or not accounts:
        variables = () if "key_env" in own else profile.key_env
        accounts.insert(0, _account("default", own, where, variables))
    return tuple(accounts)


def _account(label: str, table: Mapping[str, Any], where: str, variables: tuple[str, ...] = ()) -> Account:
    if not label or not label.isprintable() or ":" in label:
        raise ConfigError(f"{where}: invalid account name {label!r}", hint="use printable characters without ':'")
    try:
        sources = _KeySources.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        details = "unknown key" if first["type"] == "extra_forbidden" else first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(
            f"{where}.{first['loc'][0]}: {details}", hint=f"known keys: {', '.join(KEY_SOURCES)}"
        ) from None
    command = sources.key_command
    try:
        argv = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise ConfigError(f"{where}.key_command: {error}") from None
    return Account(label, tuple(sources.key_env), argv, sources.api_key, variables)
