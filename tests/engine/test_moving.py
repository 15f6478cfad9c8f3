"""A live conversation moves from every wire to every other, at servers that check what their vendors insist on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest

from autoroute.demo.rules import input_items, is_from_model, item_type, sign
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import Fault, ModelServer, RecordedRequest
from autoroute.engine.model_session import ModelSession
from autoroute.events import ConversationCompacted, Event, RecoveryDecided, TurnStarted
from autoroute.messages import ToolCall, ToolSpec
from autoroute.phases import prompts
from autoroute.providers.builtin import load_profiles
from autoroute.routing import Limits, Phase, PhaseRouting, ProviderProfile, RecoverySettings, Route, Secret, origin
from autoroute.tools import PreparedCall, ToolOutcome
from autoroute.wire import WIRES, Model, connect
from tests.commands.oracle import assert_valid_request
from tests.engine.doubles import Providers, ScriptedModel, StatefulAgent, TestClock, Toolbox, session
from tests.engine.test_agent import finish, of_type
from tests.wire.speakers import PATIENT, profile

HTTP = tuple(wire for wire in WIRES if wire != "scripted")
BUILTIN = {name: one for name, one in load_profiles({}, "tests").items() if one.wire in HTTP and not one.platform}
QUIRKY = [
    name
    for name, one in BUILTIN.items()
    if one.quirks.short_tool_ids or one.quirks.reasoning_replay or one.quirks.thought_signature
]
OPENING, MORE = "Mend the parser.", "It still fails: mend it."


# What the scripted models say, and what their tools do.


def reading(path: str, id: str = "") -> ScriptedCall:
    return ScriptedCall("read", json.dumps({"path": path}), id)


@dataclass(frozen=True)
class State:
    """Where a conversation stands when it has to move: the replies so far, and what went wrong with the next one.

    ``words`` are what it is told next beside the results of its calls.
    """

    replies: tuple[ScriptedReply, ...]
    words: str = ""
    fault: str = "limit"


LOOKS = ScriptedReply(text="I look.", thinking="canary 0: where is it?", calls=(reading("a.py"),))
THREE = ScriptedReply(
    text="I look around.",
    thinking="canary 0: there may be more.",
    calls=(reading("a.py"), reading("b.py"), ScriptedCall("change", '{"path": "a.py", "to": "ça va"}')),
)
STATES: Mapping[str, State] = {
    "words": State((ScriptedReply(text="It is mended.", thinking="canary 0: easy."),), words=MORE),
    "words that were cut": State(
        (ScriptedReply(text="I begin with", thinking="canary 0: much to do.", cut=True),),
        words=prompts.correct_truncated_reply(Phase.CODING),
    ),
    "thinking that was cut": State(
        (ScriptedReply(thinking="canary 0: on and on", cut=True),), words=prompts.correct_truncated_reply(Phase.CODING)
    ),
    "thinking and a call": State((LOOKS,)),
    "a call without words": State((replace(LOOKS, text=""),)),
    "parallel calls": State((THREE,)),
    "turns": State((LOOKS, replace(THREE, thinking="canary 1: more of it."), replace(LOOKS, thinking=""))),
    "an error": State((replace(LOOKS, calls=(reading("missing.py"),)),)),
    "a result of nothing": State((replace(LOOKS, calls=(reading("empty.py"),)),)),
    "arguments that are no JSON": State(
        (replace(LOOKS, calls=(ScriptedCall("read", '{"path": "a'), reading("b.py"))),)
    ),
    "a tool that does not exist": State((replace(LOOKS, calls=(ScriptedCall("functions.read at" * 9, "{}"),)),)),
    "ids of another kind": State(
        (replace(LOOKS, calls=(reading("a.py", "functions.read:0"), reading("b.py", "x" * 90))),)
    ),
    "a refused key": State((THREE,), fault="key"),
    "an error in the stream": State((THREE,), fault="event"),
    "a cut stream": State((THREE,), fault="cut"),
}

FAULTS: Mapping[str, Fault] = {
    "limit": Fault("status", status=429, body={"error": {"type": "rate_limit_error", "message": "slow down"}}),
    "key": Fault("status", status=401, body={"error": {"type": "authentication_error", "message": "no such key"}}),
    "event": Fault("error_event", body={"type": "error", "error": {"type": "overloaded_error", "message": "full"}}),
    "cut": Fault("cut", after_events=5),
}


def then(number: int) -> tuple[ScriptedReply, ...]:
    """How it goes on elsewhere: reply ``number`` calls tools too, and the one after ends it."""
    more = ScriptedReply(
        text="I see.", thinking=f"canary {number}: nearly done.", calls=(reading("c.py"), ScriptedCall("change", "{}"))
    )
    return more, ScriptedReply(text="Done.", thinking=f"canary {number + 1}: done.")


def answer(call: ScriptedCall | ToolCall) -> ToolOutcome:
    """What the tools of these tests, which do nothing, say."""
    if call.name not in ("read", "change", "rest"):
        return ToolOutcome("there is no such tool", is_error=True)
    try:
        path = json.loads(call.arguments).get("path", "")
    except ValueError:
        return ToolOutcome("the arguments are not valid JSON", is_error=True)
    if path == "missing.py":
        return ToolOutcome("missing.py: no such file", is_error=True)
    return ToolOutcome("" if path == "empty.py" else f"{call.name} {path}: ✓ done")


class Box(Toolbox):
    """Tools that do nothing; a name that is none of theirs is refused, as the real ones do."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, name, '{"type":"object"}') for name in self.tools)

    def prepare(self, call: ToolCall) -> PreparedCall:
        if call.name not in self.tools:
            return PreparedCall(call.name, read_only=True, run=lambda: answer(call))
        return super().prepare(call)


