"""The credentials of accounts. A key is never shown; its source is.

The sources, in order: a variable that the user names, a command, a key that ``autoroute login`` stored, a literal in
the user's own file, the variables that the provider's own tools read.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from autoroute.errors import ConfigError, Unauthorized
from autoroute.providers.accounts import Account
from autoroute.providers.claude_profiles import AUTH_TOKEN_VARIABLE, OAUTH_TOKEN_VARIABLE
from autoroute.providers.key_store import KeyStore
from autoroute.redaction import Redactor
from autoroute.routing import ProviderProfile, Route, Secret, origin

_COMMAND_TIMEOUT_SECONDS = 60.0
"""The user may have to unlock a password manager first."""
_CLOUD_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "ANTHROPIC_FOUNDRY_API_KEY",
)
"""The cloud platforms' own variables. A ``key_command`` gets them, because it may ask a cloud for a key."""


@dataclass(frozen=True, slots=True)
class MissingKey:
    """The result of a search that found no key, for preflight to report."""

    provider: str
    title: str
    account: str
    searched: tuple[str, ...]
    """The variables and ``key_command`` that were tried."""
    variable: str
    """The variable that is tried first, "" without one."""
    key_page: str


def _find_proxy_passwords(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the passwords in the URLs of proxies, as they are written and as they are sent: a proxy may echo them."""
    for name, value in environ.items():
        if name.lower().endswith("_proxy"):
            with suppress(ValueError):
                password = urlsplit(value if "//" in value else f"//{value}").password or ""
                yield password
                yield unquote(password)


class Credentials:
    """The keys of all accounts, each searched for once and bound to the origin of its own provider.

    ``redactor`` learns every key of the environment and of files at once, and a key that is fetched when it is found.
    ``tokens`` are the variables that hold the tokens of logins.
    """

    def __init__(
        self,
        profiles: Mapping[str, ProviderProfile],
        accounts: Mapping[str, Sequence[Account]],
        environ: Mapping[str, str],
        key_store: KeyStore,
        redactor: Redactor | None = None,
        tokens: Iterable[str] = (),
    ) -> None:
        self.redactor = redactor or Redactor()
        """Redacts these keys."""
        self._profiles = profiles
        self._accounts = accounts
        self._environ = environ
        self._key_store = key_store
        self._token_variables = {OAUTH_TOKEN_VARIABLE, AUTH_TOKEN_VARIABLE, *tokens}
        self._found: dict[tuple[str, str], Secret | MissingKey | None] = {}
        literals = [account.api_key.strip() for group in accounts.values() for account in group]
        variables = [environ.get(name, "").strip() for name in {*self._key_variables(), *_CLOUD_VARIABLES}]
        # A local server accepts any key, and people write its name there, which must not be hidden everywhere.
        self.redactor.exempt(profiles)
        self.redactor.learn([*variables, *literals, *key_store.keys_in_file(), *_find_proxy_passwords(environ)])

    def labels(self, provider: str) -> tuple[str, ...]:
        """Return the accounts of a provider, in the user's order."""
        return tuple(account.label for account in self._accounts[provider])

    def first_usable(self, provider: str) -> str:
        """Return the first account that has a key, else the first one.

        A single account is returned without a search for its key, which preflight does later.
        """
        labels = self.labels(provider)
        if len(labels) == 1:
            return labels[0]
        return next(
            (label for label in labels if isinstance(self.find_for_account(provider, label), Secret)), labels[0]
        )

    def find(self, route: Route) -> Secret | MissingKey | None:
        """Return the key for a route; None if its provider needs no key."""
        return self.find_for_account(route.provider, route.account)

    def find_for_account(self, provider: str, label: str) -> Secret | MissingKey | None:
        """Return the key of an account.

        Raises ``ConfigError`` or ``Unauthorized`` for an invalid key. The message does not contain the key.
        """
        if (provider, label) not in self._found:
            account = next(account for account in self._accounts[provider] if account.label == label)
            found = self._found[provider, label] = self._search(self._profiles[provider], account)
            if isinstance(found, Secret):
                found.add_to(self.redactor)
        return self._found[provider, label]

    def _search(self, profile: ProviderProfile, account: Account) -> Secret | MissingKey | None:
        if profile.auth == "none":
            return None
        for value, source in self._candidates(profile, account):
            return new_secret(profile, value, source)
        variables = (*account.key_env, *account.variables)
        searched = (*account.key_env, *(["key_command"] if account.key_command else []), *account.variables)
        return MissingKey(
            profile.name,
            profile.title,
            account.label,
            searched,
            variables[0] if variables else "",
            profile.key_page,
        )

    def _candidates(self, profile: ProviderProfile, account: Account) -> Iterator[tuple[str, str]]:
        yield from self._variables(account.key_env)
        if account.key_command:
            yield self._run_key_command(profile, account), f"key_command ({account.key_command[0]})"
        stored = self._key_store.get(profile.name, account.label)
        if stored:
            yield stored
        if account.api_key:
            yield account.api_key.strip(), f"api_key of [providers.{profile.name}]"
        yield from self._variables(account.variables)

    def _variables(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                yield value, name

    def _run_key_command(self, profile: ProviderProfile, account: Account) -> str:
        """Return what the user's command prints. It runs without a shell, and its output is never shown.

        The command gets the whole environment except the keys of providers: a password manager may need the socket of
        its agent, or a session variable.
        """
        name = account.key_command[0]
        environment = {key: value for key, value in self._environ.items() if key not in self._key_variables()}
        try:
            done = subprocess.run(
                account.key_command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._no_key(profile, f"key_command {name} timed out after {_COMMAND_TIMEOUT_SECONDS:g} s") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it could not be started"
            raise self._no_key(profile, f"cannot run key_command {name}: {reason}") from None
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        if done.returncode != 0 or len(lines) != 1:
            problem = f"failed with exit code {done.returncode}" if done.returncode else f"printed {len(lines)} lines"
            raise self._no_key(profile, f"key_command {name} {problem}; expected one line with the key")
        return lines[0].strip()

    def _key_variables(self) -> set[str]:
        """Return every variable that may hold a key, to be withheld from other programs."""
        accounts = [account for group in self._accounts.values() for account in group]
        conventional = [name for profile in self._profiles.values() for name in profile.key_env]
        return {
            *self._token_variables,
            *conventional,
            *(name for account in accounts for name in (*account.key_env, *account.variables)),
        }

    def _no_key(self, profile: ProviderProfile, message: str) -> Unauthorized:
        return Unauthorized(
            f"{profile.title}: {message}", provider=profile.name, hint="run the command by hand to see its output"
        )

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._accounts)})"


def new_secret(profile: ProviderProfile, value: str, source: str) -> Secret:
    """Return the key, bound to its provider's origin.

    Raises ``ConfigError`` or ``Unauthorized`` for a value that cannot be a key of the provider.
    """
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        problem = "it contains spaces or non-ASCII characters" if value else "it is empty"
        raise ConfigError(f"invalid key from {source}: {problem}")
    for prefix, hint in profile.refused_keys.items():
        if value.startswith(prefix):
            raise Unauthorized(
                f"the key from {source} begins with {prefix}, so it is not a key of {profile.title}",
                provider=profile.name,
                hint=hint,
            )
    return Secret(value, origin=origin(profile.base_url), source=source)
