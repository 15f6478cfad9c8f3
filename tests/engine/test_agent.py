from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from autoroute.errors import BadRequest, Busy, Cancelled, ExitCode, LimitReached, PhaseFailed, TooLong, Unreachable
from autoroute.events import (
    ArtifactRejected,
    Event,
    Notice,
    PromptSent,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnFailed,
    TurnStarted,
)
from autoroute.messages import Delta, Reply, Request, Stop, Text, ToolCall, ToolResult
from autoroute.routing import Limits, Phase, RecoverySettings
from autoroute.tools import ToolOutcome
from tests.engine.doubles import (
    Providers,
    ScriptedModel,
    StatefulAgent,
    TestClock,
    Toolbox,
    call,
    echo,
    meeting,
    reply,
    session,
)

Kind = TypeVar("Kind")


def finish(events: Generator[Event, None, Any]) -> tuple[list[Event], Any]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return seen, stop.value


STOP = RecoverySettings(on_limit="stop")


def of_type(events: Sequence[Event], kind: type[Kind]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def test_a_turn_without_tool_calls_ends_the_conversations_turn() -> None:
    model = ScriptedModel([reply(Text("done"))])
    agent = StatefulAgent(session(model)[0], Toolbox({}))
    events, artifact = finish(agent.say("Work."))
    assert artifact is None
    assert [event.type for event in events] == ["prompt_sent", "turn_started", "turn_update", "turn_ended"]
    assert agent.served_model == "acme-1-0815"


def test_every_request_begins_with_the_messages_of_the_one_before() -> None:
    model = ScriptedModel([reply(call("look")), reply(call("look", id="c2")), reply(), reply()])
    agent = StatefulAgent(session(model)[0], Toolbox({"look": (True, echo)}))
    finish(agent.say("Work."))
    finish(agent.say("Mend it."))
    sent = [request.messages for request in model.requests]
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier)] == earlier
    assert [message.role for message in sent[-1]] == ["user", "assistant"] * 3 + ["user"]


def test_results_answer_the_calls_in_their_order_in_one_message() -> None:
    model = ScriptedModel([reply(call("look", id="a"), call("change", id="b"), call("look", id="c")), reply()])
    agent = StatefulAgent(session(model)[0], Toolbox({"look": (True, echo), "change": (False, echo)}))
    finish(agent.say("Work."))
    assert model.requests[1].messages[-1].parts == (
        ToolResult("a", "result of a"),
        ToolResult("b", "result of b"),
        ToolResult("c", "result of c"),
    )


def test_read_only_calls_of_one_turn_run_at_the_same_time() -> None:
    ids = ["a", "b", "c"]
    model = ScriptedModel([reply(*(call("meet", id=id) for id in ids)), reply()])
    agent = StatefulAgent(session(model)[0], Toolbox({"meet": (True, meeting(3))}))
    events, _ = finish(agent.say("Work."))
    assert [event.text for event in of_type(events, ToolEnded)] == [f"met as {id}" for id in ids]


def test_a_change_is_prepared_only_when_the_one_before_it_has_run() -> None:
    log: list[str] = []
    toolbox = Toolbox({})

    def change(done: ToolCall) -> ToolOutcome:
        log.append(f"run {done.id} after preparing {toolbox.prepared[-1]}")
        return ToolOutcome("changed")

    toolbox.tools["change"] = (False, change)
    model = ScriptedModel([reply(call("change", id="a"), call("change", id="b")), reply()])
    finish(StatefulAgent(session(model)[0], toolbox).say("Work."))
    assert log == ["run a after preparing a", "run b after preparing b"]


def test_the_intent_is_out_before_the_side_effect_and_the_result_after() -> None:
    done: list[str] = []

    def change(made: ToolCall) -> ToolOutcome:
        done.append(made.id)
        return ToolOutcome("changed")

    model = ScriptedModel([reply(call("change", id="a")), reply()])
    seen: list[tuple[str, bool]] = []
    for event in StatefulAgent(session(model)[0], Toolbox({"change": (False, change)})).say("Work."):
        if isinstance(event, (TurnEnded, ToolStarted, ToolEnded)):
            seen.append((event.type, bool(done)))
    assert seen[:3] == [("turn_ended", False), ("tool_started", False), ("tool_ended", True)]


