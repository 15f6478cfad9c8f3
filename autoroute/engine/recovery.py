"""What happens when a provider cannot continue: the options, the one that is taken, and taking it.

    wait      until the limit resets        switch    to another account of the provider
    fallback  to a listed route             stop      the run ends, resumable

A wait may also be carried out by parking: the run ends, and is resumed when the wait is over.

Only routes that the user listed are substituted. Everything is bounded: ``max_wait`` bounds all waits of a sitting
together, and a route that failed is excluded from the phase until what stopped it may have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from autoroute.engine.context import RunContext
from autoroute.engine.policy import MAX_RETRY_WAIT_SECONDS, Decision, Park, Parked
from autoroute.engine.sitting import Sitting
from autoroute.errors import (
    Billing,
    Busy,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.events import Action, ActionTaken, Event, Option, RecoveryDecided, RecoveryNeeded
from autoroute.messages import Usage
from autoroute.phases import PHASES
from autoroute.routing import OnLimit, Phase, PhaseRouting, RecoverySettings, Route

_FIRST_PAUSE_SECONDS = 30.0
_MAX_PAUSE_SECONDS = 600.0
"""Bounds of the pause, doubled with each failure in a row, before a busy or unreachable route is tried again."""
_CACHE_LIFETIME_SECONDS = 300.0
"""How long providers keep a prompt cached at least; after a longer wait the whole conversation is read again."""
_MILLION = 1_000_000

_ORDERS: Mapping[OnLimit, tuple[Action | Literal["short"], ...]] = MappingProxyType(
    {
        "ask": ("short", "switch", "fallback", "wait", "stop"),
        "wait": ("wait", "switch", "fallback", "stop"),
        "switch": ("switch", "fallback", "stop"),
        "fallback": ("fallback", "switch", "stop"),
        "stop": ("stop",),
    }
)
"""``on_limit`` -> what the policy tries, in order. ``short`` is a wait that costs less than a cold prompt cache."""

_LIMITS = (Busy, LimitReached, Unreachable)
"""What ``on_limit`` is about: these pass with time. Other errors do not."""
_LIMITED_TO_ACCOUNT = (Busy, LimitReached, Unauthorized, Billing, NoSuchModel)
"""What another account of the same provider may not be affected by."""


@dataclass(slots=True)
class _Failure:
    """A route that failed in this phase. ``count`` is how often in a row, ``at`` when last, on the monotonic clock.

    The route is excluded from the phase before ``until``; for the whole phase where that is None.
    """

    route: Route
    kind: type[ProviderError]
    count: int
    at: float
    until: datetime | None
    account_usable: bool = False
    """Whether it was left before its limit. A route that recovery returned to is not left that way again."""


@dataclass(slots=True)
class Recovery:
    """Recovery from the errors of providers in one phase."""

    phase: Phase
    sitting: Sitting
    _failures: dict[tuple[str, str, str], _Failure] = field(default_factory=dict)

    def choose_first(self, route: Route, tokens: int = 0) -> Generator[Event, None, Route]:
        """Return the route that begins the phase: ``route``, unless it is known to be limited or its key fails.

        ``tokens`` are those of the conversation that is continued.
        """
        try:
            self._check(route)
        except ProviderError as error:
            return (yield from self.recover(route, 0, error, tokens))
        return route

    def note_success(self, route: Route) -> None:
        """Forget what a route had met: it answers. While it works, the other routes are not waited for."""
        if self._failures.pop(route.identity, None) is not None:
            self._context.providers.cooldowns.clear(route)
        for failure in self._failures.values():
            failure.at = self._context.clock.monotonic()

    def recover(self, route: Route, turn: int, error: ProviderError, tokens: int) -> Generator[Event, None, Route]:
        """Decide what to do about ``error`` and do it; return the route that continues.

        ``tokens`` are those of the conversation. Raises the error when the decision is to stop, and ``Parked`` when a
        wait is to be spent outside of this process.
        """
        asks_again = False
        self._remember(route, error)
        while True:
            needed = self._describe(route, turn, error, tokens)
            if error.account_usable and not any(map(_is_open_switch, needed.options)):
                return route  # the early warning of a limit, and no other account to switch to
            yield needed
            decision = self._context.decider.recover(needed) if asks_again else self._decide(needed)
            option = decision.option
            if option.action == "switch" and decision.by == "person":
                self.sitting.agreed_switches.add(_switch_key(needed, option))
            yield _decided(needed, option, option.action, decision.by)
            if option.route is None:
                raise error
            if option.action == "wait":
                waited = self._wait(needed, option)
                if isinstance(waited, Park):
                    yield _decided(needed, option, "park", "policy")
                    raise Parked(error, waited.until)
                if not waited:
                    asks_again = True  # the person interrupted the wait to choose again
                    continue
            try:
                if option.action != "wait":
                    self.sitting.wait_budget.spend(self._seconds_since(option.route))
                    self._check(option.route)
            except ProviderError as next_error:
                if next_error.account_usable and self._was_left(option.route):
                    return option.route
                route, error = option.route, next_error
                self._remember(route, error)
                continue
            return option.route

    @property
    def _context(self) -> RunContext:
        return self.sitting.context

    @property
    def _routing(self) -> PhaseRouting:
        return self._context.config.phases[self.phase]

    @property
    def _settings(self) -> RecoverySettings:
        return self._context.config.recovery

    def _decide(self, needed: RecoveryNeeded) -> Decision:
        """Return what a person agreed to before, what the settings decide, or what the decider says."""
        for option in needed.options:
            if _switch_key(needed, option) in self.sitting.agreed_switches:
                return Decision(option, "person")
        default = needed.options[needed.default]
        always = default.action == "switch" and self._context.providers.switching(needed.route) == "always"
        if always or self._settings.on_limit != "ask":
            return Decision(default, "policy")
        return self._context.decider.recover(needed)

    def _check(self, route: Route) -> None:
        """Raise what is known to keep a route from answering; no request that is paid for is sent."""
        limit = self._context.providers.cooldowns.active_limit(route)
        if limit is not None:
            raise limit
        self._context.providers.recheck(route)

    def _was_left(self, route: Route) -> bool:
        """Return whether a route was left before its limit in this phase."""
        failure = self._failures.get(route.identity)
        return failure is not None and failure.account_usable

    def _wait(self, needed: RecoveryNeeded, option: Option) -> bool | Park:
        """Wait as the option says; return False when a person interrupts to choose again, ``Park`` to end the run."""
        started = self._context.clock.monotonic()
        waited = self._context.decider.rest(needed, option)
        self.sitting.wait_budget.spend(self._context.clock.monotonic() - started)
        self._context.cancel.check()
        return waited

    def _remember(self, route: Route, error: ProviderError) -> None:
        clock = self._context.clock
        self._context.providers.cooldowns.record(route, error)
        known = self._failures.get(route.identity)
        count = known.count + 1 if known else 1
        pause = timedelta(seconds=min(_FIRST_PAUSE_SECONDS * 2.0 ** (count - 1), _MAX_PAUSE_SECONDS))
        until = error.retry_at if isinstance(error, _LIMITS) else None
        if isinstance(error, Busy | Unreachable) or (until and known):
            # Never sooner than the pause: a reset time in the past would be retried in a tight loop.
            until = max(until or clock.now(), clock.now() + pause)
        failure = _Failure(route, type(error), count, clock.monotonic(), until, error.account_usable)
        self._failures[route.identity] = failure

    def _describe(self, route: Route, turn: int, error: ProviderError, tokens: int) -> RecoveryNeeded:
        options = sorted(self._options(route, error, tokens), key=self._rank(error))
        options.append(Option(action="stop", note=f"keeps everything; continue later with {self._context.resume}"))
        return RecoveryNeeded(
            phase=self.phase,
            turn=turn,
            route=route,
            error=type(error).__name__,
            message=error.message,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            limit=error.limit,
            retry_at=error.retry_at,
            hint=error.hint,
            options=tuple(options),
            default=self._default(error, options),
        )

    def _order(self, error: ProviderError) -> tuple[str, ...]:
        """Return what is tried, in order.

        An error that does not pass with time leaves the other routes, and a wait for one of them where waits are
        allowed.
        """
        own = _ORDERS[self._settings.on_limit]
        if isinstance(error, _LIMITS):
            return own
        return tuple(kind for kind in _ORDERS["ask"] if "wait" in own or kind not in ("short", "wait"))

    def _rank(self, error: ProviderError) -> Callable[[Option], int]:
        order = self._order(error)

        def rank(option: Option) -> int:
            kinds = self._kinds(option, error)
            return next((number for number, kind in enumerate(order) if kind in kinds), len(order))

        return rank

    def _default(self, error: ProviderError, options: Sequence[Option]) -> int:
        """Return the index of the first option, in the order of the setting, that needs no consent."""
        order = self._order(error)
        return next(
            number
            for number, option in enumerate(options)
            if not option.refused and any(kind in order for kind in self._kinds(option, error))
        )

    def _kinds(self, option: Option, error: ProviderError) -> tuple[str, ...]:
        """Return the words of ``_ORDERS`` that fit an option. A wait is short if the provider says so, once."""
        first = all(failure.count == 1 for failure in self._failures.values())
        if option.action == "wait" and first and error.retry_at and (option.wait or 0.0) <= MAX_RETRY_WAIT_SECONDS:
            return "short", "wait"
        return (option.action,)

    def _options(self, route: Route, error: ProviderError, tokens: int) -> Iterator[Option]:
        providers = self._context.providers
        yield from self._wait_option(tokens)
        if isinstance(error, _LIMITED_TO_ACCOUNT):
            needs_consent = "switches between logins need auto_switch = true, or a person"
            consent = needs_consent if providers.switching(route) == "person" else ""
            for other in providers.accounts(route):
                if self._is_open(other):
                    note = f"account {other.account}: the prompt cache is not shared{self._reread(other, tokens)}"
                    refused = self._unpaid(route, other) or consent
                    yield Option(action="switch", route=other, note=note, refused=refused)
        for other in self._other_routes(route, error):
            note = f"{self._price(other)}{self._reread(other, tokens)}"
            yield Option(action="fallback", route=other, note=note, refused=self._unpaid(route, other))

    def _wait_option(self, tokens: int) -> Iterator[Option]:
        """Yield the wait for whichever route of the phase may be asked first."""
        passing = [failure for failure in self._failures.values() if failure.until]
        if not passing:
            return
        now, left = self._context.clock.now(), self.sitting.wait_budget.left
        first = min(passing, key=lambda failure: failure.until or now)
        until = first.until or now
        seconds = max(0.0, (until - now).total_seconds()) + 1.0 + self._context.clock.jitter()
        cold = self._reread(first.route, tokens) if tokens and seconds > _CACHE_LIFETIME_SECONDS else ""
        refused = ""
        if seconds > left:
            refused = f"longer than the {left:.0f} s that are left of max_wait"
        elif first.kind is Unreachable and self._settings.on_limit == "ask":
            refused = 'how long it lasts is unknown; on_limit = "wait" keeps trying'
        note = f"the same model continues{', its prompt cache expired by then' if cold else ''}{cold}"
        yield Option(action="wait", route=first.route, wait=seconds, note=note, refused=refused)

    def _other_routes(self, route: Route, error: ProviderError) -> Iterator[Route]:
        """Yield the phase's other routes that could continue, in the user's order, each on an account that is open."""
        providers = self._context.providers
        for listed in dict.fromkeys((self._routing.primary, *self._routing.fallbacks)):
            if (listed.provider, listed.model) == (route.provider, route.model):
                continue
            if PHASES[self.phase].needs_tools and not listed.tools:
                continue
            if isinstance(error, TooLong) and listed.context and listed.context <= (route.context or 0):
                continue
            others = providers.accounts(listed) if providers.switching(listed) != "person" else ()
            for candidate in (listed, *others):
                if self._is_open(candidate):
                    yield candidate
                    break

    def _is_open(self, route: Route) -> bool:
        """Return whether a route may be tried now."""
        failure = self._failures.get(route.identity)
        is_excluded = failure is not None and (failure.until is None or failure.until > self._context.clock.now())
        if failure is not None and is_excluded and not failure.account_usable:
            return False
        if self._seconds_since(route) > self.sitting.wait_budget.left:
            return False
        return self._context.providers.cooldowns.active_limit(route) is None

    def _seconds_since(self, route: Route) -> float:
        """Return the seconds since a route failed in this phase, 0 when it did not.

        Returning to it counts as having waited for it, whatever else was tried meanwhile. Otherwise, routes that take
        long to fail would be tried in turn for ever.
        """
        failure = self._failures.get(route.identity)
        return self._context.clock.monotonic() - failure.at if failure and not failure.account_usable else 0.0

    def _unpaid(self, route: Route, other: Route) -> str:
        """Return why ``other`` may not replace ``route`` without consent, "" when it may."""
        billing = self._context.providers.billing
        if self._settings.allow_paid or billing(other) != "usage" or billing(route) == "usage":
            return ""
        if billing(self._routing.primary) != "plan":
            return ""
        return "tokens are paid for one by one, not by a flat fee; allow_paid = true permits that"

    def _price(self, route: Route) -> str:
        if self._context.providers.billing(route) != "usage":
            return "part of a flat fee" if self._context.providers.billing(route) == "plan" else "costs nothing"
        cost = self._context.providers.cost
        per_input, per_output = cost(route, Usage(input=_MILLION)), cost(route, Usage(output=_MILLION))
        if per_input is None or per_output is None:
            return "price unknown"
        return f"${per_input:g} in, ${per_output:g} out per million tokens"

    def _reread(self, route: Route, tokens: int) -> str:
        """Return what another model, or one with a cold cache, has to read again, and what work is left."""
        parts = []
        if tokens:
            usd = self._context.providers.cost(route, Usage(input=tokens))
            cost = f", ${usd:.2f}" if usd else ""
            parts.append(f"reads {tokens / 1000:.1f}k tokens again{cost}")
        if left := self.sitting.work_left():
            parts.append(left)
        return "".join(f"; {part}" for part in parts)


def _decided(
    needed: RecoveryNeeded, option: Option, action: ActionTaken, by: Literal["person", "policy"]
) -> RecoveryDecided:
    return RecoveryDecided(
        phase=needed.phase,
        turn=needed.turn,
        route=needed.route,
        error=needed.error,
        action=action,
        to=option.route,
        wait=option.wait,
        by=by,
    )


def _switch_key(needed: RecoveryNeeded, option: Option) -> tuple[str, ...]:
    """Return which account replaces which, and why: what a person agrees to once. Empty unless it is a switch."""
    if option.action != "switch" or option.route is None:
        return ()
    reason = (needed.error, needed.limit, str(needed.retry_at))
    return needed.route.provider, needed.route.account, option.route.account, *reason


def _is_open_switch(option: Option) -> bool:
    return option.action == "switch" and not option.refused