# Who is asked.


@dataclass
class Vendors(Providers):
    """Real wires to loopback servers, one a provider, each with the key of the route's account."""

    servers: dict[str, ModelServer] = field(default_factory=dict)
    profiles: dict[str, ProviderProfile] = field(default_factory=dict)

    def connect(self, route: Route, root: Path = Path()) -> Model:
        one = self.profiles[route.provider]
        secret = Secret(key(route), origin=origin(one.base_url), source="TEST_KEY")
        return connect(one, route, None if one.auth == "none" else secret, PATIENT)


def key(route: Route) -> str:
    return f"canary-key-of-{route.account}-at-{route.provider}/"


def sent_to(vendors: Vendors, route: Route) -> list[RecordedRequest]:
    """What arrived at a provider with the key of the route's account."""
    requests = vendors.servers[route.provider].requests
    one = vendors.profiles[route.provider]
    return [request for request in requests if one.auth == "none" or key(route) in str(request.headers)]


def route_to(name: str, **more: Any) -> Route:
    return Route(**{"provider": name, "model": f"model-of-{name}", "requested": name, "account": "work", **more})


@dataclass
class World:
    """Providers by name: wires as such, or built-in ones."""

    stack: ExitStack
    vendors: Vendors = field(default_factory=lambda: Vendors({}))
    clock: TestClock = field(default_factory=TestClock)

    def open(self, name: str, script: Script, faults: Sequence[Fault] = ()) -> None:
        """Open a server for the provider ``name``: a built-in one, or ``WIRE`` with anything after a colon."""
        server = self.stack.enter_context(ModelServer(script, faults=faults))
        url = f"{server.url}/{name.replace(':', '-')}"
        wire = name.partition(":")[0]
        made = profile(wire, url, name=name) if wire in HTTP else BUILTIN[name]
        self.vendors.servers[name] = server
        self.vendors.profiles[name] = made.model_copy(update={"base_url": url})

    def sit(self, routes: Sequence[Route], phase: Phase = Phase.CODING, on_limit: Any = "fallback") -> ModelSession:
        made, _ = session(
            ScriptedModel([]),
            phase,
            Limits(max_retries=0),
            self.vendors,
            PhaseRouting(routes[0], tuple(routes[1:])),
            RecoverySettings(on_limit=on_limit),
            clock=self.clock,
        )
        return made

    def rest(self, call: ToolCall) -> ToolOutcome:
        """A tool that takes an hour."""
        self.clock.sleep(3600)
        return answer(call)

    def box(self) -> Box:
        return Box({"read": (True, answer), "change": (False, answer), "rest": (False, self.rest)})

    def assert_proper(self, events: Sequence[Event]) -> None:
        """Assert that each request is valid for its vendor and its SDK, holds no other key, and matches its digest."""
        for name, server in self.vendors.servers.items():
            assert server.violations == [], name
            for request in server.requests:
                assert_valid_request(request)
                seen = str(request.headers) + request.raw.decode()
                assert not any(f"-at-{other}/" in seen for other in self.vendors.servers if other != name)
            started = [event for event in of_type(events, TurnStarted) if event.route.provider == name]
            digests = [hashlib.sha256(request.raw).hexdigest() for request in server.requests]
            assert [event.request_sha256 for event in started] == digests


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


