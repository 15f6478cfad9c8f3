"""Checks before a token is spent: every phase and every fallback, in parallel.

services.py       what the checks need
results.py        the result of a check, and the error that a run ends with
route_checks.py   the checks of one route: credential, key, quota, limits, price, model, tools
free_requests.py  requests that cost nothing, each sent once for an account
probe.py          the two turns that show whether a model calls tools
probe_cache.py    the successful probes of the last day
forecast.py       what a run may cost
routing_lock.py   autoroute.lock: what the names in a routing meant when it was locked
environment.py    git, Python, proxies, sandbox: doctor's rows beyond the routes
foreign_installs.py  environments in which tests would import something other than the change
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from autoroute import wire
from autoroute.errors import Billing, ProviderError, Unauthorized
from autoroute.preflight.results import CheckResult
from autoroute.preflight.route_checks import ProbeMode, RouteChecker, RouteReport, RouteUse
from autoroute.preflight.services import PreflightServices
from autoroute.routing import Phase, PhaseRouting, Route, RunConfig, Secret

_MAX_PARALLEL_CHECKS = 16
_RECHECK_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """The results, the configuration with what is now known of its routes, and the tokens that probes took."""

    results: Sequence[CheckResult]
    config: RunConfig
    tokens: int


@dataclass(slots=True)
class Preflight:
    """Checks the routes of a configuration."""

    services: PreflightServices
    _fresh: frozenset[Route] = frozenset()
    """The routes that ``run`` has checked, until the first ``recheck``."""
    _checked_at: datetime | None = None

    def run(self, probe_mode: ProbeMode, phases: Sequence[Phase] | None = None) -> PreflightReport:
        """Check every route of these phases (None: of all) once, in parallel."""
        config = self.services.config
        uses = _route_uses(config, phases)
        with TemporaryDirectory(prefix="autoroute-", ignore_cleanup_errors=True) as folder:
            checker = RouteChecker(self.services, probe_mode, Path(folder))
            reports = _check_in_parallel(checker.check, uses)
        self._fresh, self._checked_at = frozenset(use.route for use in uses), self.services.now()
        tools = {use.route: report.tools for use, report in zip(uses, reports, strict=True)}
        return PreflightReport(
            results=[result for report in reports for result in report.results],
            config=replace(config, phases=_with_tools(config.phases, tools)),
            tokens=sum(report.tokens for report in reports),
        )

    def recheck(self, route: Route) -> None:
        """Check a login or a key again before a phase, for free. Raises ``Unauthorized`` or ``Billing``.

        Other errors are ignored: the requests of the phase meet them, and are retried. The first phase begins right
        after ``run``, so its route is not checked twice.
        """
        services, fresh, self._fresh = self.services, self._fresh, frozenset()
        is_recent = self._checked_at is not None and services.now() - self._checked_at < _RECHECK_AFTER
        if is_recent and _identity(route) in fresh:
            return
        profile = services.config.profile(route)
        if profile.logins and services.runner is not None:
            services.runner.recheck_login(route)
            return
        secret = services.credentials.find(route)
        if not profile.key_check or not isinstance(secret, Secret):
            return
        try:
            wire.fetch_json(profile, profile.key_check, route, secret, services.config.clocks)
        except (Unauthorized, Billing):
            raise
        except ProviderError:
            return


def _check_in_parallel(check: Callable[[RouteUse], RouteReport], uses: Sequence[RouteUse]) -> list[RouteReport]:
    """Return all reports in order, or raise the first error.

    The threads are daemons, unlike those of a pool, so that Ctrl-C does not wait for a silent provider.
    """
    slots = threading.Semaphore(_MAX_PARALLEL_CHECKS)
    futures: list[Future[RouteReport]] = [Future() for _ in uses]

    def fill(future: Future[RouteReport], use: RouteUse) -> None:
        with slots:
            try:
                future.set_result(check(use))
            except BaseException as error:  # noqa: BLE001 - the caller of result() raises it, whatever it is
                future.set_exception(error)

    for future, use in zip(futures, uses, strict=True):
        threading.Thread(target=fill, args=(future, use), name="preflight", daemon=True).start()
    return [future.result() for future in futures]


def _route_uses(config: RunConfig, selected: Sequence[Phase] | None) -> list[RouteUse]:
    """Return every route that may be used, once, with the phases that may use it."""
    phases: dict[Route, list[Phase]] = {}
    for phase, routing in config.phases.items():
        if selected is not None and phase not in selected:
            continue
        for route in (routing.primary, *routing.fallbacks):
            phases.setdefault(_identity(route), []).append(phase)
    return [RouteUse(route, config.profile(route), tuple(dict.fromkeys(used_by))) for route, used_by in phases.items()]


def _with_tools(phases: Mapping[Phase, PhaseRouting], tools: Mapping[Route, bool]) -> Mapping[Phase, PhaseRouting]:
    def updated(route: Route) -> Route:
        return replace(route, tools=tools.get(_identity(route), route.tools))

    return {
        phase: PhaseRouting(updated(routing.primary), tuple(updated(route) for route in routing.fallbacks))
        for phase, routing in phases.items()
    }


def _identity(route: Route) -> Route:
    """Return the route without the user's wording and the effort, which make no difference to the checks."""
    return replace(route, requested="", effort="")