def test_a_burst_is_retried_visibly_and_the_half_reply_is_forgotten() -> None:
    model = ScriptedModel([Busy("slow down", status=429, code="rate_limit"), Unreachable("cut"), reply()])
    made, clock = session(model)
    events, _ = finish(StatefulAgent(made, Toolbox({})).say("Work."))
    assert [event.attempt for event in of_type(events, TurnStarted)] == [1, 2, 3]
    assert [e.request_sha256 for e in of_type(events, TurnStarted)] == [model.digest(one) for one in model.requests]
    assert [(e.error, e.status, e.retry_in) for e in of_type(events, TurnFailed)] == [
        ("Busy", 429, 1.0),
        ("Unreachable", None, 2.0),
    ]
    assert clock.slept == [1.0, 2.0]
    assert model.requests[0].messages == model.requests[2].messages


def test_retries_end() -> None:
    model = ScriptedModel([Busy("slow down")] * 3)
    made, _ = session(model, limits=Limits(max_retries=2), settings=STOP)
    with pytest.raises(Busy):
        finish(StatefulAgent(made, Toolbox({})).say("Work."))
    assert model.script == []


def test_a_spent_window_is_never_asked_again() -> None:
    model = ScriptedModel([LimitReached("5 hours", retry_at=datetime(2026, 11, 24, tzinfo=UTC)), reply()])
    made, clock = session(model)
    with pytest.raises(LimitReached):
        finish(StatefulAgent(made, Toolbox({})).say("Work."))
    assert len(model.requests) == 1
    assert clock.slept == []


def test_turns_are_bounded() -> None:
    model = ScriptedModel([reply(call("look", id=f"c{number}")) for number in range(10)])
    made, _ = session(model, limits=Limits(max_turns=3))
    with pytest.raises(PhaseFailed, match="all 3 turns"):
        finish(StatefulAgent(made, Toolbox({"look": (True, echo)})).say("Work."))
    assert len(model.requests) == 3


@pytest.mark.parametrize(("stop", "error"), [(Stop.REFUSAL, BadRequest), (Stop.CONTEXT, TooLong)])
def test_a_reply_that_no_turn_can_mend_is_an_error_of_the_provider(stop: Stop, error: type[Exception]) -> None:
    model = ScriptedModel([reply(stop=stop)])
    with pytest.raises(error) as caught:
        finish(StatefulAgent(session(model)[0], Toolbox({})).say("Work."))
    assert (caught.value.provider, caught.value.model, caught.value.account) == ("acme", "acme-1", "work")  # type: ignore[attr-defined]


def test_a_reply_cut_at_the_output_limit_goes_on() -> None:
    model = ScriptedModel([reply(Text("so far"), stop=Stop.LENGTH), reply()])
    finish(StatefulAgent(session(model)[0], Toolbox({})).say("Work."))
    assert "cut at the output limit" in model.requests[1].messages[-1].text


def submit_twice(artifact: dict[str, Any]) -> Toolbox:
    outcomes = [ToolOutcome("title: missing", is_error=True), ToolOutcome("accepted", artifact=artifact)]
    return Toolbox({"submit_spec": (False, lambda _: outcomes.pop(0))})


def test_a_refused_artifact_goes_back_with_the_exact_complaint() -> None:
    model = ScriptedModel([reply(call("submit_spec")), reply(call("submit_spec", id="c2"))])
    made, _ = session(model, Phase.SPEC)
    events, artifact = finish(StatefulAgent(made, submit_twice({"title": "t"})).obtain_artifact("Write."))
    assert artifact == {"title": "t"}
    assert model.requests[1].messages[-1].parts == (ToolResult("c1", "title: missing", is_error=True),)
    assert [(e.complaint, e.attempt) for e in of_type(events, ArtifactRejected)] == [("title: missing", 1)]


def test_a_model_that_hands_on_nothing_is_asked_again_three_times_and_then_the_phase_fails() -> None:
    model = ScriptedModel([reply() for _ in range(9)])
    made, _ = session(model, Phase.SPEC)
    with pytest.raises(PhaseFailed, match="no valid spec in 4 attempts") as caught:
        finish(StatefulAgent(made, Toolbox({})).obtain_artifact("Write."))
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert len(model.requests) == 4


