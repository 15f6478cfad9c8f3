"""Where keys come from. In order: a variable that the user names, a command, a login, a literal in the user's own file,
the variables that the provider's own tools read. A key is shown to nobody; its source is.
"""

from __future__ import annotations

import importlib
import json
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoroute.atomic import write_private
from autoroute.errors import ConfigError, Unauthorized, WorkspaceError
from autoroute.providers.accounts import Account
from autoroute.providers.claude_profiles import AUTH_TOKEN_VARIABLE, OAUTH_TOKEN_VARIABLE
from autoroute.redaction import Redactor
from autoroute.routing import ProviderProfile, Route, Secret, origin

_COMMAND_TIMEOUT = 60.0
_SERVICE = "autoroute"
_CLOUDS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_FOUNDRY_API_KEY")
"""What the cloud platforms' own clients read. A ``key_command`` gets them: it may ask a cloud for a key."""


@dataclass(frozen=True, slots=True)
class MissingKey:
    """A key that was looked for and not found: what preflight tells the user."""

    provider: str
    title: str
    account: str
    looked_at: tuple[str, ...]
    variable: str
    """The variable that would be used first."""
    key_page: str


class KeyStore:
    """Keys that ``autoroute login`` stored: in the OS keyring where there is one, else in a file of mode 0600.

    ``folder`` holds the index of what is stored where, and that file.
    """

    def __init__(self, folder: Path) -> None:
        self._index = folder / "logins.json"
        self._file = folder / "keys.json"

    def get(self, provider: str, label: str) -> tuple[str, str] | None:
        """A key and where it was, None without a login. Raises ``ConfigError`` for a file that others can read."""
        place = _read_json(self._index).get(f"{provider}:{label}")
        if place == "keyring":
            ring = _keyring()
            value = ring.get_password(_SERVICE, f"{provider}:{label}") if ring else None
            return (value, "the OS keyring") if value else None
        if place == "file":
            check_private(self._file)
            value = _read_json(self._file).get(f"{provider}:{label}")
            return (value, str(self._file)) if value else None
        return None

    def in_file(self) -> Sequence[str]:
        """The keys that are in the file; none of a file that others can read, which ``get`` refuses."""
        with suppress(ConfigError):
            check_private(self._file)
            return [value for value in _read_json(self._file).values() if isinstance(value, str)]
        return ()

    def put(self, provider: str, label: str, key: str) -> str:
        """Store a key; where it is now."""
        name = f"{provider}:{label}"
        ring = _keyring()
        if ring is not None:
            try:
                ring.set_password(_SERVICE, name, key)
            except ring.errors.KeyringError:
                ring = None
        if ring is None:
            _write_json(self._file, {**_read_json(self._file), name: key})
        _write_json(self._index, {**_read_json(self._index), name: "keyring" if ring else "file"})
        return "the OS keyring" if ring else str(self._file)

    def remove(self, provider: str, label: str) -> bool:
        """Forget a key; whether there was one."""
        name, index = f"{provider}:{label}", _read_json(self._index)
        place = index.pop(name, None)
        if place is None:
            return False
        ring = _keyring() if place == "keyring" else None
        if ring is not None:
            with suppress(ring.errors.KeyringError):
                ring.delete_password(_SERVICE, name)
        keys = _read_json(self._file)
        if keys.pop(name, None) is not None:
            _write_json(self._file, keys)
        _write_json(self._index, index)
        return True


