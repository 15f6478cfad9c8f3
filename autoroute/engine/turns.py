"""The turns of a conversation: a request goes out, and a reply is taken in, whatever that takes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from autoroute.engine.compaction import MOST, estimate_messages, shorten
from autoroute.engine.conversation import Conversation
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import retry_wait
from autoroute.errors import BadRequest, LimitReached, PhaseFailed, ProviderError, TooLong, WrongModel
from autoroute.events import Event, Notice, TurnEnded, TurnFailed, TurnStarted, TurnUpdate
from autoroute.messages import Allowance, Message, Reply, Request, Stop, ToolSpec, estimate_tokens
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
    """Takes the turns of one conversation, and keeps its record."""

    def __init__(self, session: ModelSession, conversation: Conversation, specs: tuple[ToolSpec, ...]) -> None:
        self._session = session
        self._conversation = conversation
        self._specs = specs

    def take(self) -> Generator[Event, None, None]:
        """One reply, whatever retries, shortenings and ways out it takes.

        Raises a ``ProviderError`` when there is no way out, ``PhaseFailed`` when the turns are used up.
        """
        session, turn = self._session, next(self._session.turns)
        attempt, failures = 1, 0
        while True:
            try:
                yield from self._make_room(turn)
                yield from self._attempt(turn, attempt)
            except ProviderError as error:
                failures += 1
                wait = retry_wait(error, failures, session.limits.max_retries, session.clock)
                wait = wait if wait is not None and session.wait_budget.allows(wait) else None
                yield self._failure(turn, attempt, error, wait)
                if wait is not None:
                    session.clock.sleep(wait)
                    session.wait_budget.spend(wait)
                elif isinstance(error, TooLong) and (yield from self._shorten(turn, error.message)):
                    failures = 0
                else:
                    route = yield from session.recovery.recover(session.route, turn, error, self._conversation.length)
                    session.switch_to(route)
                    failures = 0
                attempt += 1
            else:
                session.recovery.answered(session.route)
                return

    def _attempt(self, turn: int, attempt: int) -> Generator[Event, None, None]:
        """Ask once. Raises a ``ProviderError``."""
        session, conversation = self._session, self._conversation
        self._check_turns()
        assert conversation.due is not None, "a request needs something that is due"
        request = self._request((*conversation.messages_for(session.route), conversation.due))
        yield conversation.note(
            TurnStarted(
                phase=session.phase,
                turn=turn,
                route=session.route,
                attempt=attempt,
                request_sha256=session.model.digest(request),
            )
        )
        session.budget.check(session.phase, session.route, request, conversation.length)
        # What a cache holds counts little or nothing against a limit, so only what is new is put on the scales.
        yield from self._admit(estimate_tokens(conversation.due))
        started, allowances = session.clock.monotonic(), _NOTHING_SAID
        try:
            reply = yield from self._stream(turn, request)
            allowances = reply.allowances
        finally:
            session.providers.pacer.release(session.route, allowances)
        yield from self._account(turn, reply, session.clock.monotonic() - started)

    def _request(self, messages: tuple[Message, ...]) -> Request:
        route = self._session.route
        share = route.context // _OUTPUT_SHARE if route.context else _MAX_OUTPUT
        return Request(
            model=route.model,
            system=self._session.system,
            messages=messages,
            tools=self._specs,
            max_tokens=min(route.max_output or _MAX_OUTPUT, _MAX_OUTPUT, share),
            effort=route.effort,
        )

    def _admit(self, tokens: int) -> Generator[Event, None, None]:
        """Wait until local pacing lets the request go. Raises ``LimitReached`` when that takes too long."""
        session, waited = self._session, 0.0
        try:
            while wait := session.providers.pacer.acquire(session.route, tokens):
                if waited + wait > max(_LONGEST_QUEUE, session.wait_budget.left):
                    raise self._queue_error()
                if not waited:
                    paced = f"{session.route.provider}, account {session.route.account}, is paced here"
                    words = f"waiting for a place: {paced}"
                    yield Notice(level="info", text=words)
                session.clock.sleep(wait)
                waited += wait
        finally:
            session.wait_budget.spend(max(0.0, waited - _QUEUE_FOR_FREE))

    def _queue_error(self) -> LimitReached:
        """Asking again at once would only be to queue again, so it is none that is retried."""
        route = self._session.route
        return LimitReached(
            f"other runs here take up all that account {route.account} may send",
            provider=route.provider,
            model=route.model,
            account=route.account,
            limit="concurrency",
        )

    def _stream(self, turn: int, request: Request) -> Generator[Event, None, Reply]:
        for item in self._session.model.ask(request):
            if isinstance(item, Reply):
                return item
            yield TurnUpdate(phase=self._session.phase, turn=turn, kind=item.kind, text=item.text)
        raise AssertionError("a wire ended without a reply and without an error")

    def _account(self, turn: int, reply: Reply, seconds: float) -> Generator[Event, None, None]:
        """Book what a reply cost, and take it in. Raises what no further turn of this model can mend."""
        session, conversation = self._session, self._conversation
        cost, warnings = session.budget.book(session.phase, session.route, reply.usage)
        complaint, before = self._complaint(reply), self._conversation.served_model
        yield conversation.note(
            TurnEnded(
                phase=session.phase,
                turn=turn,
                route=session.route,
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
        if session.served_model == "warn" and reply.served_model != before and self._is_another(reply):
            words = f"{session.route.model} was asked for, and {reply.served_model} answered"
            yield Notice(level="warning", text=f"{session.route.provider} (account {session.route.account}): {words}")
        if conversation.is_truncated:
            words = "counts no more tokens than before, though more were sent: it leaves out the beginning, silently"
            yield Notice(level="warning", text=f"{session.route.name} {words}")
            yield from self._shorten(turn, "the provider leaves out the beginning silently", reply.usage.total)

    def _complaint(self, reply: Reply) -> ProviderError | None:
        """Why a reply is no part of the conversation."""
        session = self._session
        if session.served_model == "strict" and self._is_another(reply):
            message = f"{session.route.model} was asked for, and {reply.served_model} answered"
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
        return not self._session.providers.is_model(self._session.route, reply.served_model)

    def _error(self, kind: type[ProviderError], message: str, reply: Reply) -> ProviderError:
        route = self._session.route
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
            phase=self._session.phase,
            turn=turn,
            route=self._session.route,
            attempt=attempt,
            error=type(error).__name__,
            message=error.message,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            retry_in=wait,
        )

    def _check_turns(self) -> None:
        session = self._session
        if self._conversation.route == session.route and self._conversation.turns >= session.limits.max_turns:
            raise PhaseFailed(
                f"{session.route.name} used all {session.limits.max_turns} turns of one conversation",
                hint="raise max_turns under [limits], or split the task",
            )

    def _make_room(self, turn: int) -> Generator[Event, None, None]:
        """Shorten what would not fit, by our own count, before a provider refuses or silently cuts it."""
        context, conversation = self._session.route.context, self._conversation
        length = conversation.length or estimate_messages(conversation.messages, conversation.due)
        if context and conversation.messages and length + min(_MAX_OUTPUT, context // _OUTPUT_SHARE) > context:
            yield from self._shorten(turn, f"it would not fit {self._session.route.name}'s window of {context} tokens")

    def _shorten(self, turn: int, reason: str, window: int | None = None) -> Generator[Event, None, bool]:
        """Whether the conversation could be shortened."""
        conversation = self._conversation
        if conversation.shortened >= MOST:
            return False
        session = self._session
        pending = session.workspace.pending_diff(_PENDING_TOLD, session.redact) if PHASES[session.phase].writes else ""
        event = shorten(conversation, turn, reason, window or self._session.route.context, pending)
        if event is None:
            return False
        yield conversation.note(event)
        return True