# What a request says, whatever the wire.


@dataclass(frozen=True)
class Turn:
    """One side's say. Calls and results are told by what they are; ``ids`` are theirs, in order."""

    role: str
    words: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    results: tuple[str, ...] = ()
    ids: tuple[str, ...] = field(default=(), compare=False)


def read(request: RecordedRequest) -> list[Turn]:
    """The conversation that a request holds. Its results must answer the calls before, one by one."""
    end = next(end for end in READERS if request.path.endswith(end))
    turns = READERS[end](request.body)
    for before, after in pairwise(turns):
        assert before.role != after.role
        assert after.ids == before.ids if after.role == "user" else not after.results
    return turns


def read_messages(body: Mapping[str, Any]) -> list[Turn]:
    turns = []
    for message in body["messages"]:
        blocks = message["content"]
        kinds = {kind: [block for block in blocks if block["type"] == kind] for kind in ("tool_use", "tool_result")}
        results = [
            f"Error: {one['content']}" if one.get("is_error") else one["content"] for one in kinds["tool_result"]
        ]
        turns.append(
            Turn(
                message["role"],
                "\n".join(block["text"] for block in blocks if block["type"] == "text"),
                tuple((one["name"], one["input"]) for one in kinds["tool_use"]),
                tuple(results),
                tuple(one.get("id") or one["tool_use_id"] for one in (*kinds["tool_use"], *kinds["tool_result"])),
            )
        )
    return turns


def read_chat(body: Mapping[str, Any]) -> list[Turn]:
    turns: list[Turn] = []
    for message in body["messages"]:
        match message["role"]:
            case "assistant":
                calls = message.get("tool_calls", [])
                made = tuple((one["function"]["name"], json.loads(one["function"]["arguments"])) for one in calls)
                turns.append(Turn("assistant", message["content"] or "", made, (), tuple(one["id"] for one in calls)))
            case "tool":
                join(turns, Turn("user", "", (), (message["content"],), (message["tool_call_id"],)))
            case "user":
                join(turns, Turn("user", message["content"]))
    return turns


def read_responses(body: Mapping[str, Any]) -> list[Turn]:
    turns: list[Turn] = []
    for item in input_items(body):
        role = "assistant" if is_from_model(item) else "user"
        match item_type(item):
            case "function_call":
                call = (item["name"], json.loads(item["arguments"]))
                join(turns, Turn(role, "", (call,), (), (item["call_id"],)))
            case "function_call_output":
                join(turns, Turn(role, "", (), (item["output"],), (item["call_id"],)))
            case "message":
                content = item["content"]
                words = content if isinstance(content, str) else "\n".join(part["text"] for part in content)
                join(turns, Turn(role, words))
    return turns


def join(turns: list[Turn], more: Turn) -> None:
    """Add to the last turn where the same side goes on."""
    if not turns or turns[-1].role != more.role:
        turns.append(more)
        return
    last = turns.pop()
    words = "\n".join(filter(None, (last.words, more.words)))
    turns.append(Turn(last.role, words, last.calls + more.calls, last.results + more.results, last.ids + more.ids))


READERS: Mapping[str, Callable[[Mapping[str, Any]], list[Turn]]] = {
    "/v1/messages": read_messages,
    "/chat/completions": read_chat,
    "/responses": read_responses,
}


def held(state: State) -> list[Turn]:
    """What was said up to there, of which nothing may be lost but the thinking."""
    turns = [Turn("user", OPENING)]
    for place, reply in enumerate(state.replies):
        results = [answer(call) for call in reply.calls]
        told = tuple(f"Error: {one.text}" if one.is_error else one.text or "(no output)" for one in results)
        calls = tuple((sendable(call.name), as_object(call.arguments)) for call in reply.calls)
        turns.append(Turn("assistant", reply.text or ("" if calls else "(thinking)"), calls))
        turns.append(Turn("user", state.words if place + 1 == len(state.replies) else "", (), told))
    return turns


def sendable(name: str) -> str:
    return name.replace(".", "_").replace(" ", "_")[:64]


def as_object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return {"_invalid_arguments": arguments}


