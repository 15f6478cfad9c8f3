"""The turns of a conversation: a request goes out, and a reply is taken in, whatever that takes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from autoroute.engine.compaction import MOST, estimate_messages, shorten
from autoroute.engine.ledger import tokens_of
from autoroute.engine.memory import Memory
from autoroute.engine.policy import retry_wait
from autoroute.engine.seat import Seat
from autoroute.errors import BadRequest, LimitReached, PhaseFailed, ProviderError, TooLong, WrongModel
from autoroute.events import Event, Notice, TurnEnded, TurnFailed, TurnStarted, TurnUpdate
from autoroute.messages import Allowance, Message, Reply, Request, Stop, ToolSpec
from autoroute.phases import PHASES

_MAX_OUTPUT = 32_000
_OUTPUT_SHARE = 4
"""A reply may take one part in so many of a context window."""
_PENDING_TOLD = 30_000
"""Characters of the uncommitted diff that a shortened conversation is told."""
_LONGEST_QUEUE = 300.0
"""Seconds that one request waits for its place among those of other runs, at least."""
_QUEUE_FOR_FREE = 60.0
"""Seconds of that which are pace and no trouble."""
_NOTHING_SAID: tuple[Allowance, ...] = ()


class Turns:
    """Takes the turns of one conversation, and keeps its memory."""

    def __init__(self, seat: Seat, memory: Memory, specs: tuple[ToolSpec, ...]) -> None:
        self._seat = seat
        self._memory = memory
        self._specs = specs

    def take(self) -> Generator[Event, None, None]:
        """One reply, whatever retries, shortenings and ways out it takes.

        Raises a ``ProviderError`` when there is no way out, ``PhaseFailed`` when the turns are used up.
        """
        seat, turn = self._seat, next(self._seat.turns)
        attempt, failures = 1, 0
        while True:
            try:
                yield from self._make_room(turn)
                yield from self._attempt(turn, attempt)
            except ProviderError as error:
                failures += 1
                wait = retry_wait(error, failures, seat.limits.max_retries, seat.clock)
                wait = wait if wait is not None and seat.patience.allows(wait) else None
                yield self._failure(turn, attempt, error, wait)
                if wait is not None:
                    seat.clock.sleep(wait)
                    seat.patience.spend(wait)
                elif isinstance(error, TooLong) and (yield from self._shorten(turn, error.message)):
                    failures = 0
                else:
                    route = yield from seat.recovery.recover(seat.route, turn, error, self._memory.length)
                    seat.take(route)
                    failures = 0
                attempt += 1
            else:
                seat.recovery.answered(seat.route)
                return

    def _attempt(self, turn: int, attempt: int) -> Generator[Event, None, None]:
        """Ask once. Raises a ``ProviderError``."""
        seat, memory = self._seat, self._memory
        self._check_turns()
        yield memory.note(TurnStarted(phase=seat.phase, turn=turn, route=seat.route, attempt=attempt))
        assert memory.due is not None, "nobody is asked when nothing is due"
        request = self._request((*memory.messages, memory.due))
        seat.ledger.check(seat.phase, seat.route, request, memory.length)
        # What a cache holds counts little or nothing against a limit, so only what is new is put on the scales.
        yield from self._admit(tokens_of(memory.due))
        started, allowances = seat.clock.monotonic(), _NOTHING_SAID
        try:
            reply = yield from self._stream(turn, request)
            allowances = reply.allowances
        finally:
            seat.providers.pacer.leave(seat.route, allowances)
        yield from self._account(turn, reply, seat.clock.monotonic() - started)

    def _request(self, messages: tuple[Message, ...]) -> Request:
        route = self._seat.route
        share = route.context // _OUTPUT_SHARE if route.context else _MAX_OUTPUT
        return Request(
            model=route.model,
            system=self._seat.system,
            messages=messages,
            tools=self._specs,
            max_tokens=min(route.max_output or _MAX_OUTPUT, _MAX_OUTPUT, share),
            effort=route.effort,
        )

    def _admit(self, tokens: int) -> Generator[Event, None, None]:
        """Wait until local pacing lets the request go. Raises ``LimitReached`` when that takes too long."""
        seat, waited = self._seat, 0.0
        try:
            while wait := seat.providers.pacer.enter(seat.route, tokens):
                if waited + wait > max(_LONGEST_QUEUE, seat.patience.left):
                    raise self._queue_error()
                if not waited:
                    words = f"waiting for a place: {seat.route.provider}, account {seat.route.account}, is paced here"
                    yield Notice(level="info", text=words)
                seat.clock.sleep(wait)
                waited += wait
        finally:
            seat.patience.spend(max(0.0, waited - _QUEUE_FOR_FREE))

    def _queue_error(self) -> LimitReached:
        """Asking again at once would only be to queue again, so it is none that is retried."""
        route = self._seat.route
        return LimitReached(
            f"other runs here take up all that account {route.account} may send",
            provider=route.provider,
            model=route.model,
            account=route.account,
            limit="concurrency",
        )

    def _stream(self, turn: int, request: Request) -> Generator[Event, None, Reply]:
        for item in self._seat.model.ask(request):
            if isinstance(item, Reply):
                return item
            yield TurnUpdate(phase=self._seat.phase, turn=turn, kind=item.kind, text=item.text)
        raise AssertionError("a wire ended without a reply and without an error")

    def _account(self, turn: int, reply: Reply, seconds: float) -> Generator[Event, None, None]:
        """Book what a reply cost, and take it in. Raises what no further turn of this model can mend."""
        seat, memory = self._seat, self._memory
        cost, warnings = seat.ledger.book(seat.phase, seat.route, reply.usage)
        complaint, before = self._complaint(reply), self._memory.served_model
        yield memory.note(
            TurnEnded(
                phase=seat.phase,
                turn=turn,
                route=seat.route,
                reply=replace(reply, allowances=()),
                seconds=seconds,
                cost=cost,
                usable=complaint is None,
            )
        )
        for warning in warnings:
            yield Notice(level="warning", text=warning)
        if complaint is not None:
            raise complaint
        if seat.served_model == "warn" and reply.served_model != before and self._is_another(reply):
            words = f"{seat.route.model} was asked for, and {reply.served_model} answered"
            yield Notice(level="warning", text=f"{seat.route.provider} (account {seat.route.account}): {words}")
        if memory.is_truncated:
            words = "counts no more tokens than before, though more were sent: it leaves out the beginning, silently"
            yield Notice(level="warning", text=f"{seat.route.name} {words}")
            yield from self._shorten(turn, "the provider leaves out the beginning silently", reply.usage.total)

    def _complaint(self, reply: Reply) -> ProviderError | None:
        """Why a reply is no part of the conversation."""
        seat = self._seat
        if seat.served_model == "strict" and self._is_another(reply):
            message = f"{seat.route.model} was asked for, and {reply.served_model} answered"
            error = self._error(WrongModel, message, reply)
            error.hint = (
                'ask the provider why, choose another route, or accept it: served_model = "warn" in your config.toml'
            )
            return error
        if reply.stop is Stop.REFUSAL:
            return self._error(BadRequest, "the model refused to answer", reply)
        if reply.stop is Stop.CONTEXT:
            return self._error(TooLong, "the conversation is longer than the model's context window", reply)
        return None

    def _is_another(self, reply: Reply) -> bool:
        return not self._seat.providers.is_model(self._seat.route, reply.served_model)

    def _error(self, kind: type[ProviderError], message: str, reply: Reply) -> ProviderError:
        route = self._seat.route
        return kind(
            message,
            provider=route.provider,
            model=route.model,
            account=route.account,
            code=reply.stop.value,
            request_id=reply.request_id,
        )

    def _failure(self, turn: int, attempt: int, error: ProviderError, wait: float | None) -> TurnFailed:
        return TurnFailed(
            phase=self._seat.phase,
            turn=turn,
            route=self._seat.route,
            attempt=attempt,
            error=type(error).__name__,
            message=error.message,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            retry_in=wait,
        )

    def _check_turns(self) -> None:
        seat = self._seat
        if self._memory.route == seat.route and self._memory.turns >= seat.limits.max_turns:
            raise PhaseFailed(
                f"{seat.route.name} used all {seat.limits.max_turns} turns of one conversation",
                hint="raise max_turns under [limits], or split the task",
            )

    def _make_room(self, turn: int) -> Generator[Event, None, None]:
        """Shorten what would not fit, by our own count, before a provider refuses or silently cuts it."""
        context, memory = self._seat.route.context, self._memory
        length = memory.length or estimate_messages(memory.messages, memory.due)
        if context and memory.messages and length + min(_MAX_OUTPUT, context // _OUTPUT_SHARE) > context:
            yield from self._shorten(turn, f"it would not fit {self._seat.route.name}'s window of {context} tokens")

    def _shorten(self, turn: int, reason: str, window: int | None = None) -> Generator[Event, None, bool]:
        """Whether the conversation could be shortened."""
        memory = self._memory
        if memory.shortened >= MOST:
            return False
        seat = self._seat
        pending = seat.workspace.pending(_PENDING_TOLD, seat.redact) if PHASES[seat.phase].writes else ""
        event = shorten(memory, turn, reason, window or self._seat.route.context, pending)
        if event is None:
            return False
        yield memory.note(event)
        return True
