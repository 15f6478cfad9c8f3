"""A conversation that was cut off after any of its events goes on as if it had not been."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from autoroute.engine.compaction import compact
from autoroute.errors import LimitReached, ProviderError, TooLong
from autoroute.events import (
    ConversationCompacted,
    Event,
    Notice,
    PromptSent,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from autoroute.messages import (
    Delta,
    Message,
    Reply,
    Request,
    Stop,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from autoroute.phases import prompts
from autoroute.routing import Phase, PhaseRouting, Route
from autoroute.state import Conversation, RunState
from autoroute.tools import ToolOutcome
from tests.engine.doubles import (
    ROUTE,
    Providers,
    ScriptedModel,
    StatefulAgent,
    Toolbox,
    Workspace,
    digest,
    echo,
    session,
)
from tests.engine.test_agent import finish, of_type

THINKING = Thinking("hm", "acme", "acme-1", opaque="signed")
REPLIES = (
    (THINKING, Text("I look."), ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")),
    (ToolCall("c", "change", "{}"), ToolCall("d", "run", "{}"), ToolCall("e", "look", "{}")),
    (Text("so far"),),
    (Text("done"),),
)
STOPS = (Stop.TOOLS, Stop.TOOLS, Stop.LENGTH, Stop.END)


@dataclass
class PureModel:
    """Answers by what was answered before, as a vendor's server does: it knows nothing of cuts."""

    requests: list[Request] = field(default_factory=list)

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        self.requests.append(request)
        number = sum(message.role == "assistant" for message in request.messages)
        usage = Usage(input=100 * (number + 1), output=10)
        yield Reply(Message("assistant", REPLIES[number]), STOPS[number], "acme-1", usage)

    def digest(self, request: Request) -> str:
        return digest(request)

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Counting:
    """Tools that count what they did."""

    done: list[str] = field(default_factory=list)

    def act(self, call: ToolCall) -> ToolOutcome:
        self.done.append(call.id)
        return ToolOutcome(f"result of {call.id}")

    def box(self) -> Toolbox:
        tools: dict[str, tuple[bool, Callable[[ToolCall], ToolOutcome]]] = {
            name: (name == "look", self.act) for name in ("look", "change", "run")
        }
        return Toolbox(tools, needs_checkpoint=("run",))


def hold(state: RunState, tools: Counting) -> tuple[list[Event], PureModel, Workspace]:
    model, workspace = PureModel(), Workspace()
    providers = Providers({})
    providers.models[ROUTE.name] = model  # type: ignore[assignment]
    made, _ = session(ScriptedModel([]), providers=providers, workspace=workspace, state=state)
    events, artifact = finish(StatefulAgent(made, tools.box()).say("Work."))
    assert artifact is None
    return events, model, workspace


WHOLE, MODEL, _ = hold(RunState(), Counting())
STORED = [event for event in WHOLE if event.type != "turn_update"]
LAST = MODEL.requests[-1].messages


def remembered(events: Sequence[Event]) -> Conversation:
    conversation = RunState.of(events).conversation
    assert conversation is not None
    return conversation


@pytest.mark.parametrize("kept", range(1, len(STORED) + 1))
def test_a_cut_after_any_event_loses_no_turn_and_runs_no_call_twice(kept: int) -> None:
    past, tools = STORED[:kept], Counting()
    events, model, workspace = hold(RunState.of(past), tools)
    answered = len(of_type(past, TurnEnded))
    assert len(model.requests) == len(REPLIES) - answered
    started = {event.call for event in of_type(past, ToolStarted)}
    ended = {event.call for event in of_type(past, ToolEnded)}
    assert not ended & set(tools.done)
    assert sorted(event.call for event in of_type([*past, *events], ToolStarted)) == list("abcde")
    assert sorted(event.call for event in of_type([*past, *events], ToolEnded)) == list("abcde")
    interrupted = "d" in started - ended
    assert ("d" in tools.done) == ("d" not in started)
    assert workspace.restored == (["tree-1"] if interrupted else [])
    if model.requests and not interrupted:
        assert model.requests[-1].messages == LAST
    elif model.requests:
        results = [part for message in model.requests[-1].messages for part in message.parts]
        assert ToolResult("d", "interrupted", is_error=True) in results


def test_what_is_remembered_is_what_was_sent() -> None:
    conversation = remembered(STORED)
    assert conversation.messages[:-1] == LAST
    assert conversation.due is None
    assert (conversation.serving.turns, conversation.tokens, conversation.served_model) == (4, 410, "acme-1")


