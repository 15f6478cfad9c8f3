"""``autoroute login`` and ``logout``: a key is asked for without echo, checked with its provider, then stored."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from autoroute.cli.console import say
from autoroute.cli.terminal import is_attended
from autoroute.errors import ConfigError, UsageError

Provider = Annotated[str, typer.Argument(metavar="PROVIDER", help="zai, anthropic, openai, ...")]
AccountLabel = Annotated[str, typer.Option(metavar="LABEL", help="Account of the provider.")]
UserFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings file to use instead of your config.toml.")
]


def login(
    context: typer.Context,
    provider: Provider,
    account: AccountLabel = "default",
    unproved: Annotated[
        bool, typer.Option("--unproved", help="Store the key without checking it with the provider.")
    ] = False,
    config: UserFile = None,
) -> None:
    """Check a key and store it in the OS keyring or in a private file. Pipe it in, or type it without echo."""
    from autoroute import wire
    from autoroute.config.paths import read_environment, user_state_folder
    from autoroute.config.resolve import resolve_user_providers
    from autoroute.providers.credentials import new_secret
    from autoroute.providers.key_store import KeyStore
    from autoroute.routing import Clocks, Route
    from autoroute.text import did_you_mean

    environ = read_environment()
    profiles, credentials = resolve_user_providers(environ, config, context.obj)
    profile = profiles.get(provider)
    if profile is None:
        hint = did_you_mean(provider, profiles, otherwise=f"providers: {', '.join(profiles)}")
        raise ConfigError(f"unknown provider {provider!r}", hint=hint)
    if profile.auth == "none":
        hint = "use autoroute profiles login" if profile.logins else ""
        raise UsageError(f"{profile.title} does not use a key", hint=hint)
    if account not in credentials.labels(provider):
        labels = ", ".join(credentials.labels(provider))
        raise ConfigError(
            f"provider {provider} has no account {account!r} (accounts: {labels})",
            hint=f"add [providers.{provider}.accounts.{account}] to your config.toml",
        )
    if profile.key_page:
        say(f"get a key for {profile.title} at {profile.key_page}", err=True)
    key = _read_key(provider, environ).strip()
    context.obj.learn([key])
    secret = new_secret(profile, key, "your input")
    if unproved:
        say("key not checked (--unproved)", err=True)
    elif not profile.key_check:
        say(f"key not checked: {profile.title} has no free request to check it with", err=True)
    else:
        route = Route(provider=provider, model="", requested="", host=profile.host, account=account)
        wire.fetch_json(profile, profile.key_check, route, secret, Clocks())
    location = KeyStore(user_state_folder(environ)).put(provider, account, key)
    say(f"stored the key for {provider} (account {account}) in {location}")


def _read_key(provider: str, environ: Mapping[str, str]) -> str:
    """Return the key, from a pipe or typed without echo."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    if not is_attended(environ):
        raise UsageError("login cannot ask for the key without a terminal", hint=f"autoroute login {provider} < FILE")
    typed: str = typer.prompt("key", hide_input=True, err=True)
    return typed


def logout(provider: Provider, account: AccountLabel = "default") -> None:
    """Delete the key that login stored. Your own variables and files are not changed."""
    from autoroute.config.paths import read_environment, user_state_folder
    from autoroute.providers.key_store import KeyStore

    if not KeyStore(user_state_folder(read_environment())).remove(provider, account):
        raise ConfigError(f"no stored key for {provider} (account {account})")
    say(f"deleted the stored key for {provider} (account {account})")