# The moves.


def work(session: ModelSession, box: Box, state: State) -> list[Event]:
    """Hold the conversation to its end, wherever that is."""
    agent = StatefulAgent(session, box)

    def hold() -> Generator[Event, None, None]:
        yield from agent.say(OPENING)
        if state.words == MORE:
            yield from agent.say(MORE)

    with closing(session):
        return finish(hold())[0]


def move(world: World, here: str, there: Route, state: State) -> list[RecordedRequest]:
    """Begin a conversation, let it move in that state, and work to its end: what the other one was sent."""
    answered = len(state.replies)
    script = Script((Rule("", "", (*state.replies, *then(answered))),))
    world.open(here, script, [replace(FAULTS[state.fault], answered=answered)])
    if there.provider != here:
        world.open(there.provider, script)
    first = route_to(here)
    same = there.provider == here
    world.vendors.others = {here: (there.account,)} if same else {}
    routes = [first] if same else [first, there]
    events = work(world.sit(routes, on_limit="switch" if same else "fallback"), world.box(), state)
    (decided,) = of_type(events, RecoveryDecided)
    assert (decided.action, decided.to) == ("switch" if same else "fallback", there)
    assert len(sent_to(world.vendors, first)) == answered + 1
    world.assert_proper(events)
    return sent_to(world.vendors, there)


def assert_moved(requests: Sequence[RecordedRequest], here: Route, state: State) -> None:
    """The other one was told everything but the thinking, and told it again byte by byte."""
    first, second = requests
    answered = len(state.replies)
    assert read(first) == held(state)
    assert read(second)[: 2 * answered + 1] == held(state)
    assert [call for call, _ in read(second)[-2].calls] == ["read", "change"]
    ids = [id for turn in read(second) if turn.role == "assistant" for id in turn.ids]
    assert len(ids) == len(set(ids))
    for reply in filter(lambda reply: reply.thinking, state.replies):
        for request in requests:
            assert reply.thinking.encode() not in request.raw
            assert sign(here.model, reply.thinking).encode() not in request.raw
    assert second.raw.startswith(first.raw[:-2]), "what it was sent once it is sent again, so that a cache can hit"


MOVES = [(here, there) for here in HTTP for there in (*HTTP, *(f"{here}:other",)) if here != there]


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(("here", "there"), MOVES, ids=[f"{here} to {there}" for here, there in MOVES])
def test_a_live_conversation_moves_to_every_other_wire_and_vendor(
    world: World, here: str, there: str, name: str
) -> None:
    requests = move(world, here, route_to(there), STATES[name])
    assert_moved(requests, route_to(here), STATES[name])


@pytest.mark.parametrize("name", ["words", "turns", "a refused key", "an error in the stream"])
@pytest.mark.parametrize("here", [*HTTP, "deepseek"])
def test_a_live_conversation_moves_to_another_account_of_the_same_vendor(world: World, here: str, name: str) -> None:
    requests = move(world, here, route_to(here, account="home"), STATES[name])
    assert_moved(requests, route_to(here), STATES[name])


@pytest.mark.parametrize("there", BUILTIN)
def test_a_live_conversation_moves_to_every_built_in_provider(world: World, there: str) -> None:
    here = next(wire for wire in HTTP if wire != BUILTIN[there].wire)
    requests = move(world, here, route_to(there), STATES["turns"])
    assert_moved(requests, route_to(here), STATES["turns"])


@pytest.mark.parametrize("name", [name for name, state in STATES.items() if state.replies[-1].calls])
@pytest.mark.parametrize("there", QUIRKY)
def test_a_live_conversation_moves_to_providers_with_wishes_of_their_own(world: World, there: str, name: str) -> None:
    requests = move(world, HTTP[0], route_to(there), STATES[name])
    assert_moved(requests, route_to(HTTP[0]), STATES[name])


JOURNEYS = [
    *permutations(HTTP, 3),
    ("anthropic-messages", "mistral", "google"),
    ("deepseek", "openai-responses", "moonshot"),
    ("mistral", "deepseek", "anthropic-messages"),
    ("google", "zai", "openai-responses"),
]