def elsewhere(conversation: Conversation, route: Route) -> Conversation:
    conversation.apply(TurnStarted(phase=Phase.CODING, turn=9, route=route, attempt=1))
    return conversation


@pytest.mark.parametrize(
    "other", [replace(ROUTE, model="m2"), replace(ROUTE, provider="p2"), replace(ROUTE, account="home")]
)
def test_thinking_goes_to_no_other_model_provider_or_account(other: Route) -> None:
    assert THINKING in elsewhere(remembered(STORED), ROUTE).messages[1].parts
    messages = elsewhere(remembered(STORED), other).messages
    assert not any(isinstance(part, Thinking) for message in messages for part in message.parts)
    assert [part for part in messages[1].parts if isinstance(part, ToolCall)] == list(REPLIES[0][2:])


def test_a_message_of_nothing_but_thinking_is_not_left_empty() -> None:
    conversation = remembered([PromptSent(phase=Phase.CODING, text="Work.", opens=True)])
    reply = Reply(Message("assistant", (THINKING,)), Stop.LENGTH, "acme-1")
    conversation.apply(TurnStarted(phase=Phase.CODING, turn=1, route=ROUTE, attempt=1))
    conversation.apply(TurnEnded(phase=Phase.CODING, turn=1, route=ROUTE, reply=reply, seconds=0.0))
    assert elsewhere(conversation, replace(ROUTE, model="m2")).messages[1].parts == (Text("(thinking)"),)


def test_the_conversation_moves_to_the_next_route_in_the_middle_of_a_tool_loop() -> None:
    other = Route(provider="zai", model="glm", requested="glm")
    first = ScriptedModel(
        [
            Reply(Message("assistant", REPLIES[0]), Stop.TOOLS, "acme-1", Usage(input=100, output=10)),
            LimitReached("weekly limit", limit="week"),
        ]
    )
    second = ScriptedModel([Reply(Message("assistant", (Text("done"),)), Stop.END, "glm")])
    providers = Providers({"zai/glm": second})
    made, clock = session(first, providers=providers, routing=PhaseRouting(ROUTE, (other,)))
    events, _ = finish(StatefulAgent(made, Counting().box()).say("Work."))
    assert [event.type for event in events if event.type in ("turn_failed", "recovery_needed", "recovery_decided")] == [
        "turn_failed",
        "recovery_needed",
        "recovery_decided",
    ]
    (request,) = second.requests
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]
    assert request.messages[1].parts == REPLIES[0][1:]
    assert request.messages[2].parts == (ToolResult("a", "result of a"), ToolResult("b", "result of b"))
    assert clock.slept == []
    assert first.closed


def long_past(turns: int = 20, size: int = 3_000) -> RunState:
    """A run in the middle of a long conversation."""
    events: list[Event] = [PromptSent(phase=Phase.CODING, text="The ask, with its spec and plan.", opens=True)]
    for number in range(turns):
        call = ToolCall(f"c{number}", "read", f'{{"path":"file-{number}.py"}}')
        usage = Usage(input=1_000 * (number + 1), output=10)
        reply = Reply(Message("assistant", (THINKING, call)), Stop.TOOLS, "acme-1", usage)
        events += [
            TurnStarted(phase=Phase.CODING, turn=number, route=ROUTE, attempt=1),
            TurnEnded(phase=Phase.CODING, turn=number, route=ROUTE, reply=reply, seconds=0.0),
            ToolEnded(
                phase=Phase.CODING, turn=number, call=call.id, name="read", text="x" * size, is_error=False, seconds=0.0
            ),
        ]
    return RunState.of(events)


def long_conversation() -> Conversation:
    conversation = long_past().conversation
    assert conversation is not None
    return conversation


def assert_sound(messages: tuple[Message, ...], due: Message | None) -> None:
    """Roles alternate, and every call is answered in the next message, by its results alone."""
    whole = [*messages, *([due] if due else [])]
    assert [message.role for message in whole] == (["user", "assistant"] * len(whole))[: len(whole)]
    for place, message in enumerate(whole):
        results = {part.call for part in message.parts if isinstance(part, ToolResult)}
        assert results == ({call.id for call in whole[place - 1].calls} if place else set())


