"""The checks of one route, in order. The first error ends them: the next ones would fail for the same reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from autoroute import wire
from autoroute.errors import AutorouteError, BadRequest, Busy, ExitCode, LimitReached, NoSuchModel, ProviderError
from autoroute.messages import Usage
from autoroute.phases import PHASES
from autoroute.preflight.free_requests import FreeRequests
from autoroute.preflight.probe import ProbeResult, probe_tools
from autoroute.preflight.results import CheckResult, Status
from autoroute.preflight.services import PreflightServices
from autoroute.providers.credentials import MissingKey
from autoroute.providers.served_model import is_same_model
from autoroute.routing import Phase, ProviderProfile, Route, Secret
from autoroute.text import did_you_mean, join_first

ProbeMode = Literal["if_unknown", "always", "never", "cache_only"]
"""When a model is probed: if no recent probe is known, always, never with a warning, or never."""

_MIN_OUTPUT_TOKENS = 4_000
_MAX_CLOCK_DIFFERENCE = timedelta(minutes=5)
_RETIREMENT_NOTICE = timedelta(days=60)
_MAX_LISTED_MODELS = 8


@dataclass(frozen=True, slots=True)
class RouteUse:
    """A route to check, and the phases that may use it."""

    route: Route
    profile: ProviderProfile
    phases: tuple[Phase, ...]

    def result(
        self,
        check: str,
        status: Status,
        summary: str,
        remediation: str = "",
        *,
        exit_code: ExitCode = ExitCode.CONFIGURATION,
    ) -> CheckResult:
        """Return the result of a check of this route."""
        route = self.route
        phases = [phase.value for phase in self.phases]
        return CheckResult(
            id=f"route.{route.name}.{route.account}.{check}",
            category=check,
            status=status,
            summary=summary,
            details={"phases": phases, "route": route.name, "account": route.account, "host": route.host},
            remediation=remediation,
            exit_code=exit_code,
        )

    def failure(self, check: str, error: AutorouteError) -> CheckResult:
        """Return the result of a check that raised an error."""
        known = (error.status, error.code) if isinstance(error, ProviderError) else ()
        code = " ".join(str(part) for part in known if part)
        summary = f"{error.message}{f' ({code})' if code else ''}"
        exit_code = ExitCode.CONFIGURATION if isinstance(error, BadRequest) else error.exit_code
        return self.result(check, "error", summary, error.hint, exit_code=exit_code)

    @property
    def other_model_hint(self) -> str:
        """How to choose another model."""
        return f"choose another model: --{PHASES[self.phases[0]].flag} ROUTE"


@dataclass(slots=True)
class RouteReport:
    """The results for a route, whether it calls tools, and the tokens that its probe took."""

    results: list[CheckResult] = field(default_factory=list)
    tools: bool = True
    tokens: int = 0


class RouteChecker:
    """Checks routes; safe to use from several threads at once.

    ``folder`` is an empty folder, where the process of a runner can be started.
    """

    def __init__(self, services: PreflightServices, probe_mode: ProbeMode, folder: Path) -> None:
        self._services = services
        self._probe_mode = probe_mode
        self._folder = folder
        self._requests = FreeRequests(services.config.clocks)
        self._slots: dict[tuple[str, str], threading.Semaphore] = {}
        self._lock = threading.Lock()

    def check(self, use: RouteUse) -> RouteReport:
        """Return all results for a route, up to the first error."""
        report = RouteReport(tools=use.route.tools)
        started = time.monotonic()
        for result in self._results(use, report):
            duration = time.monotonic() - started
            report.results.append(replace(result, duration_ms=int(duration * 1000)))
            if result.status == "error":
                break
            started = time.monotonic()
        return report

    def _results(self, use: RouteUse, report: RouteReport) -> Iterator[CheckResult]:
        services = self._services
        secret: Secret | None = None
        if use.profile.runner != "native" and services.runner is not None:
            for check in services.runner.check_route(use.profile, use.route):
                yield use.result(check.check, check.status, check.summary, check.hint, exit_code=check.exit_code)
        if not use.profile.logins:
            secret, result = self._check_credential(use)
            yield result
            yield self._check_key(use, secret)
        limit = services.cooldowns.active_limit(use.route)
        if limit is not None:
            yield use.result("quota", "warning", f"{self._until(limit)}: {limit.message}")
        yield self._check_limits(use)
        if services.config.budgets and services.prices.cost(use.route, Usage(input=1), services.now()) is None:
            yield from self._check_price(use)
        yield self._check_model(use, secret)
        yield self._check_tools(use, secret, report)

    def _check_credential(self, use: RouteUse) -> tuple[Secret | None, CheckResult]:
        try:
            with self._lock:  # one key command at a time: it may ask for a fingerprint
                found = self._services.credentials.find(use.route)
        except AutorouteError as error:
            result = use.result("credential", "error", error.message, error.hint, exit_code=error.exit_code)
            return None, result
        title, name = use.profile.title, use.profile.name
        if isinstance(found, MissingKey):
            searched = f"tried {', '.join(found.searched)}" if found.searched else "no source is configured"
            summary = f"no key found for {title} ({name}): {searched}"
            hint = _missing_key_hint(found)
            return None, use.result("credential", "error", summary, hint, exit_code=ExitCode.CREDENTIALS)
        if found is None:
            return None, use.result("credential", "ok", f"{title} needs no key")
        return found, use.result("credential", "ok", f"key from {found.source}")

    def _check_key(self, use: RouteUse, secret: Secret | None) -> CheckResult:
        profile = use.profile
        path = profile.key_check or (profile.model_list if secret is None else "")
        if profile.platform or not path:
            return use.result("key", "skipped", f"{profile.title} has no free request to check a key with")
        try:
            response = self._requests.fetch(profile, path, use.route, secret)
        except Busy as error:
            return use.result("key", "warning", f"{profile.title} is busy, so the key was not checked: {error.message}")
        except LimitReached as error:
            return self._limited(use, "key", error)
        except (NoSuchModel, BadRequest) as error:
            # A compatible server need not have this path.
            return use.result("key", "warning", f"key not checked, because GET {path} failed: {error.message}")
        except ProviderError as error:
            return use.failure("key", error)
        difference = abs(response.date - datetime.now(UTC)) if response.date else timedelta()
        if difference > _MAX_CLOCK_DIFFERENCE:
            summary = f"the clocks of this machine and of {profile.host} differ by {int(difference.total_seconds())} s"
            return use.result("key", "warning", summary, "set the clock, because reset times depend on it")
        return use.result("key", "ok", f"accepted by {profile.host}" if secret else f"{profile.host} answers")

    def _check_limits(self, use: RouteUse) -> CheckResult:
        route = use.route
        for phase in use.phases:
            minimum = PHASES[phase].min_context
            if route.context is not None and route.context < minimum:
                summary = f"context window too small for {phase}: {route.context} tokens, at least {minimum} needed"
                return use.result("limits", "error", summary, use.other_model_hint)
        if route.max_output is not None and route.max_output < _MIN_OUTPUT_TOKENS:
            summary = f"output limit too small: {route.max_output} tokens, at least {_MIN_OUTPUT_TOKENS} needed"
            return use.result("limits", "error", summary, use.other_model_hint)
        facts = self._services.catalog.resolve(f"{route.provider}/{route.model}").facts
        if facts and facts.retires and facts.retires - self._services.now().date() < _RETIREMENT_NOTICE:
            return use.result("limits", "warning", f"{route.model} retires on {facts.retires}", use.other_model_hint)
        if route.context is None:
            return use.result("limits", "warning", "context window and output limit are unknown")
        return use.result("limits", "ok", f"context {route.context}, output {route.max_output or 'unknown'} (tokens)")

    def _check_price(self, use: RouteUse) -> Iterator[CheckResult]:
        names = ("run", *(phase.value for phase in use.phases))
        budgets = self._services.config.budgets
        in_usd = {name: budget for name, budget in budgets.items() if name in names and budget.usd is not None}
        if not in_usd:
            return
        summary = f"the price of {use.route.name} is unknown"
        if all(budget.tokens is not None for budget in in_usd.values()):
            yield use.result("price", "warning", f"{summary}, so only the token budget limits it")
        else:
            summary = f"{summary}, so the USD budget cannot be enforced ({', '.join(in_usd)})"
            yield use.result("price", "error", summary, "set a token budget too: tokens under [budget]")

    def _check_model(self, use: RouteUse, secret: Secret | None) -> CheckResult:
        route, profile = use.route, use.profile
        if profile.platform or not profile.model_list:
            return use.result("model", "skipped", f"{profile.title} has no model list")
        try:
            ids = _model_ids(self._requests.fetch(profile, profile.model_list, route, secret).data)
        except ProviderError as error:
            return use.result("model", "warning", f"cannot read the model list of {profile.host}: {error.message}")
        if not ids:
            return use.result("model", "skipped", f"the model list of {profile.host} is empty")
        if any(is_same_model(self._services.catalog, route, id) for id in ids):
            return use.result("model", "ok", f"{route.model} is in the model list of {profile.host}")
        hint = did_you_mean(route.model, ids, otherwise=f"models: {join_first(ids, _MAX_LISTED_MODELS)}")
        # A list may lack models that work, so this is only a warning. The probe decides.
        return use.result("model", "warning", f"{route.model} is not in the model list of {profile.host}", hint)

    def _check_tools(self, use: RouteUse, secret: Secret | None, report: RouteReport) -> CheckResult:
        route, services = use.route, self._services
        if not route.tools:
            return self._without_tools(use, report, f"{route.model} does not call tools, according to the catalog")
        probed = services.probe_cache.last_success(use.profile, route) if self._probe_mode != "always" else None
        if probed:
            return use.result("tools", "ok", f"calls tools (tested {probed:%Y-%m-%d %H:%M} UTC)")
        if self._probe_mode == "cache_only":
            return use.result("tools", "skipped", "tool calling not tested yet (--probe: a few hundred tokens)")
        if self._probe_mode == "never":
            return use.result("tools", "warning", "tool calling not tested (--no-probe)")
        limit = services.cooldowns.active_limit(route)
        if limit is not None:
            return use.result("tools", "skipped", f"{self._until(limit)}, so tool calling is not tested now")
        try:
            with self._slot(use):
                model = wire.connect_with_runner(
                    services.runner,
                    use.profile,
                    route,
                    secret,
                    services.config.clocks,
                    self._folder,
                    until_spent=True,
                    redactor=services.credentials.redactor,
                )
                probe = probe_tools(model, route)
        except Busy as error:
            services.cooldowns.record(route, error)
            return use.result("tools", "warning", f"busy, so tool calling is not tested now: {error.message}")
        except LimitReached as error:
            services.cooldowns.record(route, error)
            return self._limited(use, "tools", error)
        except AutorouteError as error:  # also a missing package of a platform
            return use.failure("tools", error)
        report.tokens += probe.usage.total
        return self._judge_probe(use, probe, report)

    def _judge_probe(self, use: RouteUse, probe: ProbeResult, report: RouteReport) -> CheckResult:
        services, route = self._services, use.route
        is_requested = is_same_model(services.catalog, route, probe.served_model)
        if services.config.served_model == "strict" and not is_requested:
            summary = f"{probe.served_model} answered a request for {route.model}"
            hint = 'choose another route, or accept it with served_model = "warn" in your config.toml'
            return use.result("tools", "error", summary, hint)
        if probe.problem and probe.works_without_tools:
            return self._without_tools(use, report, probe.problem)
        if probe.problem:
            return use.result("tools", "error", probe.problem, use.other_model_hint)
        services.probe_cache.record_success(use.profile, route)
        return use.result("tools", "ok", "called a tool and used its result")

    def _without_tools(self, use: RouteUse, report: RouteReport, problem: str) -> CheckResult:
        """Return an error if a phase needs tools. The other phases work with a digest and a fenced block."""
        report.tools = False
        needing = [phase.value for phase in use.phases if PHASES[phase].needs_tools]
        if needing:
            summary = f"{problem}; tools are required for {', '.join(needing)}"
            return use.result("tools", "error", summary, use.other_model_hint)
        summary = f"{problem}, so it gets a digest of the repository and returns its result as a fenced block"
        return use.result("tools", "warning", summary)

    def _limited(self, use: RouteUse, check: str, error: LimitReached) -> CheckResult:
        """Return a warning, not an error: a run has fallbacks, or waits."""
        summary = f"{self._until(error)}: recovery decides when the phase begins ({error.message})"
        return use.result(check, "warning", summary)

    def _until(self, limit: ProviderError) -> str:
        if limit.retry_at is None:
            return "limited, with unknown reset time"
        is_today = limit.retry_at.date() == self._services.now().date()
        return f"limited until {limit.retry_at:{'%H:%M' if is_today else '%Y-%m-%d %H:%M'}} UTC"

    def _slot(self, use: RouteUse) -> AbstractContextManager[object]:
        """Return a context that holds one of the requests that an account may send at the same time."""
        limit = use.profile.max_concurrent
        if limit is None:
            return nullcontext()
        with self._lock:
            return self._slots.setdefault((use.route.provider, use.route.account), threading.Semaphore(limit))


def _missing_key_hint(key: MissingKey) -> str:
    if not key.variable:
        return f'name the variable with the key: key_env = ["…"] under [providers.{key.provider}] in your config.toml'
    page = f" (get one at {key.key_page})" if key.key_page else ""
    return f"export {key.variable}=…{page}, or autoroute login {key.provider}"


def _model_ids(data: Any) -> Sequence[str]:
    """Return the ``id`` or ``name`` of each model in ``{"data": [...]}``, ``{"models": [...]}`` or a list."""
    listed = data.get("data") or data.get("models") if isinstance(data, dict) else data
    rows = listed if isinstance(listed, list) else []
    ids = [row.get("id") or row.get("name") for row in rows if isinstance(row, dict)]
    return [id.removeprefix("models/") for id in ids if isinstance(id, str) and id.isprintable()]
