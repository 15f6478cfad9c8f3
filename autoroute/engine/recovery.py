"""The ways out when a provider cannot go on: which there are, which is taken, and taking it.

    wait      until the limit resets        switch    to another account of the provider
    fallback  to a listed route             stop      the run ends, resumable

Nothing is substituted that the user did not list, and nothing goes on for ever: waits are bounded by ``max_wait`` for
the whole run, and a route that failed is out of the phase until what stopped it may have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from autoroute.engine.policy import LONGEST_RETRY_WAIT, Clock, Decider, Decision, WaitBudget
from autoroute.engine.ports import Providers
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
from autoroute.events import Action, Event, Option, RecoveryDecided, RecoveryNeeded
from autoroute.messages import Usage
from autoroute.phases import PHASES
from autoroute.routing import OnLimit, Phase, PhaseRouting, RecoverySettings, Route

_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 600.0
_CACHE_LIVES = 300.0
"""Seconds that a provider keeps a prompt cached, at least: five minutes at most of them."""
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
"""``on_limit`` -> what is tried, in order, with nobody asked. ``short`` is a wait that costs less than a cold cache."""

_LIMITS = (Busy, LimitReached, Unreachable)
"""What ``on_limit`` is about; anything else does not pass by itself."""
_OF_AN_ACCOUNT = (Busy, LimitReached, Unauthorized, Billing, NoSuchModel)
"""What another account of the same provider may not meet."""


@dataclass(slots=True)
class _Failure:
    """A route that failed in this phase: how often in a row, and when last, on the monotonic clock.

    It is out of the phase before ``until``; for good where that is None.
    """

    route: Route
    kind: type[ProviderError]
    count: int
    at: float
    until: datetime | None
    account_usable: bool = False
    """It was left before its end. One that is come back to is not left again."""


@dataclass(slots=True)
class Recovery:
    """The ways out for one phase. ``left`` says what work is left, ``resume`` what goes on with a run that stopped."""

    phase: Phase
    routing: PhaseRouting
    settings: RecoverySettings
    decider: Decider
    clock: Clock
    wait_budget: WaitBudget
    providers: Providers
    left: Callable[[], str]
    resume: str
    agreed: set[tuple[str, ...]] = field(default_factory=set)
    """Accounts that a person has let go on for others: a limit that holds into the next phase is asked about once."""
    _failures: dict[tuple[str, str, str], _Failure] = field(default_factory=dict)

    def begin(self, route: Route, tokens: int = 0) -> Generator[Event, None, Route]:
        """Who begins the phase: the primary, unless it is known to be limited or its key holds no more.

        ``tokens`` are those of a conversation that goes on.
        """
        try:
            self._look(route)
        except ProviderError as error:
            return (yield from self.recover(route, 0, error, tokens))
        return route

    def answered(self, route: Route) -> None:
        """The route works: what it had met is over, and while it works nobody waits for the others."""
        if self._failures.pop(route.identity, None) is not None:
            self.providers.cooldowns.clear(route)
        for failure in self._failures.values():
            failure.at = self.clock.monotonic()

    def recover(self, route: Route, turn: int, error: ProviderError, tokens: int) -> Generator[Event, None, Route]:
        """Find a way out of ``error`` and take it; who goes on. ``tokens`` are those of the conversation.

        Raises the error when the way out is to stop.
        """
        asks_again = False
        self._remember(route, error)
        while True:
            blocked = self._describe(route, turn, error, tokens)
            if error.account_usable and not any(map(_is_open_switch, blocked.options)):
                return route  # nobody is there to leave it for
            yield blocked
            decision = self.decider.recover(blocked) if asks_again else self._decide(blocked)
            option = decision.option
            if option.action == "switch" and decision.by == "person":
                self.agreed.add(_agreement(blocked, option))
            yield RecoveryDecided(
                phase=self.phase,
                turn=turn,
                route=route,
                error=type(error).__name__,
                action=option.action,
                to=option.route,
                wait=option.wait,
                by=decision.by,
            )
            if option.route is None:
                raise error
            if option.action == "wait" and not self._rest(blocked, option):
                asks_again = True  # a person wants to choose
                continue
            try:
                if option.action != "wait":
                    self.wait_budget.spend(self._since(option.route))
                    self._look(option.route)
            except ProviderError as next_error:
                if next_error.account_usable and self._was_left(option.route):
                    return option.route
                route, error = option.route, next_error
                self._remember(route, error)
                continue
            return option.route

    def _decide(self, blocked: RecoveryNeeded) -> Decision:
        """What a person agreed to before, what needs nobody's word, or what the decider says."""
        for option in blocked.options:
            if _agreement(blocked, option) in self.agreed:
                return Decision(option, "person")
        default = blocked.options[blocked.default]
        always = default.action == "switch" and self.providers.switching(blocked.route) == "always"
        if always or self.settings.on_limit != "ask":
            return Decision(default, "policy")
        return self.decider.recover(blocked)

    def _look(self, route: Route) -> None:
        """Raise what is known to keep a route from answering, without a request that is paid for."""
        limit = self.providers.cooldowns.active_limit(route)
        if limit is not None:
            raise limit
        self.providers.recheck(route)

    def _was_left(self, route: Route) -> bool:
        """Whether a route was left before its end in this phase."""
        failure = self._failures.get(route.identity)
        return failure is not None and failure.account_usable

    def _rest(self, blocked: RecoveryNeeded, option: Option) -> bool:
        began = self.clock.monotonic()
        rested = self.decider.rest(blocked, option)
        self.wait_budget.spend(self.clock.monotonic() - began)
        return rested

    def _remember(self, route: Route, error: ProviderError) -> None:
        self.providers.cooldowns.record(route, error)
        known = self._failures.get(route.identity)
        count = known.count + 1 if known else 1
        pause = timedelta(seconds=min(_FIRST_PAUSE * 2.0 ** (count - 1), _LONGEST_PAUSE))
        until = error.retry_at if isinstance(error, _LIMITS) else None
        if isinstance(error, Busy | Unreachable) or (until and known):
            # Not sooner than the pause, so that a reset that lies in the past is not asked about again and again.
            until = max(until or self.clock.now(), self.clock.now() + pause)
        now = self.clock.monotonic()
        self._failures[route.identity] = _Failure(route, type(error), count, now, until, error.account_usable)

    def _describe(self, route: Route, turn: int, error: ProviderError, tokens: int) -> RecoveryNeeded:
        options = sorted(self._options(route, error, tokens), key=self._rank(error))
        stop = Option(action="stop", note=f"keeps everything; {self.resume} goes on here")
        options.append(stop)
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
        """What is tried, in order. An error that does not pass leaves the others, and waiting where it is wanted."""
        own = _ORDERS[self.settings.on_limit]
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
        """The first of the options, in the order of the setting, that needs nobody's consent."""
        order = self._order(error)
        return next(
            number
            for number, option in enumerate(options)
            if not option.refused and any(kind in order for kind in self._kinds(option, error))
        )

    def _kinds(self, option: Option, error: ProviderError) -> tuple[str, ...]:
        """The words of ``_ORDERS`` that an option answers to. A wait is short when the provider says so, once."""
        first = all(failure.count == 1 for failure in self._failures.values())
        if option.action == "wait" and first and error.retry_at and (option.wait or 0.0) <= LONGEST_RETRY_WAIT:
            return "short", "wait"
        return (option.action,)

    def _options(self, route: Route, error: ProviderError, tokens: int) -> Iterator[Option]:
        yield from self._waiting(tokens)
        if isinstance(error, _OF_AN_ACCOUNT):
            by_hand = "another login goes on only if auto_switch = true lets it"
            consent = by_hand if self.providers.switching(route) == "person" else ""
            for other in self.providers.accounts(route):
                if self._is_open(other):
                    note = f"account {other.account}: the prompt cache is not shared{self._reading(other, tokens)}"
                    refused = self._unpaid(route, other) or consent
                    yield Option(action="switch", route=other, note=note, refused=refused)
        for other in self._elsewhere(route, error):
            note = f"{self._price(other)}{self._reading(other, tokens)}"
            yield Option(action="fallback", route=other, note=note, refused=self._unpaid(route, other))

    def _waiting(self, tokens: int) -> Iterator[Option]:
        """To wait for whichever route of the phase may be asked first."""
        passing = [failure for failure in self._failures.values() if failure.until]
        if not passing:
            return
        first = min(passing, key=lambda failure: failure.until or self.clock.now())
        until = first.until or self.clock.now()
        seconds = max(0.0, (until - self.clock.now()).total_seconds()) + 1.0 + self.clock.jitter()
        cold = self._reading(first.route, tokens) if tokens and seconds > _CACHE_LIVES else ""
        refused = ""
        if seconds > self.wait_budget.left:
            refused = f"longer than the {self.wait_budget.left:.0f} s that are left of max_wait"
        elif first.kind is Unreachable and self.settings.on_limit == "ask":
            refused = 'nobody knows how long it lasts; on_limit = "wait" keeps trying'
        note = f"the same model goes on{', its prompt cache gone by then' if cold else ''}{cold}"
        yield Option(action="wait", route=first.route, wait=seconds, note=note, refused=refused)

    def _elsewhere(self, route: Route, error: ProviderError) -> Iterator[Route]:
        """The phase's other routes that could go on, in the user's order, each on an account that is open."""
        for listed in dict.fromkeys((self.routing.primary, *self.routing.fallbacks)):
            if (listed.provider, listed.model) == (route.provider, route.model):
                continue
            if PHASES[self.phase].needs_tools and not listed.tools:
                continue
            if isinstance(error, TooLong) and listed.context and listed.context <= (route.context or 0):
                continue
            others = self.providers.accounts(listed) if self.providers.switching(listed) != "person" else ()
            for candidate in (listed, *others):
                if self._is_open(candidate):
                    yield candidate
                    break

    def _is_open(self, route: Route) -> bool:
        failure = self._failures.get(route.identity)
        is_out = failure is not None and (failure.until is None or failure.until > self.clock.now())
        if failure is not None and is_out and not failure.account_usable:
            return False
        return self._since(route) <= self.wait_budget.left and self.providers.cooldowns.active_limit(route) is None

    def _since(self, route: Route) -> float:
        """Seconds since a route failed in this phase.

        To come back to it is to have waited for it, whatever else was tried meanwhile: without that, routes that take
        long to fail would be asked in turn for ever.
        """
        failure = self._failures.get(route.identity)
        return self.clock.monotonic() - failure.at if failure and not failure.account_usable else 0.0

    def _unpaid(self, route: Route, other: Route) -> str:
        billing = self.providers.billing
        if self.settings.allow_paid or billing(other) != "usage" or billing(route) == "usage":
            return ""
        flat = billing(self.routing.primary) == "plan"
        return "it costs money for each token in place of a flat fee; allow_paid = true lets it" if flat else ""

    def _price(self, route: Route) -> str:
        if self.providers.billing(route) != "usage":
            return "part of a flat fee" if self.providers.billing(route) == "plan" else "costs nothing"
        cost = self.providers.cost
        per_input, per_output = cost(route, Usage(input=_MILLION)), cost(route, Usage(output=_MILLION))
        if per_input is None or per_output is None:
            return "price not known"
        return f"${per_input:g} in, ${per_output:g} out a million tokens"

    def _reading(self, route: Route, tokens: int) -> str:
        """What it takes another model, or a cold cache, to read the conversation; and what is left to do."""
        parts = []
        if tokens:
            usd = self.providers.cost(route, Usage(input=tokens))
            cost = f", ${usd:.2f}" if usd else ""
            parts.append(f"reads {tokens / 1000:.1f}k tokens again{cost}")
        if left := self.left():
            parts.append(left)
        return "".join(f"; {part}" for part in parts)


def _agreement(blocked: RecoveryNeeded, option: Option) -> tuple[str, ...]:
    """Which account goes on for which, and why; empty for what is no switch."""
    if option.action != "switch" or option.route is None:
        return ()
    why = (blocked.error, blocked.limit, str(blocked.retry_at))
    return blocked.route.provider, blocked.route.account, option.route.account, *why


def _is_open_switch(option: Option) -> bool:
    return option.action == "switch" and not option.refused