@pytest.mark.parametrize("places", JOURNEYS, ids=" to ".join)
def test_a_conversation_that_went_around_comes_back_to_where_it_began(world: World, places: Sequence[str]) -> None:
    rests = replace(LOOKS, thinking="canary 2: wait.", calls=(ScriptedCall("rest", "{}"),))
    replies = (LOOKS, replace(THREE, thinking="canary 1: more of it."), rests, *then(3))
    script = Script((Rule("", "", replies),))
    for answered, name in enumerate(places, start=1):
        world.open(name, script, [replace(FAULTS["limit"], answered=answered)])
    routes = [route_to(name) for name in places]
    events = work(world.sit(routes), world.box(), State(()))
    assert [decided.to for decided in of_type(events, RecoveryDecided)] == [routes[1], routes[2], routes[0]]
    world.assert_proper(events)
    back = sent_to(world.vendors, routes[0])[2:]
    assert read(back[0]) == held(State(replies[:3]))
    assert read(back[1])[:-2] == read(back[0])
    assert back[1].raw.startswith(back[0].raw[:-2])
    for request in back:
        for reply in replies[:3]:
            assert reply.thinking.encode() not in request.raw, "nor is its own thinking, from before, sent back"


@pytest.mark.parametrize("there", HTTP)
@pytest.mark.parametrize("here", HTTP)
def test_a_conversation_moves_to_a_model_without_tools_and_back(world: World, here: str, there: str) -> None:
    bad, good = '{"subtasks": []}', '{"subtasks": ["S1"]}'
    replies = (
        THREE,
        ScriptedReply(text=f"My plan:\n\n```json\n{bad}\n```\n", thinking="canary 1: enough."),
        replace(LOOKS, thinking="canary 2: look again."),
        ScriptedReply(thinking="canary 3: now.", calls=(ScriptedCall("submit_plan", good),)),
    )
    script = Script((Rule("", "", replies),))
    first, plain = route_to(here), route_to(f"{there}:plain", tools=False)
    world.open(here, script, [replace(FAULTS["limit"], answered=1)])
    world.open(plain.provider, script, [replace(FAULTS["limit"], answered=2)])

    def submit(call: ToolCall) -> ToolOutcome:
        world.clock.sleep(3600)
        return (
            ToolOutcome("kept", artifact=json.loads(good))
            if call.arguments == good
            else ToolOutcome("none", is_error=True)
        )

    box = world.box()
    box.tools["submit_plan"] = (False, submit)
    with closing(world.sit([first, plain], Phase.PLANNING)) as made:
        events, artifact = finish(StatefulAgent(made, box).obtain_artifact(OPENING))
    assert artifact == json.loads(good)
    assert [decided.to for decided in of_type(events, RecoveryDecided)] == [plain, first]
    world.assert_proper(events)
    told, answered = held(State((THREE,))), sent_to(world.vendors, plain)[0]
    assert "tools" not in answered.body
    assert [turn.words for turn in read(answered)] == [
        f"<repository>\n\n</repository>\n{OPENING}",
        "\n".join(["I look around.", *(f"[called {call.name} {call.arguments}]" for call in THREE.calls)]),
        "\n".join(f"[result of {call.name}]\n<result>\n{answer(call).text}\n</result>" for call in THREE.calls),
    ]
    back = sent_to(world.vendors, first)[2]
    assert read(back)[:3] == told
    block, complaint = read(back)[3:]
    assert (block.calls, complaint.results) == ((("submit_plan", json.loads(bad)),), ("Error: none",))
    assert block.words.strip() == replies[1].text.strip()
    for thinking in (one.thinking for one in replies[:2]):
        assert not any(thinking.encode() in request.raw for request in (answered, back))


@pytest.mark.parametrize("there", HTTP)
def test_a_conversation_that_does_not_fit_where_it_moves_is_shortened_before_it_is_sent(
    world: World, there: str
) -> None:
    small = route_to(f"{there}:small", context=8_000)
    world.open(HTTP[0], Script((Rule("", "", (LOOKS,) * 5),)), [replace(FAULTS["limit"], answered=5)])
    world.open(small.provider, Script((Rule("", prompts.COMPACTED, (ScriptedReply(text="Done."),) * 5),)))
    box = world.box()
    box.tools["read"] = (True, lambda call: ToolOutcome("x" * 8_000))
    events = work(world.sit([route_to(HTTP[0]), small]), box, State(()))
    (shortened,) = of_type(events, ConversationCompacted)
    assert "window of 8000 tokens" in shortened.reason
    world.assert_proper(events)
    assert len(sent_to(world.vendors, small)[0].raw) < 8_000 * 4
