"""Doubles of the engine's seams, passed in as arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from autoroute.engine.agent import Seat
from autoroute.engine.ledger import Ledger
from autoroute.errors import ProviderError
from autoroute.messages import Delta, Message, Part, Reply, Request, Stop, Text, ToolCall, ToolSpec
from autoroute.routing import Limits, Phase, Route
from autoroute.tools import Outcome, Prepared

ROUTE = Route(provider="acme", model="acme-1", requested="acme/acme-1", account="work")


def reply(*parts: Part, stop: Stop = Stop.END) -> Reply:
    return Reply(Message("assistant", parts or (Text("done"),)), stop, served_model="acme-1-0815")


def call(name: str, arguments: str = "{}", id: str = "c1") -> ToolCall:
    return ToolCall(id, name, arguments)


FREE: dict[str, Any] = {"ledger": Ledger(lambda _route, _usage: 0.0), "same_model": lambda _route, _served: True}


@dataclass
class ScriptedModel:
    """Plays its script in order: a reply is given, an error raised."""

    script: list[Reply | ProviderError]
    requests: list[Request] = field(default_factory=list)

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        self.requests.append(request)
        following = self.script.pop(0)
        if isinstance(following, ProviderError):
            yield Delta("text", "half a sen")
            raise following
        yield Delta("text", following.message.text)
        yield following

    def close(self) -> None:
        pass


@dataclass
class TestClock:
    """Time stands still; ``sleep`` is written down."""

    __test__ = False
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def jitter(self) -> float:
        return 0.0


@dataclass
class Toolbox:
    """Tools by name: what each does, and whether it only reads."""

    tools: dict[str, tuple[bool, Callable[[ToolCall], Outcome]]]
    prepared: list[str] = field(default_factory=list)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, name, "{}") for name in self.tools)

    def prepare(self, call: ToolCall) -> Prepared:
        self.prepared.append(call.id)
        read_only, act = self.tools[call.name]
        return Prepared(summary=f"{call.name} {call.id}", read_only=read_only, run=lambda: act(call))


def seat(
    model: ScriptedModel, phase: Phase = Phase.CODING, limits: Limits | None = None, **more: Any
) -> tuple[Seat, TestClock]:
    clock = TestClock()
    made = Seat(phase, ROUTE, model, "You are tested.", limits or Limits(), clock, count(1), **{**FREE, **more})
    return made, clock


def echo(call: ToolCall) -> Outcome:
    return Outcome(f"result of {call.id}")


def meeting(parties: int) -> Callable[[ToolCall], Outcome]:
    """A tool that returns only when ``parties`` calls of it run at the same time."""
    barrier = threading.Barrier(parties)

    def meet(call: ToolCall) -> Outcome:
        barrier.wait(timeout=10)
        return Outcome(f"met as {call.id}")

    return meet
