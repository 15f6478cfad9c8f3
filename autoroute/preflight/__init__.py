"""What is proved before a token is spent: for every phase and every fallback, at the same time.

results.py       one check's result, and the error that a run ends with when one is bad
route_checks.py  the checks of one route: credential, key, quota, limits, price, model, tools
probe.py         the two turns that show whether a model calls tools
probe_cache.py   what probes showed, kept for a day
forecast.py      what a run may cost
routing_lock.py  autoroute.lock: what the names in a routing meant when it was locked
environment.py   git, Python, proxies, sandbox: doctor's rows beyond the routes
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from autoroute import wire
from autoroute.errors import Billing, ProviderError, Unauthorized
from autoroute.preflight.probe_cache import ProbeCache
from autoroute.preflight.results import CheckResult
from autoroute.preflight.route_checks import RouteChecker, RouteReport, RouteUse
from autoroute.providers.catalog import Catalog
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.credentials import Credentials
from autoroute.providers.prices import Prices
from autoroute.routing import Phase, PhaseRouting, Route, RunConfig, Secret

ProbeMode = Literal["known", "force", "never", "cached"]
"""When a model is probed: where nothing is known yet; always; never; never, but what is known counts."""

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What was found, the configuration with what is now known of its routes, and the tokens that probes took."""

    results: Sequence[CheckResult]
    config: RunConfig
    tokens: int


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the checks need; ``now`` is the time of day, UTC."""

    config: RunConfig
    credentials: Credentials
    catalog: Catalog
    prices: Prices
    verdicts: ProbeCache
    now: Callable[[], datetime]
    cooldowns: Cooldowns
    runner: wire.Runner | None = None

    def run(self, probing: ProbeMode, phases: Sequence[Phase] | None = None) -> PreflightReport:
        """Check every route of these phases (None: of all) once, all at the same time."""
        subjects = _subjects(self.config, phases)
        with TemporaryDirectory(prefix="autoroute-", ignore_cleanup_errors=True) as folder:
            checker = RouteChecker(
                self.config,
                self.credentials,
                self.catalog,
                self.prices,
                self.verdicts,
                self.now,
                probing,
                self.cooldowns,
                self.runner,
                Path(folder),
            )
            reports = _side_by_side(checker.check, subjects)
        tools = {subject.route: report.tools for subject, report in zip(subjects, reports, strict=True)}
        return PreflightReport(
            results=[result for report in reports for result in report.findings],
            config=replace(self.config, phases=_with_tools(self.config.phases, tools)),
            tokens=sum(report.tokens for report in reports),
        )

    def recheck(self, route: Route) -> None:
        """The cheap repeat before a phase begins. Raises ``Unauthorized`` or ``Billing`` for what holds no more.

        Whatever else goes wrong is for the phase's own requests to meet, where it is retried.
        """
        if self.config.profile(route).logins and self.runner is not None:
            self.runner.recheck_login(route)
            return
        profile, secret = self.config.profile(route), self.credentials.find(route)
        if not profile.key_check or not isinstance(secret, Secret):
            return
        try:
            wire.fetch_json(profile, profile.key_check, route, secret, self.config.clocks)
        except (Unauthorized, Billing):
            raise
        except ProviderError:
            return


def _side_by_side(check: Callable[[RouteUse], RouteReport], subjects: Sequence[RouteUse]) -> list[RouteReport]:
    """All results, in order; raises the first error.

    The threads are daemons, unlike a pool's: Ctrl-C must not wait for a provider that says nothing.
    """
    turn = threading.Semaphore(_AT_ONCE)
    futures: list[Future[RouteReport]] = [Future() for _ in subjects]

    def fill(future: Future[RouteReport], subject: RouteUse) -> None:
        with turn:
            try:
                future.set_result(check(subject))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it, whatever it is
                future.set_exception(error)

    for future, subject in zip(futures, subjects, strict=True):
        threading.Thread(target=fill, args=(future, subject), name="preflight", daemon=True).start()
    return [future.result() for future in futures]


def _subjects(config: RunConfig, ahead: Sequence[Phase] | None) -> list[RouteUse]:
    """Every route that may be used, once, with the phases that may use it."""
    phases: dict[Route, list[Phase]] = {}
    for phase, routing in config.phases.items():
        if ahead is not None and phase not in ahead:
            continue
        for route in (routing.primary, *routing.fallbacks):
            # What a user wrote and how hard it is to think make no other route of it.
            phases.setdefault(replace(route, requested="", effort=""), []).append(phase)
    return [RouteUse(route, tuple(dict.fromkeys(used_by))) for route, used_by in phases.items()]


def _with_tools(phases: Mapping[Phase, PhaseRouting], tools: Mapping[Route, bool]) -> Mapping[Phase, PhaseRouting]:
    def known(route: Route) -> Route:
        return replace(route, tools=tools.get(replace(route, requested="", effort=""), route.tools))

    return {
        phase: PhaseRouting(known(routing.primary), tuple(known(route) for route in routing.fallbacks))
        for phase, routing in phases.items()
    }
