"""The agent loop: a conversation with one model about one phase, turn by turn, tools included."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from autoroute.engine.ledger import Ledger, tokens_of
from autoroute.engine.policy import Clock, retry_wait
from autoroute.errors import BadRequest, ExitCode, PhaseFailed, ProviderError, TooLong, WrongModel
from autoroute.events import (
    ArtefactRefused,
    Asked,
    Event,
    Notice,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnFailed,
    TurnStarted,
    TurnUpdate,
)
from autoroute.messages import Message, Part, Reply, Request, Stop, Text, ToolCall, ToolResult
from autoroute.phases import PHASES, asks
from autoroute.routing import Limits, Phase, Route, ServedModel
from autoroute.tools import Outcome, Prepared, Toolbox
from autoroute.wire import Model

_MAX_OUTPUT = 32_000
_PARALLEL_CALLS = 8


@dataclass(frozen=True, slots=True)
class Seat:
    """A model at work in a phase: all that a conversation needs and that does not change within it."""

    phase: Phase
    route: Route
    model: Model
    system: str
    limits: Limits
    clock: Clock
    turns: Iterator[int]
    """Numbers the turns through the whole run."""
    ledger: Ledger
    same_model: Callable[[Route, str], bool]
    """Whether a name that a reply gave is the route's model."""
    served_model: ServedModel = "strict"