def test_a_model_that_only_ever_submits_nonsense_is_bounded_too() -> None:
    model = ScriptedModel([reply(call("submit_spec", id=f"c{number}")) for number in range(9)])
    made, _ = session(model, Phase.SPEC)
    refuse = Toolbox({"submit_spec": (False, lambda _: ToolOutcome("title: missing", is_error=True))})
    with pytest.raises(PhaseFailed, match="title: missing"):
        finish(StatefulAgent(made, refuse).obtain_artifact("Write."))
    assert len(model.requests) == 4


def test_what_is_said_first_opens_the_conversation() -> None:
    model = ScriptedModel([reply(), reply()])
    agent = StatefulAgent(session(model)[0], Toolbox({}))
    first, _ = finish(agent.say("Work."))
    second, _ = finish(agent.say("Again."))
    assert [event.opens for event in of_type(first + second, PromptSent)] == [True, False]


def paced(waits: list[float], max_wait: float) -> tuple[list[Event], TestClock]:
    providers, settings = Providers({}), RecoverySettings(on_limit="stop", max_wait=max_wait)
    providers.pacer.waits = waits
    made, clock = session(
        ScriptedModel([reply()]), limits=Limits(max_retries=0), providers=providers, settings=settings
    )
    return finish(StatefulAgent(made, Toolbox({})).say("Work."))[0], clock


def test_pace_is_kept_said_once_and_no_drain_on_max_wait() -> None:
    events, clock = paced([0.25] * 100, max_wait=0)
    assert [event.text for event in of_type(events, Notice)] == [
        "waiting to send: requests of account work of acme are paced on this machine"
    ]
    assert sum(clock.slept) == 25


def test_a_place_that_never_comes_free_is_not_waited_for_without_end() -> None:
    with pytest.raises(LimitReached, match="other runs on this machine"):
        paced([0.25] * 1_000_000, max_wait=0)


def test_a_queue_is_bounded_by_max_wait_with_every_default() -> None:
    providers = Providers({})
    providers.pacer.waits = [5.0] * 1_000_000
    made, clock = session(ScriptedModel([]), providers=providers)
    with pytest.raises(LimitReached, match="other runs on this machine"):
        finish(StatefulAgent(made, Toolbox({})).say("Work."))
    assert sum(clock.slept) <= 7200 + 60


@dataclass
class Silent(ScriptedModel):
    """Says nothing until it is interrupted, and has the run cancelled from another thread meanwhile."""

    cancel: Callable[[], None] = lambda: None
    _interrupted: threading.Event = field(default_factory=threading.Event)

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        self.requests.append(request)
        threading.Thread(target=self.cancel).start()
        assert self._interrupted.wait(timeout=10)
        raise Unreachable("the request was interrupted")
        yield Delta("text", "")

    def interrupt(self) -> None:
        self._interrupted.set()


def test_a_cancellation_from_another_thread_interrupts_a_silent_model() -> None:
    model = Silent([])
    made, _ = session(model)
    token = made.sitting.context.cancel
    model.cancel = lambda: token.cancel("stopped by a test")
    with pytest.raises(Cancelled, match="stopped by a test"):
        finish(StatefulAgent(made, Toolbox({})).say("Work."))
    assert len(model.requests) == 1


def test_no_request_is_sent_and_no_tool_runs_after_a_cancellation() -> None:
    ran: list[str] = []
    model = ScriptedModel([reply(call("change", id="a"), call("change", id="b"))])
    made, _ = session(model)

    def change(made_call: ToolCall) -> ToolOutcome:
        ran.append(made_call.id)
        made.sitting.context.cancel.cancel("enough")
        return ToolOutcome("changed")

    agent = StatefulAgent(made, Toolbox({"change": (False, change)}))
    with pytest.raises(Cancelled, match="enough"):
        finish(agent.say("Work."))
    assert ran == ["a"]
    with pytest.raises(Cancelled, match="enough"):
        finish(agent.say("Again."))
    assert len(model.requests) == 1
