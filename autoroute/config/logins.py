"""The choice of a login for a route whose provider has logins, in a new run and in a resumed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoroute.errors import ConfigError
from autoroute.routing import ProviderProfile
from autoroute.wire import Runner


@dataclass(frozen=True, slots=True)
class LoginChoice:
    """The known logins and the user's settings about them.

    - ``labels`` are the logins in the user's order; ``preferred`` is the one that the user put first, "" for none.
    - ``earlier_accounts`` maps each provider of a resumed run to the account that it used.
    - ``auto_switch`` allows another login to take over without a question.
    - ``allow_paid`` allows that for a login that pays per token, too.
    """

    runner: Runner
    labels: Sequence[str]
    preferred: str = ""
    earlier_accounts: Mapping[str, str] = field(default_factory=dict)
    auto_switch: bool = False
    allow_paid: bool = False

    def uses_login(self, login_provider: str, key_provider: str) -> bool:
        """Return whether a model without a provider uses a login.

        A resumed run keeps the provider that it used. A new run uses a login if one may be usable.
        """
        if login_provider in self.earlier_accounts or key_provider in self.earlier_accounts:
            return login_provider in self.earlier_accounts
        return bool(self._first_usable(self.labels))

    def choose_account(self, profile: ProviderProfile) -> str:
        """Return the first usable login, else the first one: preflight then reports what is wrong with it.

        Raises ``ConfigError`` if the login of a resumed run no longer exists.
        """
        earlier = self.earlier_accounts.get(profile.name, "")
        if not earlier:
            return self._first_usable(self.labels) or self.labels[0]
        if self.auto_switch:
            allowed = [label for label in self.labels if label == earlier or self._may_replace(label)]
            return self._first_usable(allowed) or earlier
        first = self._first_usable(self.labels)
        if earlier in self.labels:
            # A login before it takes over, because the user put it there. One after it needs the user's consent.
            return first if first and self.labels.index(first) < self.labels.index(earlier) else earlier
        if first and first == self.preferred:
            return first
        raise ConfigError(
            f"the {profile.title} profile {earlier!r} of this run no longer exists",
            hint=f"restore it, or choose another one: autoroute profiles use {first or 'NAME'}",
        )

    def _first_usable(self, labels: Sequence[str]) -> str:
        """Return the first login that is not known to be logged out, "" for none."""
        return next((label for label in labels if self.runner.is_ready(label) is not False), "")

    def _may_replace(self, label: str) -> bool:
        return self.allow_paid or self.runner.billing(label) != "usage"