class Conversation:
    """One conversation: it grows at its end only, so every request begins with the bytes of the one before."""

    def __init__(self, seat: Seat, toolbox: Toolbox) -> None:
        self._seat = seat
        self._toolbox = toolbox
        self._submit = PHASES[seat.phase].submit
        self._messages: tuple[Message, ...] = ()
        self._turns_left = seat.limits.max_turns
        self._corrections = 0
        self._tokens = 0
        """Of the conversation so far, as the provider counted them."""
        self.served_model = ""
        """What the last reply said it came from."""

    def obtain(self, ask: str) -> Generator[Event, None, dict[str, Any]]:
        """Open the conversation and insist, within bounds, on the artefact of its phase (its JSON form).

        Raises ``PhaseFailed`` when the model hands on nothing valid after ``max_corrections`` corrections.
        """
        artefact = yield from self.say(ask)
        while artefact is None:
            complaint = f"{self._submit} was not called"
            yield self._correction(complaint)
            artefact = yield from self.say(asks.correct_missing(str(self._submit)))
        return artefact

    def say(self, text: str) -> Generator[Event, None, dict[str, Any] | None]:
        """Say something and let the model work until it hands on an artefact (returned) or ends its turn (None).

        Raises ``ProviderError`` when the provider fails beyond retries, ``PhaseFailed`` when the turns are used up.
        """
        yield Asked(phase=self._seat.phase, text=text, opens=not self._messages)
        spoken: tuple[Part, ...] = (Text(text),)
        while True:
            message = Message("user", spoken)
            self._messages += (message,)
            self._tokens += tokens_of(message) if self._tokens else 0
            turn, reply = yield from self._turn()
            self._messages += (reply.message,)
            self.served_model = reply.served_model
            spoken, artefact = yield from self._use_tools(turn, reply.message.calls)
            if artefact is not None:
                return artefact
            if reply.stop is Stop.LENGTH:
                spoken = (*spoken, Text(asks.correct_cut(self._seat.phase)))
            elif reply.stop is Stop.PAUSE:
                spoken = (*spoken, Text("Go on."))
            if not spoken:
                return None

    def _turn(self) -> Generator[Event, None, tuple[int, Reply]]:
        """One reply, whatever retries it takes."""
        seat = self._seat
        if self._turns_left == 0:
            raise PhaseFailed(
                f"{seat.route.name} used all {seat.limits.max_turns} turns of one conversation",
                hint="raise max_turns under [limits], or split the task",
            )
        self._turns_left -= 1
        turn = next(seat.turns)
        attempt = 1
        while True:
            yield TurnStarted(phase=seat.phase, turn=turn, route=seat.route, attempt=attempt)
            started = seat.clock.monotonic()
            try:
                reply = yield from self._stream(turn)
            except ProviderError as error:
                wait = retry_wait(error, attempt, seat.limits.max_retries, seat.clock)
                yield self._failure(turn, attempt, error, wait)
                if wait is None:
                    raise
                seat.clock.sleep(wait)
                attempt += 1
                continue
            seconds = seat.clock.monotonic() - started
            yield from self._account(turn, reply, seconds)
            return turn, self._usable(reply)

    def _account(self, turn: int, reply: Reply, seconds: float) -> Generator[Event, None, None]:
        """Book what a reply cost and look at who gave it. Raises ``WrongModel``."""
        seat = self._seat
        cost, warnings = seat.ledger.book(seat.phase, seat.route, reply.usage)
        self._tokens = reply.usage.total
        yield TurnEnded(phase=seat.phase, turn=turn, route=seat.route, reply=reply, seconds=seconds, cost=cost)
        for warning in warnings:
            yield Notice(level="warning", text=warning)
        if seat.served_model == "off" or seat.same_model(seat.route, reply.served_model):
            return
        message = f"{seat.route.model} was asked for, and {reply.served_model} answered"
        if seat.served_model == "warn":
            if reply.served_model != self.served_model:
                yield Notice(level="warning", text=f"{seat.route.provider} (account {seat.route.account}): {message}")
            return
        error = self._unusable(WrongModel, message, reply)
        error.hint = (
            'ask the provider why, choose another route, or accept it: served_model = "warn" in your config.toml'
        )
        raise error

    def _stream(self, turn: int) -> Generator[Event, None, Reply]:
        seat = self._seat
        request = Request(
            model=seat.route.model,
            system=seat.system,
            messages=self._messages,
            tools=self._toolbox.specs,
            max_tokens=min(seat.route.max_output or _MAX_OUTPUT, _MAX_OUTPUT),
            effort=seat.route.effort,
        )
        seat.ledger.check(seat.phase, seat.route, request, self._tokens)
        for item in seat.model.ask(request):
            if isinstance(item, Reply):
                return item
            yield TurnUpdate(phase=seat.phase, turn=turn, kind=item.kind, text=item.text)
        raise AssertionError("a wire ended without a reply and without an error")

    def _usable(self, reply: Reply) -> Reply:
        """The reply, unless it is one that no further turn can mend."""
        if reply.stop is Stop.REFUSAL:
            raise self._unusable(BadRequest, "the model refused to answer", reply)
        if reply.stop is Stop.CONTEXT:
            raise self._unusable(TooLong, "the conversation is longer than the model's context window", reply)
        return reply

    def _unusable(self, kind: type[ProviderError], message: str, reply: Reply) -> ProviderError:
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

    def _use_tools(
        self, turn: int, calls: tuple[ToolCall, ...]
    ) -> Generator[Event, None, tuple[tuple[Part, ...], dict[str, Any] | None]]:
        """Run the calls of one turn; results keep their order, calls that only read run side by side."""
        results: list[Part] = []
        artefact: dict[str, Any] | None = None
        reading: list[tuple[ToolCall, Prepared]] = []
        for call in calls:
            prepared = self._toolbox.prepare(call)
            if prepared.read_only:
                reading.append((call, prepared))
                continue
            results += yield from self._run_side_by_side(turn, reading)
            reading = []
            yield self._tool_started(turn, call, prepared)
            started = self._seat.clock.monotonic()
            outcome = prepared.run()
            yield self._tool_ended(turn, call, outcome, self._seat.clock.monotonic() - started)
            results.append(ToolResult(call.id, outcome.text, outcome.is_error))
            artefact = outcome.artefact or artefact
            if call.name == self._submit and outcome.is_error:
                yield self._correction(outcome.text)
        results += yield from self._run_side_by_side(turn, reading)
        return tuple(results), artefact

    def _run_side_by_side(
        self, turn: int, reading: list[tuple[ToolCall, Prepared]]
    ) -> Generator[Event, None, list[ToolResult]]:
        if not reading:
            return []
        for call, prepared in reading:
            yield self._tool_started(turn, call, prepared)
        started = self._seat.clock.monotonic()
        if len(reading) == 1:
            outcomes: list[Outcome] = [reading[0][1].run()]
        else:
            with ThreadPoolExecutor(max_workers=min(len(reading), _PARALLEL_CALLS)) as pool:
                outcomes = list(pool.map(lambda item: item[1].run(), reading))
        seconds = self._seat.clock.monotonic() - started
        for (call, _), outcome in zip(reading, outcomes, strict=True):
            yield self._tool_ended(turn, call, outcome, seconds)
        return [
            ToolResult(call.id, outcome.text, outcome.is_error)
            for (call, _), outcome in zip(reading, outcomes, strict=True)
        ]

    def _tool_started(self, turn: int, call: ToolCall, prepared: Prepared) -> ToolStarted:
        return ToolStarted(
            phase=self._seat.phase,
            turn=turn,
            call=call.id,
            name=call.name,
            arguments=call.arguments,
            summary=prepared.summary,
            intent=prepared.intent,
        )

    def _tool_ended(self, turn: int, call: ToolCall, outcome: Outcome, seconds: float) -> ToolEnded:
        return ToolEnded(
            phase=self._seat.phase,
            turn=turn,
            call=call.id,
            name=call.name,
            text=outcome.text,
            is_error=outcome.is_error,
            seconds=seconds,
        )

    def _correction(self, complaint: str) -> ArtefactRefused:
        """Count a correction; the event that reports it. Raises ``PhaseFailed`` when there were too many."""
        seat = self._seat
        artefact = str(PHASES[seat.phase].artefact)
        self._corrections += 1
        if self._corrections > seat.limits.max_corrections:
            raise PhaseFailed(
                f"{seat.route.name} handed on no valid {artefact} in "
                f"{self._corrections} attempts; the last complaint: {complaint}",
                exit_code=ExitCode.CONFIGURATION,
                hint=f"choose another model for this phase: --{PHASES[seat.phase].flag} ROUTE",
            )
        return ArtefactRefused(phase=seat.phase, artefact=artefact, complaint=complaint, attempt=self._corrections)
