"""The checks of one route, in order: each is worth asking only when those before it were good."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autoroute import wire
from autoroute.errors import (
    AutorouteError,
    BadRequest,
    Busy,
    ExitCode,
    LimitReached,
    NoSuchModel,
    ProviderError,
)
from autoroute.messages import Usage
from autoroute.phases import PHASES
from autoroute.preflight.probe import ProbeResult, probe_tools
from autoroute.preflight.probe_cache import ProbeCache
from autoroute.preflight.results import CheckResult, Status
from autoroute.providers.catalog import Catalog
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.credentials import Credentials, MissingKey
from autoroute.providers.prices import Prices
from autoroute.providers.served_model import is_same_model
from autoroute.routing import Phase, ProviderProfile, Route, RunConfig, Secret
from autoroute.text import did_you_mean

_LEAST_OUTPUT = 4_000
_SKEW = timedelta(minutes=5)
_SOON = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class RouteUse:
    """A route to be checked, and the phases that may use it."""

    route: Route
    phases: tuple[Phase, ...]


@dataclass(slots=True)
class RouteReport:
    """What came of a subject. ``tools`` is whether it calls tools, ``tokens`` what the probe took."""

    findings: list[CheckResult] = field(default_factory=list)
    tools: bool = True
    tokens: int = 0


@dataclass(slots=True)
class RouteChecker:
    """Checks routes; safe to use from several threads at once."""

    config: RunConfig
    credentials: Credentials
    catalog: Catalog
    prices: Prices
    verdicts: ProbeCache
    now: Callable[[], datetime]
    probing: str
    cooldowns: Cooldowns
    runner: wire.Runner | None
    folder: Path
    """An empty one, for a program that wants to be somewhere."""
    _places: dict[tuple[str, str], threading.Semaphore] = field(default_factory=dict)
    _looks: dict[tuple[str, str, str], Future[wire.JsonResponse]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, subject: RouteUse) -> RouteReport:
        """All rows of a route; the first error ends them."""
        result = RouteReport(tools=subject.route.tools)
        started = time.monotonic()
        for finding in self._rows(subject, result):
            took = time.monotonic() - started
            result.findings.append(_timed(finding, int(took * 1000)))
            if finding.status == "error":
                break
            started = time.monotonic()
        return result

    def _rows(self, subject: RouteUse, result: RouteReport) -> Generator[CheckResult, None, None]:
        route, profile = subject.route, self.config.profile(subject.route)
        secret: Secret | None = None
        if profile.runner != "native" and self.runner is not None:
            yield from (_seen(subject, look) for look in self.runner.check_route(profile, route))
        if not profile.logins:
            secret, finding = self._credential(subject, profile)
            yield finding
            yield self._key(subject, profile, secret)
        limit = self.cooldowns.active_limit(route)
        if limit is not None:
            yield _row(subject, "quota", "warning", f"{self._until(limit)}: {limit.message}")
        yield self._limits(subject)
        if self.config.budgets and self.prices.cost(route, Usage(input=1), self.now()) is None:
            yield from self._price(subject)
        yield self._model(subject, profile, secret)
        yield self._tools(subject, profile, secret, result)

    def _credential(self, subject: RouteUse, profile: ProviderProfile) -> tuple[Secret | None, CheckResult]:
        try:
            # One at a time: key commands may ask for a fingerprint.
            with self._lock:
                found = self.credentials.find(subject.route)
        except AutorouteError as error:
            row = _row(subject, "credential", "error", error.message, error.hint, exit_code=error.exit_code)
            return None, row
        if isinstance(found, MissingKey):
            looked = f"looked at {', '.join(found.searched)}" if found.searched else "no variable is named for it"
            summary = f"no key for {profile.title} ({profile.name}): {looked}"
            return None, _row(
                subject, "credential", "error", summary, _get_a_key(found), exit_code=ExitCode.CREDENTIALS
            )
        if found is None:
            return None, _row(subject, "credential", "ok", f"{profile.title} needs no key")
        return found, _row(subject, "credential", "ok", f"key from {found.source}")

    def _key(self, subject: RouteUse, profile: ProviderProfile, secret: Secret | None) -> CheckResult:
        path = profile.key_check or (profile.model_list if secret is None else "")
        if profile.platform or not path:
            return _row(subject, "key", "skipped", f"{profile.title} has no free request that proves a key")
        try:
            answer = self._look(profile, path, subject.route, secret)
        except Busy as error:
            return _row(subject, "key", "warning", f"{profile.title} is busy: {error.message}")
        except LimitReached as error:
            return self._limited(subject, "key", error)
        except (NoSuchModel, BadRequest) as error:
            # A compatible server need not have this path.
            return _row(subject, "key", "warning", f"{path} could not be asked: {error.message}")
        except ProviderError as error:
            return _failed(subject, "key", error)
        skew = abs(answer.date - datetime.now(UTC)) if answer.date else timedelta()
        if skew > _SKEW:
            words = f"the clock here and that of {profile.host} differ by {int(skew.total_seconds())} s"
            return _row(subject, "key", "warning", words, "set the clock: reset times would be misread")
        return _row(subject, "key", "ok", f"accepted by {profile.host}" if secret else f"{profile.host} answers")

    def _limits(self, subject: RouteUse) -> CheckResult:
        route = subject.route
        for phase in subject.phases:
            least = PHASES[phase].min_context
            if route.context is not None and route.context < least:
                summary = f"a context window of {route.context} tokens is too small for {phase}, which needs {least}"
                return _row(subject, "limits", "error", summary, _another(subject))
        if route.max_output is not None and route.max_output < _LEAST_OUTPUT:
            summary = f"replies of at most {route.max_output} tokens are too short; {_LEAST_OUTPUT} are needed"
            return _row(subject, "limits", "error", summary, _another(subject))
        facts = self.catalog.resolve(f"{route.provider}/{route.model}").facts
        if facts and facts.retires and facts.retires - self.now().date() < _SOON:
            return _row(subject, "limits", "warning", f"{route.model} retires on {facts.retires}", _another(subject))
        if route.context is None:
            return _row(subject, "limits", "warning", "context window and output limit are not known")
        return _row(subject, "limits", "ok", f"context {route.context}, output {route.max_output or 'not known'}")

    def _price(self, subject: RouteUse) -> Generator[CheckResult, None, None]:
        names = ("run", *(phase.value for phase in subject.phases))
        in_usd = {
            name: budget for name, budget in self.config.budgets.items() if name in names and budget.usd is not None
        }
        if not in_usd:
            return
        summary = f"the price of {subject.route.name} is not known"
        if all(budget.tokens is not None for budget in in_usd.values()):
            yield _row(subject, "price", "warning", f"{summary}: only the budget in tokens bounds it")
        else:
            words = f"{summary}, so a budget in USD ({', '.join(in_usd)}) cannot hold"
            yield _row(subject, "price", "error", words, "set a budget in tokens too: tokens under [budget]")

    def _model(self, subject: RouteUse, profile: ProviderProfile, secret: Secret | None) -> CheckResult:
        route = subject.route
        if profile.platform or not profile.model_list:
            return _row(subject, "model", "skipped", f"{profile.title} lists no models")
        try:
            ids = _ids(self._look(profile, profile.model_list, route, secret).data)
        except ProviderError as error:
            return _row(subject, "model", "warning", f"its list of models could not be read: {error.message}")
        if not ids:
            return _row(subject, "model", "skipped", f"{profile.host} lists no models")
        if any(is_same_model(self.catalog, route, id) for id in ids):
            return _row(subject, "model", "ok", f"{route.model} is listed by {profile.host}")
        hint = did_you_mean(route.model, ids, otherwise=f"it lists {', '.join(ids[:8])}")
        # Lists leave out models that work; the probe decides.
        return _row(
            subject, "model", "warning", f"{route.model} is not among the models that {profile.host} lists", hint
        )

    def _tools(
        self, subject: RouteUse, profile: ProviderProfile, secret: Secret | None, result: RouteReport
    ) -> CheckResult:
        route = subject.route
        if not route.tools:
            return self._without_tools(subject, result, f"{route.model} does not call tools, says the catalog")
        known = self.verdicts.holds(profile, route) if self.probing != "force" else None
        if known:
            return _row(subject, "tools", "ok", f"calls tools (tried {known:%Y-%m-%d %H:%M} UTC)")
        if self.probing == "cached":
            return _row(subject, "tools", "skipped", "not tried yet: --probe asks it, for a few hundred tokens")
        if self.probing == "never":
            return _row(subject, "tools", "warning", "whether it calls tools was not tried (--no-probe)")
        limit = self.cooldowns.active_limit(route)
        if limit is not None:
            return _row(subject, "tools", "skipped", f"{self._until(limit)}, so not tried now")
        try:
            with self._place(profile, route):
                model = wire.connect_with_runner(
                    self.runner,
                    profile,
                    route,
                    secret,
                    self.config.clocks,
                    self.folder,
                    until_spent=True,
                    redactor=self.credentials.redactor,
                )
                shown = probe_tools(model, route)
        except Busy as error:
            self.cooldowns.record(route, error)
            return _row(subject, "tools", "warning", f"busy, so not tried now: {error.message}")
        except LimitReached as error:
            self.cooldowns.record(route, error)
            return self._limited(subject, "tools", error)
        except AutorouteError as error:  # a platform whose package is missing, too
            return _failed(subject, "tools", error)
        result.tokens += shown.usage.total
        return self._judge(subject, profile, shown, result)

    def _judge(
        self, subject: RouteUse, profile: ProviderProfile, shown: ProbeResult, result: RouteReport
    ) -> CheckResult:
        route = subject.route
        if self.config.served_model == "strict" and not is_same_model(self.catalog, route, shown.served_model):
            summary = f"{route.model} was asked for, and {shown.served_model} answered"
            hint = 'choose another route, or accept it: served_model = "warn" in your config.toml'
            return _row(subject, "tools", "error", summary, hint)
        if shown.complaint and shown.answers:
            return self._without_tools(subject, result, shown.complaint)
        if shown.complaint:
            return _row(subject, "tools", "error", shown.complaint, _another(subject))
        self.verdicts.keep(profile, route)
        return _row(subject, "tools", "ok", "called a tool, and answered to its result")

    def _without_tools(self, subject: RouteUse, result: RouteReport, summary: str) -> CheckResult:
        """Fatal where the phase needs tools; the others go on with a digest and a fenced block."""
        result.tools = False
        needing = [phase.value for phase in subject.phases if PHASES[phase].needs_tools]
        if needing:
            return _row(
                subject, "tools", "error", f"{summary}; {', '.join(needing)} cannot do without", _another(subject)
            )
        words = f"{summary}: it gets a digest of the repository instead, and hands on in a fenced block"
        return _row(subject, "tools", "warning", words)

    def _limited(self, subject: RouteUse, check: str, error: LimitReached) -> CheckResult:
        """No reason to refuse: a run has fallbacks, or waits."""
        words = f"{self._until(error)}: recovery decides when the phase begins ({error.message})"
        return _row(subject, check, "warning", words)

    def _until(self, limit: ProviderError) -> str:
        if limit.retry_at is None:
            return "limited, and nobody says until when"
        day = "" if limit.retry_at.date() == self.now().date() else f"{limit.retry_at:%Y-%m-%d} "
        return f"limited until {day}{limit.retry_at:%H:%M} UTC"

    def _place(self, profile: ProviderProfile, route: Route) -> AbstractContextManager[object]:
        """One of the requests that an account may send at the same time."""
        if profile.max_concurrent is None:
            return nullcontext()
        with self._lock:
            return self._places.setdefault((route.provider, route.account), threading.Semaphore(profile.max_concurrent))

    def _look(self, profile: ProviderProfile, path: str, route: Route, secret: Secret | None) -> wire.JsonResponse:
        """A free request, made once for each account however many routes want to know."""
        key = (profile.name, route.account, path)
        with self._lock:
            mine = key not in self._looks
            future = self._looks.setdefault(key, Future())
        if mine:
            try:
                future.set_result(wire.fetch_json(profile, path, route, secret, self.config.clocks))
            except BaseException as error:
                future.set_exception(error)  # the others wait for it, whatever it is
                raise
        return future.result()


def _row(
    subject: RouteUse,
    check: str,
    status: Status,
    summary: str,
    remediation: str = "",
    *,
    exit_code: ExitCode = ExitCode.CONFIGURATION,
) -> CheckResult:
    route = subject.route
    phases = [phase.value for phase in subject.phases]
    return CheckResult(
        id=f"route.{route.name}.{route.account}.{check}",
        category=check,
        status=status,
        summary=summary,
        details={"phases": phases, "route": route.name, "account": route.account, "host": route.host},
        remediation=remediation,
        exit_code=exit_code,
    )


def _seen(subject: RouteUse, look: wire.RouteCheck) -> CheckResult:
    return _row(subject, look.check, look.status, look.summary, look.hint, exit_code=look.exit_code)


def _failed(subject: RouteUse, check: str, error: AutorouteError) -> CheckResult:
    known = (error.status, error.code) if isinstance(error, ProviderError) else ()
    code = " ".join(str(part) for part in known if part)
    summary = f"{error.message}{f' ({code})' if code else ''}"
    exit_code = ExitCode.CONFIGURATION if isinstance(error, BadRequest) else error.exit_code
    return _row(subject, check, "error", summary, error.hint, exit_code=exit_code)


def _timed(finding: CheckResult, duration: int) -> CheckResult:
    return CheckResult(**{name: getattr(finding, name) for name in CheckResult.__slots__} | {"duration_ms": duration})


def _get_a_key(key: MissingKey) -> str:
    if not key.variable:
        return f'name the variable that holds it: key_env = ["…"] under [providers.{key.provider}] in your config.toml'
    page = f" (get one at {key.key_page})" if key.key_page else ""
    return f"export {key.variable}=…{page}, or autoroute login {key.provider}"


def _another(subject: RouteUse) -> str:
    return f"choose another model: --{PHASES[subject.phases[0]].flag} ROUTE"


def _ids(data: Any) -> Sequence[str]:
    """Model ids of a listing, in the forms that vendors give it."""
    listed = data.get("data") or data.get("models") if isinstance(data, dict) else data
    rows = listed if isinstance(listed, list) else []
    ids = [row.get("id") or row.get("name") for row in rows if isinstance(row, dict)]
    return [id.removeprefix("models/") for id in ids if isinstance(id, str) and id.isprintable()]