class Credentials:
    """Finds the key of each account, once. Every key is bound to the origin of its own provider.

    ``redactor`` learns all that may be a key at once, and those that have to be fetched when they are found. ``tokens``
    are the variables in which logins have theirs.
    """

    def __init__(
        self,
        profiles: Mapping[str, ProviderProfile],
        accounts: Mapping[str, Sequence[Account]],
        environ: Mapping[str, str],
        vault: KeyStore,
        redactor: Redactor | None = None,
        tokens: Iterable[str] = (),
    ) -> None:
        self.redactor = redactor or Redactor()
        """What hides these keys."""
        self._profiles = profiles
        self._accounts = accounts
        self._environ = environ
        self._vault = vault
        self._tokens = {OAUTH_TOKEN_VARIABLE, AUTH_TOKEN_VARIABLE, *tokens}
        self._found: dict[tuple[str, str], Secret | MissingKey | None] = {}
        literals = [account.api_key.strip() for those in accounts.values() for account in those]
        variables = [environ.get(name, "").strip() for name in {*self._key_variables(), *_CLOUDS}]
        self.redactor.exempt(profiles)  # a server on the user's own machine takes any key, and people write its name
        self.redactor.learn([*variables, *literals, *vault.in_file()])

    def labels(self, provider: str) -> tuple[str, ...]:
        """The accounts of a provider, in the user's order."""
        return tuple(account.label for account in self._accounts[provider])

    def first(self, provider: str) -> str:
        """The first account that has a key, else the first one. One alone is not looked at: preflight does that."""
        labels = self.labels(provider)
        if len(labels) == 1:
            return labels[0]
        return next((label for label in labels if isinstance(self.of_account(provider, label), Secret)), labels[0])

    def find(self, route: Route) -> Secret | MissingKey | None:
        """The key for a route; None when its provider needs none."""
        return self.of_account(route.provider, route.account)

    def of_account(self, provider: str, label: str) -> Secret | MissingKey | None:
        """The key of an account. Raises ``ConfigError`` or ``Unauthorized``, never with the value, for what is none."""
        if (provider, label) not in self._found:
            account = next(account for account in self._accounts[provider] if account.label == label)
            found = self._found[provider, label] = self._look_for(self._profiles[provider], account)
            if isinstance(found, Secret):
                found.add_to(self.redactor)
        return self._found[provider, label]

    def _look_for(self, profile: ProviderProfile, account: Account) -> Secret | MissingKey | None:
        if profile.auth == "none":
            return None
        for value, source in self._candidates(profile, account):
            return new_secret(profile, value, source)
        named = (*account.key_env, *account.variables)
        looked = (*account.key_env, *(["key_command"] if account.key_command else []), *account.variables)
        return MissingKey(
            profile.name,
            profile.title,
            account.label,
            looked,
            named[0] if named else "",
            profile.key_page,
        )

    def _candidates(self, profile: ProviderProfile, account: Account) -> Iterator[tuple[str, str]]:
        yield from self._variables(account.key_env)
        if account.key_command:
            yield self._ask_command(profile, account), f"key_command ({account.key_command[0]})"
        stored = self._vault.get(profile.name, account.label)
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

    def _ask_command(self, profile: ProviderProfile, account: Account) -> str:
        """What the user's command prints. It is run without a shell, and what it says is never shown.

        It is the user's own, and needs what its vault needs (an agent's socket, a session of its own): it gets all
        of the environment but the keys of providers.
        """
        name = account.key_command[0]
        kept = {key: value for key, value in self._environ.items() if key not in self._key_variables()}
        try:
            done = subprocess.run(
                account.key_command,
                env=kept,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._no_key(profile, f"key_command {name} did not end within {_COMMAND_TIMEOUT:g} s") from None
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or "it cannot be run"
            raise self._no_key(profile, f"key_command {name}: {words}") from None
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        if done.returncode != 0 or len(lines) != 1:
            ending = f"ended with exit code {done.returncode}" if done.returncode else f"printed {len(lines)} lines"
            raise self._no_key(profile, f"key_command {name} {ending}, where one line with the key was expected")
        return lines[0].strip()

    def _key_variables(self) -> set[str]:
        """Every variable that may hold a key: another program has no business with them."""
        accounts = [account for those in self._accounts.values() for account in those]
        conventional = [name for profile in self._profiles.values() for name in profile.key_env]
        return {
            *self._tokens,
            *conventional,
            *(name for account in accounts for name in (*account.key_env, *account.variables)),
        }

    def _no_key(self, profile: ProviderProfile, message: str) -> Unauthorized:
        return Unauthorized(
            f"{profile.title}: {message}", provider=profile.name, hint="run the command by hand to see what it says"
        )

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._accounts)})"


def check_private(path: Path) -> None:
    """Raise ``ConfigError`` for a file with a key in it that others may read; one that is not there is fine.

    Raises ``WorkspaceError`` where the folder that it is in lets nobody look.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be read: {error.strerror}", hint="check that you may read and write there"
        ) from None
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise ConfigError(f"{path} holds a key, and others may read it", hint=f"chmod 600 {path}")


def new_secret(profile: ProviderProfile, value: str, source: str) -> Secret:
    """The key, bound to its provider's origin. Raises ``ConfigError`` or ``Unauthorized`` for what can be none."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"{source} holds something that is no key: white space or characters outside ASCII")
    for beginning, hint in profile.refused_keys.items():
        if value.startswith(beginning):
            raise Unauthorized(
                f"{source} holds a key that begins with {beginning}, which is none for {profile.title}",
                provider=profile.name,
                hint=hint,
            )
    return Secret(value, origin=origin(profile.base_url), source=source)


def _keyring() -> Any:
    """The ``keyring`` library with a backend that works here, None without."""
    try:
        ring = importlib.import_module("keyring")
        return ring if ring.get_keyring().priority > 0 else None
    except (ImportError, RuntimeError):
        return None


def _read_json(path: Path) -> dict[str, str]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ConfigError(f"{path} cannot be read", hint=f"rm {path}, then autoroute login again") from None
    return data if isinstance(data, dict) else {}


def _write_json(path: Path, data: Mapping[str, str]) -> None:
    """Replace a private file in one step."""
    try:
        write_private(path, json.dumps(data))
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}") from None