@pytest.mark.parametrize("window", [None, 20_000, 8_000, 2_000])
def test_a_shortened_conversation_is_sound_and_says_what_was_done(window: int | None) -> None:
    conversation = long_conversation()
    before = conversation.length
    event = compact(conversation, 21, "too long", window, "diff --git a b")
    assert event is not None
    conversation.apply(event)
    assert_sound(conversation.messages, conversation.due)
    assert event.tokens_after < min(window or before, before)
    opening = conversation.messages[0].text
    assert opening.startswith("The ask, with its spec and plan.")
    assert prompts.COMPACTED in opening
    assert 'read {"path":"file-3.py"}' in opening
    assert "diff --git a b" in opening
    assert not any(isinstance(part, Thinking) for message in conversation.messages for part in message.parts)


def test_each_time_in_a_row_less_is_left_and_the_opening_does_not_pile_up() -> None:
    conversation, lengths = long_conversation(), []
    for _ in range(2):
        event = compact(conversation, 21, "too long", None, "")
        assert event is not None
        conversation.apply(event)
        lengths.append(event.tokens_after)
        assert conversation.messages[0].text.count(prompts.COMPACTED) == 1
    assert lengths[1] < lengths[0]


def test_an_opening_that_is_itself_too_long_cannot_be_shortened() -> None:
    conversation = remembered([PromptSent(phase=Phase.CODING, text="x" * 1_000_000, opens=True)])
    assert compact(conversation, 1, "too long", 10_000, "") is None


def overflowing(errors: int) -> list[Reply | ProviderError]:
    done = Reply(Message("assistant", (Text("done"),)), Stop.END, "acme-1")
    return [*(TooLong("prompt is too long") for _ in range(errors)), done]


def test_an_overflow_is_shortened_and_asked_again() -> None:
    model = ScriptedModel(overflowing(1))
    made, _ = session(model, state=long_past())
    events, _ = finish(StatefulAgent(made, Toolbox({"read": (True, echo)})).say("Work."))
    (compacted,) = of_type(events, ConversationCompacted)
    assert compacted.reason == "prompt is too long"
    assert_sound(model.requests[1].messages, None)
    assert len(str(model.requests[1])) < len(str(model.requests[0])) / 2


def test_an_overflow_that_no_shortening_mends_is_a_problem_like_any_other() -> None:
    model = ScriptedModel(overflowing(9))
    with pytest.raises(TooLong):
        finish(StatefulAgent(session(model, state=long_past())[0], Toolbox({"read": (True, echo)})).say("Work."))
    assert len(model.requests) <= 4


def test_our_own_count_shortens_before_the_window_is_full() -> None:
    model = ScriptedModel(overflowing(0))
    made, _ = session(model, routing=PhaseRouting(replace(ROUTE, context=16_000)), state=long_past())
    events, _ = finish(StatefulAgent(made, Toolbox({"read": (True, echo)})).say("Work."))
    (compacted,) = of_type(events, ConversationCompacted)
    assert "window of 16000 tokens" in compacted.reason
    assert len(model.requests) == 1


def counted(*prompts: int) -> list[Event]:
    """What happens when a provider counts a growing conversation so."""
    replies: list[Reply | ProviderError] = [
        Reply(
            Message("assistant", (ToolCall(f"m{number}", "read", "{}"),)),
            Stop.TOOLS,
            "acme-1",
            Usage(input=prompt, output=10),
        )
        for number, prompt in enumerate(prompts)
    ]
    done = Reply(Message("assistant", (Text("done"),)), Stop.END, "acme-1", Usage(input=90_000, output=10))
    box = Toolbox({"read": (True, lambda call: ToolOutcome("y" * 9_000))})
    made, _ = session(ScriptedModel([*replies, done]), state=long_past())
    return finish(StatefulAgent(made, box).say("Work."))[0]


def test_a_provider_that_cuts_the_beginning_silently_is_found_by_its_own_counts() -> None:
    events = counted(20_000, 20_000, 20_000)
    assert any(isinstance(event, Notice) and "silently" in event.text for event in events)
    assert of_type(events, ConversationCompacted)


def test_a_count_that_falls_once_may_be_thinking_that_counts_no_longer() -> None:
    assert not of_type(counted(23_000, 22_000, 25_000, 28_000), ConversationCompacted)


def test_a_server_that_does_not_count_its_cache_truncates_nothing() -> None:
    assert not of_type(counted(20_000, 3_000, 3_000, 3_000), ConversationCompacted)
