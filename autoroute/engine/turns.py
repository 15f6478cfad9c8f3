"""One turn of a conversation: a request and its reply, with the retries, compactions and recoveries it takes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from autoroute.engine.compaction import MAX_COMPACTIONS, compact, estimate_messages
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import retry_wait
from autoroute.errors import BadRequest, LimitReached, PhaseFailed, ProviderError, TooLong, WrongModel
from autoroute.events import Event, Notice, TurnEnded, TurnFailed, TurnStarted, TurnUpdate
from autoroute.messages import Allowance, Message, Reply, Request, Stop, ToolSpec, estimate_tokens
from autoroute.phases import PHASES
from autoroute.state import Conversation

_MAX_OUTPUT_TOKENS = 32_000
_OUTPUT_SHARE = 4
"""A reply may take one part in so many of a context window."""
_MAX_PENDING_DIFF_CHARACTERS = 30_000
"""How much of the uncommitted diff a compacted conversation holds."""
_MIN_QUEUE_SECONDS = 300.0
"""How long a request may wait for its turn among those of other runs, even when less is left of ``max_wait``."""
_FREE_QUEUE_SECONDS = 60.0
"""How much of that counts as normal pacing, and is not taken from ``max_wait``."""
_NO_ALLOWANCES: tuple[Allowance, ...] = ()


class Turns:
    """Takes the turns of one conversation."""

    def __init__(self, session: ModelSession, specs: tuple[ToolSpec, ...]) -> None:
        self._session = session
        self._sitting = session.sitting
        self._context = session.sitting.context
        self._specs = specs

    def take(self) -> Generator[Event, None, None]:
        """Get one reply, whatever retries, compactions and changes of route it takes.

        Raises a ``ProviderError`` when recovery decides to stop, ``PhaseFailed`` when the turns are used up.
        """
        session, wait_budget = self._session, self._sitting.wait_budget
        turn = self._sitting.state.usage.last_turn + 1
        attempt, failures = 1, 0
        while True:
            try:
                yield from self._make_room(turn)
                yield from self._attempt(turn, attempt)
            except ProviderError as error:
                self._context.cancel.check()  # an interrupted request is not a failure of the provider
                failures += 1
                wait = retry_wait(error, failures, self._context.config.limits.max_retries, self._context.clock)
                wait = wait if wait is not None and wait_budget.allows(wait) else None
                yield self._failure(turn, attempt, error, wait)
                if wait is not None:
                    self._context.clock.sleep(wait)
                    wait_budget.spend(wait)
                elif isinstance(error, TooLong) and (yield from self._compact(turn, error.message)):
                    failures = 0
                else:
                    tokens = self._conversation.length
                    session.switch_to((yield from session.recovery.recover(session.route, turn, error, tokens)))
                    failures = 0
                attempt += 1
            else:
                session.recovery.note_success(session.route)
                return

    @property
    def _conversation(self) -> Conversation:
        conversation = self._sitting.state.conversation
        assert conversation is not None, "no prompt has opened the conversation"
        return conversation

    def _attempt(self, turn: int, attempt: int) -> Generator[Event, None, None]:
        """Send one request. Raises a ``ProviderError``."""
        session, pacer = self._session, self._context.providers.pacer
        self._check_turns()
        self._context.cancel.check()
        conversation = self._conversation
        assert conversation.due is not None, "a request needs something that is due"
        request = self._request((*conversation.messages_for(session.route), conversation.due))
        yield TurnStarted(
            phase=session.phase,
            turn=turn,
            route=session.route,
            attempt=attempt,
            request_sha256=session.model.digest(request),
        )
        self._sitting.budget.check(session.phase, session.route, request, conversation.length)
        # Providers count cached tokens little or not at all against a rate, so only the new ones are paced.
        yield from self._wait_for_pacer(estimate_tokens(conversation.due))
        started, allowances = self._context.clock.monotonic(), _NO_ALLOWANCES
        try:
            reply = yield from self._stream(turn, request)
            allowances = reply.allowances
        finally:
            pacer.release(session.route, allowances)
        yield from self._book(turn, reply, self._context.clock.monotonic() - started)

    def _request(self, messages: tuple[Message, ...]) -> Request:
        route = self._session.route
        share = route.context // _OUTPUT_SHARE if route.context else _MAX_OUTPUT_TOKENS
        return Request(
            model=route.model,
            system=self._session.system,
            messages=messages,
            tools=self._specs,
            max_tokens=min(route.max_output or _MAX_OUTPUT_TOKENS, _MAX_OUTPUT_TOKENS, share),
            effort=route.effort,
        )

    def _wait_for_pacer(self, tokens: int) -> Generator[Event, None, None]:
        """Wait until local pacing lets the request go. Raises ``LimitReached`` when that takes too long."""
        route, wait_budget, waited = self._session.route, self._sitting.wait_budget, 0.0
        try:
            while wait := self._context.providers.pacer.acquire(route, tokens):
                if waited + wait > max(_MIN_QUEUE_SECONDS, wait_budget.left):
                    raise self._queue_error()
                if not waited:
                    account = f"account {route.account} of {route.provider}"
                    text = f"waiting to send: requests of {account} are paced on this machine"
                    yield Notice(level="info", text=text)
                self._context.clock.sleep(wait)
                waited += wait
        finally:
            wait_budget.spend(max(0.0, waited - _FREE_QUEUE_SECONDS))

    def _queue_error(self) -> LimitReached:
        """Return the error of a queue that is too long. It is not retried: that would only queue again."""
        route = self._session.route
        return LimitReached(
            f"other runs on this machine use all that account {route.account} may send",
            provider=route.provider,
            model=route.model,
            account=route.account,
            limit="concurrency",
            by_setting=True,
        )

    def _stream(self, turn: int, request: Request) -> Generator[Event, None, Reply]:
        model = self._session.model
        with self._context.cancel.on_cancel(model.interrupt):
            for item in model.ask(request):
                if isinstance(item, Reply):
                    return item
                self._context.cancel.check()
                yield TurnUpdate(phase=self._session.phase, turn=turn, kind=item.kind, text=item.text)
        raise AssertionError("a wire ended without a reply and without an error")

    def _book(self, turn: int, reply: Reply, seconds: float) -> Generator[Event, None, None]:
        """Record a reply and what it cost. Raises the ``ProviderError`` of a reply that cannot be used."""
        session, route, before = self._session, self._session.route, self._conversation.served_model
        cost, error = self._context.providers.cost(route, reply.usage), self._reply_error(reply)
        yield TurnEnded(
            phase=session.phase,
            turn=turn,
            route=route,
            reply=replace(reply, allowances=()),
            seconds=seconds,
            cost=cost,
            usable=error is None,
        )
        for warning in self._sitting.budget.warnings(session.phase, reply.usage, cost):
            yield Notice(level="warning", text=warning)
        if error is not None:
            raise error
        if self._context.config.served_model == "warn" and reply.served_model != before and self._is_another(reply):
            answered = f"{reply.served_model} answered a request for {route.model}"
            yield Notice(level="warning", text=f"{route.provider} (account {route.account}): {answered}")
        if self._conversation.is_truncated:
            counts = "counts no more tokens than for the request before, although more were sent"
            text = f"{route.name} {counts}: it drops the beginning of the conversation silently"
            yield Notice(level="warning", text=text)
            yield from self._compact(turn, "the provider drops the beginning silently", reply.usage.total)

    def _reply_error(self, reply: Reply) -> ProviderError | None:
        """Return why a reply is not part of the conversation; None when it is."""
        if self._context.config.served_model == "strict" and self._is_another(reply):
            message = f"{reply.served_model} answered a request for {self._session.route.model}"
            error = self._error(WrongModel, message, reply)
            error.hint = 'choose another route, or accept it with served_model = "warn" in your config.toml'
            return error
        if reply.stop is Stop.REFUSAL:
            return self._error(BadRequest, "the model refused to answer", reply)
        if reply.stop is Stop.CONTEXT:
            return self._error(TooLong, "the conversation is longer than the model's context window", reply)
        return None

    def _is_another(self, reply: Reply) -> bool:
        return not self._context.providers.is_model(self._session.route, reply.served_model)

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
        route, serving = self._session.route, self._conversation.serving
        max_turns = self._context.config.limits.max_turns
        if serving.route == route and serving.turns >= max_turns:
            raise PhaseFailed(
                f"{route.name} used all {max_turns} turns of one conversation",
                hint="raise max_turns under [limits], or split the task",
            )

    def _make_room(self, turn: int) -> Generator[Event, None, None]:
        """Compact what would not fit by our own count, before a provider rejects it or truncates it silently."""
        window, conversation = self._session.route.context, self._conversation
        length = conversation.length or estimate_messages(conversation.messages, conversation.due)
        if window and conversation.messages and length + min(_MAX_OUTPUT_TOKENS, window // _OUTPUT_SHARE) > window:
            reason = f"it would not fit {self._session.route.name}'s window of {window} tokens"
            yield from self._compact(turn, reason)

    def _compact(self, turn: int, reason: str, window: int | None = None) -> Generator[Event, None, bool]:
        """Compact the conversation; return whether that was possible."""
        conversation, context = self._conversation, self._context
        if conversation.pending.compactions >= MAX_COMPACTIONS:
            return False
        writes = PHASES[self._session.phase].writes
        diff = context.workspace.pending_diff(_MAX_PENDING_DIFF_CHARACTERS, context.redact) if writes else ""
        event = compact(conversation, turn, reason, window or self._session.route.context, diff)
        if event is None:
            return False
        yield event
        return True
