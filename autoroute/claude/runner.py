"""``ClaudeCodeRunner``: the official program as a ``wire.Runner``, with the logins that it keeps as accounts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from autoroute import errors
from autoroute.claude.api_errors import PlanUsage, UsageWindow
from autoroute.claude.executable import Executable, LoginStatus, find_executable, is_onboarded, login_command
from autoroute.claude.model import ClaudeModel
from autoroute.claude.process_environment import gateway_environment, working_environment
from autoroute.errors import ConfigError, ExitCode, LimitReached, ProviderError, Unauthorized
from autoroute.providers.claude_profiles import ClaudeProfile, ClaudeSettings, find_profile
from autoroute.routing import Billing, Clocks, ProviderProfile, RecoverySettings, Route, Secret, origin
from autoroute.wire import RouteCheck
from autoroute.wire.classification import annotate_error

TESTED_VERSION = "2.1.330"
"""The version that all this was tried with."""
_GATEWAYS = "gateways"
_SWITCHING = ("ask", "switch")
"""``on_limit`` under which another account goes on before anything else."""


class ClaudeCodeRunner:
    """See ``wire.Runner``. ``folder`` is one of our own, for what has no login.

    ``is_limited`` says which accounts are known to be limited, so that one is left before its end only for one that is
    open; ``now`` is the time of day, UTC.
    """

    def __init__(
        self,
        settings: ClaudeSettings,
        profiles: Sequence[ClaudeProfile],
        environ: Mapping[str, str],
        folder: Path,
        *,
        recovery: RecoverySettings,
        is_limited: Callable[[Route], bool],
        now: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.profiles = tuple(profiles)
        self._environ = environ
        self._folder = folder
        self._recovery = recovery
        self._is_limited = is_limited
        self._now = now
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, LoginStatus] = {}
        self._used: dict[str, PlanUsage] = {}
        self._left: dict[str, datetime | None] = {}
        """Accounts that were left before their end, and when that is: who comes back to one uses it to its end."""

    @cached_property
    def program(self) -> Executable:
        """The program. Raises ``ConfigError`` when there is none."""
        return find_executable(self.settings.binary, self._environ, self._folder)

    def login(self, label: str) -> LoginStatus:
        """What the program says of a login, asked once."""
        with self._lock:
            lock = self._locks.setdefault(label, threading.Lock())
        with lock:
            if label not in self._known:
                try:
                    self._known[label] = self.program.status(self._profile(label))
                except ConfigError as error:
                    self._known[label] = LoginStatus(logged_in=False, complaint=error.message)
            return self._known[label]

    def is_ready(self, account: str) -> bool | None:
        """Whether an account is logged in; None when the program could not say. Without the program nobody is."""
        try:
            _ = self.program
        except ConfigError:
            return False
        found = self.login(account)
        return None if found.complaint else found.logged_in

    def billing(self, account: str) -> Billing:
        """What its tokens cost."""
        return self.login(account).billing

    def connect(
        self,
        profile: ProviderProfile,
        route: Route,
        secret: Secret | None,
        clocks: Clocks,
        root: Path,
        *,
        until_spent: bool = False,
    ) -> ClaudeModel:
        """The model behind a route. Raises ``ConfigError`` when there is no program."""
        if profile.logins:
            account = self.program.environment(self._profile(route.account))
        else:
            folder = self.program.folder(f"{_GATEWAYS}/{_file_name(profile.name)}-{_file_name(route.account)}")
            account = gateway_environment(self._environ, profile, route.model, secret, folder)
        return ClaudeModel(
            self.program.path,
            profile,
            clocks,
            root,
            environment=partial(working_environment, account, profile, clocks, self.program.folder("cache")),
            explain=partial(self._explain, profile, route, secret),
            heard=partial(self._used.__setitem__, route.account) if profile.logins else _ignore,
            leave=partial(self._leave, route) if profile.logins and not until_spent else _stay,
        )

    def check_route(self, profile: ProviderProfile, route: Route) -> Iterator[RouteCheck]:
        """The program and its version; for a login whether it is there, and whether its first start is behind it."""
        try:
            version = self.program.version()
        except ConfigError as error:
            yield RouteCheck("binary", "error", error.message, error.hint, ExitCode.CONFIGURATION)
            return
        words = f"claude {version} at {self.program.path}"
        if _numbers(version) < _numbers(TESTED_VERSION):
            yield RouteCheck(
                "binary", "warning", f"{words}; autoroute is tested with {TESTED_VERSION}", "claude update"
            )
        else:
            yield RouteCheck("binary", "ok", words)
        if not profile.logins:
            return
        found, login = self.login(route.account), self._profile(route.account)
        if not found.logged_in:
            yield RouteCheck("login", "error", self._missing(login, found), self._mend(login))
            return
        plan = f", plan {found.plan}" if found.plan else ""
        yield RouteCheck("login", "ok", f"profile {login.label} is logged in ({found.method}{plan})")
        if not is_onboarded(login, self._environ):
            words = f"profile {login.label} was never started by hand, and a first start may ask something"
            start = login_command(login, self._environ).removesuffix(" auth login")
            yield RouteCheck("onboarding", "warning", words, f"start it once: {start}")

    def recheck_login(self, route: Route) -> None:
        """Ask again whether the login is there, offline. Raises ``Unauthorized``."""
        login = self._profile(route.account)
        found = self._known[route.account] = self.program.status(login)
        if not found.logged_in and not found.complaint:
            raise Unauthorized(
                self._missing(login, found),
                provider=route.provider,
                model=route.model,
                account=route.account,
                hint=self._mend(login),
            )
        if self._was_left(route.account) and (reason := self._nearly_spent(route)):
            raise reason

    def _profile(self, label: str) -> ClaudeProfile:
        return find_profile(label, self.profiles)

    def _missing(self, login: ClaudeProfile, found: LoginStatus) -> str:
        return found.complaint or f"profile {login.label} of Claude Code is not logged in ({login.source})"

    def _mend(self, login: ClaudeProfile) -> str:
        command = login_command(login, self._environ)
        return command if login.token_env else f"autoroute profiles login {login.label}, or {command}"

    def _explain(self, profile: ProviderProfile, route: Route, secret: Secret | None, error: ProviderError) -> None:
        """Say in an error whom it concerns and what mends it."""
        if profile.logins:
            login = self._profile(route.account)
            secret = self._token(login, profile)
            match error:
                case Unauthorized():
                    error.hint = self._mend(login)
                case errors.Billing():
                    error.hint = f"look at the plan of profile {login.label}: claude.ai/settings/usage"
        annotate_error(error, profile, route, secret)

    def _token(self, login: ClaudeProfile, profile: ProviderProfile) -> Secret | None:
        """A login's token that stands in a variable, so that no error holds it."""
        value = self._environ.get(login.token_env, "") if login.token_env else ""
        return Secret(value, origin=origin(profile.base_url), source=login.token_env) if value else None

    def _leave(self, route: Route) -> LimitReached | None:
        """Why this account is not asked again: it would cost extra, or is nearly spent while another one is open."""
        usage = self._used.get(route.account, PlanUsage())
        deciding = usage.deciding
        if usage.is_paid and not self._recovery.allow_paid and (deciding is None or self._holds(deciding)):
            return LimitReached(
                "the plan's limit is reached, and Claude goes on as paid extra usage; allow_paid = true lets it",
                code="overage",
                retry_at=deciding.resets_at if deciding else None,
                limit="plan",
                by_setting=True,
            )
        return None if self._was_left(route.account) else self._nearly_spent(route)

    def _was_left(self, account: str) -> bool:
        """Whether an account was left before the end of a window that still runs."""
        until = self._left.get(account)
        return account in self._left and (until is None or until > self._now())

    def _nearly_spent(self, route: Route) -> LimitReached | None:
        """Why another account should go on, if there is one that is open."""
        switches = self.settings.auto_switch and self._recovery.on_limit in _SWITCHING
        spent = next(filter(self._is_spent, self._used.get(route.account, PlanUsage()).windows), None)
        if spent is None or not switches or not self._has_other(route):
            return None
        self._left[route.account] = spent.resets_at
        bound = self._threshold(spent)
        return LimitReached(
            f"{(spent.used or 0) * 100:.0f} % of the {spent.type.replace('_', ' ')} window is used, "
            f"and {bound:g} % is the threshold",
            code="threshold",
            limit=spent.limit,
            by_setting=True,
            account_usable=True,
        )

    def _is_spent(self, window: UsageWindow) -> bool:
        """Whether a window of the whole account is nearly used up. What is left of one model's is for its own route."""
        of_all = window.whole_account and window.limit in ("five_hour", "week")
        is_known = of_all and window.used is not None and self._holds(window)
        return is_known and (window.used or 0.0) * 100 >= self._threshold(window)

    def _holds(self, window: UsageWindow) -> bool:
        """Whether what was said of a window is not over by now."""
        return window.resets_at is None or window.resets_at > self._now()

    def _threshold(self, window: UsageWindow) -> float:
        return self.settings.session_threshold if window.limit == "five_hour" else self.settings.weekly_threshold

    def _has_other(self, route: Route) -> bool:
        others = (replace(route, account=profile.label) for profile in self.profiles if profile.label != route.account)
        return any(
            self.is_ready(other.account)
            and (self._recovery.allow_paid or self.billing(other.account) == "plan")
            and not self._is_limited(other)
            for other in others
        )


def _ignore(_usage: PlanUsage) -> None:
    """A gateway's key has no windows."""


def _stay() -> None:
    """So it is never left before its time."""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _file_name(text: str) -> str:
    """A name that is one of a file, on any system."""
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in text)
