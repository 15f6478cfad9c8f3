"""Which login a route goes by, where its provider has logins: in a new run, and in one that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoroute.errors import ConfigError
from autoroute.routing import ProviderProfile
from autoroute.wire import Runner


@dataclass(frozen=True, slots=True)
class Logins:
    """The logins there are, by label and in the user's order, and what the user has said of them.

    ``chosen`` is the one that was put first, "" for none; ``had`` are provider and account of a run that goes on;
    ``switches`` is whether another one may go on unasked, ``may_pay`` whether one that pays for each token may.
    """

    runner: Runner
    labels: Sequence[str]
    chosen: str = ""
    had: Mapping[str, str] = field(default_factory=dict)
    switches: bool = False
    may_pay: bool = False

    def take(self, by_login: str, by_key: str) -> bool:
        """Whether a bare model goes by the provider with logins: where one may be there, or where it went before."""
        if by_login in self.had or by_key in self.had:
            return by_login in self.had
        return bool(self._first(self.labels))

    def account(self, profile: ProviderProfile) -> str:
        """The first login that can be used, else the first one: preflight says what it lacks.

        Raises ``ConfigError`` where the one that a run had is gone.
        """
        had = self.had.get(profile.name, "")
        if not had:
            return self._first(self.labels) or self.labels[0]
        if self.switches:
            return self._first([label for label in self.labels if label == had or self._is_free(label)]) or had
        first = self._first(self.labels)
        if had in self.labels:
            # One that the user has put before it takes over; one that only comes after it does not, unasked.
            return first if first and self.labels.index(first) < self.labels.index(had) else had
        if first and first == self.chosen:
            return first
        raise ConfigError(
            f"the run had the {profile.title} profile {had!r}, which is not there now",
            hint=f"bring it back, or put another one first: autoroute profiles use {first or 'NAME'}",
        )

    def _first(self, labels: Sequence[str]) -> str:
        """The first that is logged in, as far as can be said."""
        return next((label for label in labels if self.runner.is_ready(label) is not False), "")

    def _is_free(self, label: str) -> bool:
        return self.may_pay or self.runner.billing(label) != "usage"
