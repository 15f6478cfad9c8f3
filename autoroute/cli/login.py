"""``autoroute login`` and ``logout``: a key, asked for without echo, proved at its provider, then stored."""

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
AccountLabel = Annotated[str, typer.Option(metavar="LABEL", help="Which account of the provider.")]
UserFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings file in place of your own config.toml.")]


def login(
    context: typer.Context,
    provider: Provider,
    account: AccountLabel = "default",
    unproved: Annotated[bool, typer.Option("--unproved", help="Store the key without asking the provider.")] = False,
    config: UserFile = None,
) -> None:
    """Store a key in the OS keyring, or in a file that only you can read; piped in, or asked for without echo."""
    from autoroute import wire
    from autoroute.config.paths import read_environment, user_state_folder
    from autoroute.config.resolve import resolve_user_providers
    from autoroute.providers.credentials import new_secret
    from autoroute.providers.key_store import KeyStore
    from autoroute.routing import Clocks, Route

    environ = read_environment(harden=True)
    profiles, credentials = resolve_user_providers(environ, config, context.obj)
    profile = profiles.get(provider)
    if profile is None:
        raise ConfigError(f"there is no provider {provider!r}", hint=f"there are {', '.join(profiles)}")
    if profile.auth == "none":
        hint = "autoroute profiles login" if profile.logins else ""
        raise UsageError(f"{profile.title} needs no key", hint=hint)
    if account not in credentials.labels(provider):
        labels = ", ".join(credentials.labels(provider))
        raise ConfigError(
            f"{provider} has no account {account!r}; it has {labels}",
            hint=f"add [providers.{provider}.accounts.{account}] to your config.toml",
        )
    if profile.key_page:
        say(f"keys of {profile.title} are made at {profile.key_page}", err=True)
    typed = _typed(provider, environ)
    context.obj.learn([typed.strip()])
    secret = new_secret(profile, typed.strip(), "what was entered")
    if unproved or not profile.key_check:
        say(f"not proved: {'as asked' if unproved else 'no free request is known that would prove it'}", err=True)
    else:
        route = Route(provider=provider, model="", requested="", host=profile.host, account=account)
        wire.fetch_json(profile, profile.key_check, route, secret, Clocks())
    place = KeyStore(user_state_folder(environ)).put(provider, account, typed.strip())
    say(f"stored the key of {provider} ({account}) in {place}")


def _typed(provider: str, environ: Mapping[str, str]) -> str:
    """The key as it was piped in, or as somebody types it."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    if not is_attended(environ):
        raise UsageError(
            "login asks for the key, and nobody can answer here", hint=f"autoroute login {provider} < FILE"
        )
    typed: str = typer.prompt("key", hide_input=True, err=True)
    return typed


def logout(provider: Provider, account: AccountLabel = "default") -> None:
    """Forget the key that login stored. Variables and files of your own are not touched."""
    from autoroute.config.paths import read_environment, user_state_folder
    from autoroute.providers.key_store import KeyStore

    if not KeyStore(user_state_folder(read_environment(harden=True))).remove(provider, account):
        raise ConfigError(f"no key of {provider} ({account}) was stored by autoroute login")
    say(f"forgot the key of {provider} ({account})")
