"""``ClaudeCodeRunner``: the official CLI as a ``wire.Runner``, whose accounts are the logins that it keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from autoroute import errors
from autoroute.claude.executable import Executable, LoginStatus, find_executable, is_onboarded, login_command
from autoroute.claude.model import AccountHooks, ClaudeModel
from autoroute.claude.plan_usage import PlanUsage, UsageWindow
from autoroute.claude.process_environment import conversation_environment, gateway_environment
from autoroute.errors import ConfigError, ExitCode, LimitReached, ProviderError, Unauthorized
from autoroute.providers.claude_profiles import ClaudeProfile, ClaudeSettings, find_profile
from autoroute.routing import Billing, Clocks, ProviderProfile, RecoverySettings, Route, Secret, origin
from autoroute.wire import RouteCheck
from autoroute.wire.classification import annotate_error

TESTED_VERSION = "2.1.330"
"""The version of Claude Code that this package was tested with."""
_GATEWAYS_FOLDER = "gateways"
_SWITCHING = ("ask", "switch")
"""The ``on_limit`` settings that try another account first."""


class ClaudeCodeRunner:
    """Runs phases by Claude Code; see ``wire.Runner``. ``folder`` is autoroute's own, for accounts without a login.

    ``is_limited`` tells which accounts are known to be limited: an account is left early only for one that can answer.
    ``now`` returns the time in UTC.
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
        self._statuses: dict[str, LoginStatus] = {}
        self._usage: dict[str, PlanUsage] = {}
        self._left_early: dict[str, datetime | None] = {}
        """Accounts that were left before their limit -> its reset. If used again, they are used up to the limit."""

    @cached_property
    def executable(self) -> Executable:
        """The ``claude`` command. Raises ``ConfigError`` if there is none."""
        return find_executable(self.settings.binary, self._environ, self._folder)

    def login_status(self, label: str) -> LoginStatus:
        """Return the state of a login. Claude Code is asked only once for each."""
        with self._lock:
            lock = self._locks.setdefault(label, threading.Lock())
        with lock:
            if label not in self._statuses:
                try:
                    self._statuses[label] = self.executable.login_status(self._profile(label))
                except ConfigError as error:
                    self._statuses[label] = LoginStatus(logged_in=False, problem=error.message)
            return self._statuses[label]

    def is_ready(self, account: str) -> bool | None:
        """Return whether an account is logged in; None if Claude Code could not tell, False without Claude Code."""
        try:
            _ = self.executable
        except ConfigError:
            return False
        status = self.login_status(account)
        return None if status.problem else status.logged_in

    def billing(self, account: str) -> Billing:
        """Return how an account's tokens are billed."""
        return self.login_status(account).billing

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
        """Return the model of a route. Raises ``ConfigError`` without the ``claude`` command."""
        if profile.logins:
            environment = self.executable.environment(self._profile(route.account))
        else:
            name = f"{_file_name(profile.name)}-{_file_name(route.account)}"
            folder = self.executable.folder(f"{_GATEWAYS_FOLDER}/{name}")
            environment = gateway_environment(self._environ, profile, route.model, secret, folder)
        cache = self.executable.folder("cache")
        may_leave = profile.logins and not until_spent
        account = AccountHooks(
            environment=partial(conversation_environment, environment, profile, clocks, cache),
            annotate=partial(self._annotate, profile, route, secret),
            record_usage=partial(self._usage.__setitem__, route.account) if profile.logins else _ignore_usage,
            reason_to_leave=partial(self._reason_to_leave, route) if may_leave else _never_leave,
        )
        return ClaudeModel(self.executable.path, profile, clocks, root, account)

    def check_route(self, profile: ProviderProfile, route: Route) -> Iterator[RouteCheck]:
        """Check the command and its version; for a login, whether it exists and its first start is complete."""
        try:
            version = self.executable.version()
        except ConfigError as error:
            yield RouteCheck("binary", "error", error.message, error.hint, ExitCode.CONFIGURATION)
            return
        summary = f"Claude Code {version} at {self.executable.path}"
        if _version_numbers(version) < _version_numbers(TESTED_VERSION):
            yield RouteCheck(
                "binary", "warning", f"{summary}; autoroute is tested with {TESTED_VERSION}", "claude update"
            )
        else:
            yield RouteCheck("binary", "ok", summary)
        if not profile.logins:
            return
        status, login = self.login_status(route.account), self._profile(route.account)
        if not status.logged_in:
            yield RouteCheck("login", "error", _not_logged_in(login, status), self._login_hint(login))
            return
        plan = f", plan {status.plan}" if status.plan else ""
        yield RouteCheck("login", "ok", f"profile {login.label} is logged in ({status.method}{plan})")
        if not is_onboarded(login, self._environ):
            summary = f"profile {login.label}: the first start of Claude Code is not complete, and it may ask questions"
            start = login_command(login, self._environ).removesuffix(" auth login")
            yield RouteCheck("onboarding", "warning", summary, f"start it once: {start}")

    def recheck_login(self, route: Route) -> None:
        """Check the login again, offline. Raises ``Unauthorized``."""
        login = self._profile(route.account)
        status = self._statuses[route.account] = self.executable.login_status(login)
        if not status.logged_in and not status.problem:
            raise Unauthorized(
                _not_logged_in(login, status),
                provider=route.provider,
                model=route.model,
                account=route.account,
                hint=self._login_hint(login),
            )
        if self._was_left_early(route.account) and (reason := self._nearly_spent(route)):
            raise reason

    def _profile(self, label: str) -> ClaudeProfile:
        return find_profile(label, self.profiles)

    def _login_hint(self, login: ClaudeProfile) -> str:
        command = login_command(login, self._environ)
        return command if login.token_env else f"autoroute profiles login {login.label}, or {command}"

    def _annotate(self, profile: ProviderProfile, route: Route, secret: Secret | None, error: ProviderError) -> None:
        """Add the account and a hint to an error, and redact it."""
        if profile.logins:
            login = self._profile(route.account)
            secret = self._token(login, profile)
            match error:
                case Unauthorized():
                    error.hint = self._login_hint(login)
                case errors.Billing():
                    error.hint = f"check the plan of profile {login.label}: claude.ai/settings/usage"
        annotate_error(error, profile, route, secret)

    def _token(self, login: ClaudeProfile, profile: ProviderProfile) -> Secret | None:
        """Return the token of a login that is in a variable, so that it is redacted in errors."""
        value = self._environ.get(login.token_env, "") if login.token_env else ""
        return Secret(value, origin=origin(profile.base_url), source=login.token_env) if value else None

    def _reason_to_leave(self, route: Route) -> LimitReached | None:
        """Return why the account must not be asked now, else None.

        It would cost extra, or it is nearly used up and another one can answer.
        """
        usage = self._usage.get(route.account, PlanUsage())
        deciding = usage.deciding
        if usage.is_paid and not self._recovery.allow_paid and (deciding is None or self._is_current(deciding)):
            return LimitReached(
                "the plan's limit is reached, and Claude would continue with paid extra usage, "
                "which needs allow_paid = true",
                code="overage",
                retry_at=deciding.resets_at if deciding else None,
                limit="plan",
                by_setting=True,
            )
        return None if self._was_left_early(route.account) else self._nearly_spent(route)

    def _was_left_early(self, account: str) -> bool:
        """Return whether an account was left early in a window that has not reset yet."""
        until = self._left_early.get(account)
        return account in self._left_early and (until is None or until > self._now())

    def _nearly_spent(self, route: Route) -> LimitReached | None:
        """Return the threshold that the account has passed, if another account can take over."""
        switches = self.settings.auto_switch and self._recovery.on_limit in _SWITCHING
        spent = next(filter(self._is_spent, self._usage.get(route.account, PlanUsage()).windows), None)
        if spent is None or not switches or not self._has_other(route):
            return None
        self._left_early[route.account] = spent.resets_at
        threshold = self._threshold(spent)
        return LimitReached(
            f"{(spent.used or 0) * 100:.0f} % of the {spent.type.replace('_', '-')} window is used "
            f"(threshold: {threshold:g} %)",
            code="threshold",
            limit=spent.limit,
            by_setting=True,
            account_usable=True,
        )

    def _is_spent(self, window: UsageWindow) -> bool:
        """Return whether a window of the whole account is above its threshold. A window of one model does not count."""
        of_all = window.whole_account and window.limit in ("five_hour", "week")
        is_known = of_all and window.used is not None and self._is_current(window)
        return is_known and (window.used or 0.0) * 100 >= self._threshold(window)

    def _is_current(self, window: UsageWindow) -> bool:
        """Return whether a window has not reset yet."""
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


def _not_logged_in(login: ClaudeProfile, status: LoginStatus) -> str:
    return status.problem or f"Claude profile {login.label} is not logged in ({login.source})"


def _ignore_usage(_usage: PlanUsage) -> None:
    """Do nothing: the key of a gateway has no usage windows."""


def _never_leave() -> None:
    """Return None: the account is used up to its limit."""


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _file_name(text: str) -> str:
    """Return a name that is valid as a file name on any system."""
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in text)
