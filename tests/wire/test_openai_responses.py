"""What only ``openai-responses`` does; what all protocols share is tested in test_decoding and test_encoding."""

import json
from contextlib import closing
from typing import Any

import pytest

from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import ModelServer
from autoroute.errors import BadRequest, Billing, Busy, ProviderError, TooLong, Unreachable
from autoroute.messages import Delta, Message, Part, Reply, Stop, Text, Thinking, ToolCall, ToolResult, ToolSpec, Usage
from autoroute.routing import Quirks
from autoroute.wire.sse import Event, EventDecoder
from tests.wire.oracle import assert_valid
from tests.wire.raw_server import serve, stream
from tests.wire.speakers import MODEL, Responses, SpokenReply, event, model, profile, request

WIRE = "openai-responses"
SPEAKER = Responses()
HI = Message("user", (Text("hi"),))
READ = ToolCall("call_1", "read", '{"path": "a"}')
GREP = ToolCall("call_2", "grep", "{}")
TOOL = ToolSpec("read", "Reads a file.", '{"properties":{"path":{"type":"string"}},"type":"object"}')
ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA=="}
OURS = Thinking("", "acme", MODEL, json.dumps(ITEM))


def encode(*messages: Message, effort: str = "", quirk: Any = "", **more: Any) -> dict[str, Any]:
    codec = SPEAKER.codec(profile(WIRE, quirks=Quirks(effort=quirk)))
    body: dict[str, Any] = json.loads(codec.encode(request(*messages, effort=effort, **more)))
    assert_valid(WIRE, body)
    return body


def model_says(*parts: Part) -> Message:
    return Message("assistant", parts)


def decode(*pieces: bytes) -> tuple[list[Delta], Reply]:
    events, decoder = EventDecoder(), SPEAKER.codec(profile(WIRE)).decoder(request(HI))
    deltas = [delta for piece in pieces for one in events.feed(piece) for delta in decoder.feed(one) or ()]
    assert decoder.complete
    return deltas, decoder.reply("")


def parts(*pieces: bytes) -> tuple[Part, ...]:
    return decode(*pieces)[1].message.parts


def shown(deltas: list[Delta], kind: str) -> str:
    return "".join(delta.text for delta in deltas if delta.kind == kind)


def says(name: str, **data: Any) -> bytes:
    return SPEAKER.named(f"response.{name}", **data)


def test_body() -> None:
    conversation = (
        HI,
        model_says(OURS, Text("I look."), ToolCall("a1", "read", '{"path": "x"}'), ToolCall("a2", "read", "{}")),
        Message("user", (Text("go on"), ToolResult("a1", "gone", is_error=True), ToolResult("a2", ""))),
    )
    body = encode(*conversation, tools=(TOOL,), max_tokens=100, effort="high", quirk="reasoning")
    call = {"type": "function_call", "name": "read"}
    assert body == {
        "model": MODEL,
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 100,
        "reasoning": {"effort": "high"},
        "instructions": "Be brief.",
        "tools": [
            {
                "type": "function",
                "name": "read",
                "description": "Reads a file.",
                "parameters": json.loads(TOOL.parameters),
                "strict": False,
            }
        ],
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            ITEM,
            {"type": "message", "role": "assistant", "content": "I look."},
            {**call, "call_id": "a1", "arguments": '{"path":"x"}'},
            {**call, "call_id": "a2", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a1", "output": "Error: gone"},
            {"type": "function_call_output", "call_id": "a2", "output": "(no output)"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]},
        ],
    }
    assert list(body)[-1] == "input"


@pytest.mark.parametrize(("quirk", "effort"), [("", "high"), ("reasoning", ""), ("reasoning_effort", "high")])
def test_the_effort_is_sent_only_if_the_profile_says_so(quirk: str, effort: str) -> None:
    assert "reasoning" not in encode(HI, quirk=quirk, effort=effort)


NOTHING = {"type": "message", "role": "assistant", "content": "(nothing)"}
SO = {"type": "message", "role": "assistant", "content": "so"}


@pytest.mark.parametrize(
    ("parts", "sent"),
    [
        ((OURS, Text("so")), [ITEM, SO]),
        ((Text("so"), OURS), [SO]),
        ((OURS, Text("so"), OURS, Thinking("", "other", MODEL, "{}")), [ITEM, SO]),
        ((OURS,), [NOTHING]),
        ((OURS, Text("")), [NOTHING]),
        ((), [NOTHING]),
        ((Thinking("hm", "acme", MODEL), Text("so")), [SO]),
    ],
)
def test_reasoning_is_sent_back_only_with_the_item_that_it_led_to(parts: tuple[Part, ...], sent: list[Any]) -> None:
    assert encode(HI, model_says(*parts), HI)["input"][1:-1] == sent


# Everything arrives twice: in pieces, and whole in the events that end a text, an item and the response.

SAID = SpokenReply("Hello there", "Hm, hm", (READ, GREP))
OUTPUT = SPEAKER.items(SAID)
KEPT = (
    Thinking(
        "Hm, hm",
        "acme",
        MODEL,
        json.dumps(
            {"type": "reasoning", "id": "rs_1", "summary": OUTPUT[0]["summary"], "encrypted_content": "gAAA=="},
            separators=(",", ":"),
        ),
    ),
    Text("Hello there"),
    READ,
    GREP,
)


@pytest.mark.parametrize(
    "left_out",
    [
        (),
        (b".delta",),
        (b".delta", b"_text.done", b"arguments.done"),
        (b".delta", b"item.done"),
        (b"item.added",),
        (b"item.added", b"item.done", b"_part."),
        (b"item.", b"_part.", b"_text", b"arguments"),
        (b"response.created", b"response.in_progress"),
    ],
)
def test_what_was_not_streamed_is_read_from_later_events(left_out: tuple[bytes, ...]) -> None:
    events = SPEAKER.events(SAID)
    kept = [piece for piece in events if not any(word in piece.partition(b"\n")[0] for word in left_out)]
    deltas, answered = decode(*kept)
    assert answered == Reply(Message("assistant", KEPT), Stop.TOOLS, MODEL, Usage(10, 20, 5, 3), "resp_1")
    assert shown(deltas, "text") == "Hello there"
    assert shown(deltas, "thinking") == "Hm, hm"
    assert sorted(shown(deltas, "tool")) == sorted('read {"path": "a"}grep {}')


def test_a_last_event_without_output_changes_nothing() -> None:
    *events, _ = SPEAKER.events(SAID)
    assert parts(*events, SPEAKER.last([])) == KEPT
    assert parts(*events, event({"type": "response.completed"}), event("[DONE]")) == KEPT


@pytest.mark.parametrize("index", [{"output_index": 0}, {}])
def test_items_without_an_index_are_kept_apart(index: dict[str, int]) -> None:
    events: list[bytes] = []
    for item in OUTPUT:
        for piece in SPEAKER.streamed(0, item):
            data = json.loads(piece.partition(b"data: ")[2])
            del data["output_index"]
            events.append(event({**data, **index}))
    assert parts(*events, SPEAKER.last([])) == KEPT
    closed = [piece for piece in events if b"output_item.done" in piece]
    assert parts(*closed, SPEAKER.last([])) == KEPT


def test_calls_may_be_streamed_at_the_same_time() -> None:
    one, other = (SPEAKER.streamed(place, OUTPUT[2 + place]) for place in range(2))
    mixed = [piece for pair in zip(one, other, strict=False) for piece in pair] + one[len(other) :]
    assert parts(*mixed, SPEAKER.last([])) == (READ, GREP)


def test_arguments_may_arrive_as_an_object() -> None:
    given = {"type": "function_call", "call_id": "a", "name": "read", "arguments": {"path": "x"}}
    assert parts(says("output_item.done", item=given), SPEAKER.last([])) == (ToolCall("a", "read", '{"path":"x"}'),)


def test_the_done_event_of_a_text_replaces_its_deltas() -> None:
    begun = says("output_text.delta", output_index=0, delta="Hallo")
    assert parts(begun, says("output_text.done", output_index=0, text="Hello"), SPEAKER.last([])) == (Text("Hello"),)


def test_parts_of_a_summary_become_paragraphs() -> None:
    summary = [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
    for streamed in (True, False):
        pieces = [
            says("reasoning_summary_text.delta", output_index=0, summary_index=place, delta=half)
            for place, words in enumerate((("On", "e."), ("Tw", "o.")))
            for half in words
            if streamed
        ]
        pieces.append(says("output_item.done", output_index=0, item={**ITEM, "summary": summary}))
        deltas, answered = decode(*pieces, says("output_text.delta", output_index=1, delta="so"), SPEAKER.last([]))
        assert shown(deltas, "thinking") == "One.\n\nTwo."
        thought = answered.message.parts[0]
        assert isinstance(thought, Thinking)
        assert thought.text == "One.\n\nTwo."


@pytest.mark.parametrize(
    ("item", "opaque"),
    [
        (ITEM, ITEM),
        ({**ITEM, "status": "completed", "content": None, "novel": 1}, ITEM),
        ({**ITEM, "summary": None}, ITEM),
        ({**ITEM, "encrypted_content": None}, None),
        ({**ITEM, "id": None}, None),
        (
            {**ITEM, "encrypted_content": None, "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        ),
    ],
)
def test_reasoning_is_kept_as_openai_accepts_it(item: dict[str, Any], opaque: dict[str, Any] | None) -> None:
    content = [{"type": "output_text", "text": "so"}]
    message = {"type": "message", "content": content}
    found = parts(SPEAKER.last([item, message]))
    kept = [json.loads(part.opaque) for part in found if isinstance(part, Thinking)]
    assert kept == ([opaque] if opaque else [])
    assert encode(HI, model_says(*found), HI)["input"][1:-1] == [*kept, SO]


def test_raw_reasoning_is_shown() -> None:
    pieces = [says("reasoning_text.delta", output_index=0, content_index=0, delta="hm"), SPEAKER.last(OUTPUT[1:2])]
    deltas, answered = decode(*pieces)
    assert deltas == [Delta("thinking", "hm"), Delta("text", "Hello there")]
    assert answered.message.parts == (Thinking("hm", "acme", MODEL), Text("Hello there"))


def test_an_item_that_was_not_streamed_is_inserted_in_order() -> None:
    streamed = [*SPEAKER.streamed(1, OUTPUT[1]), *SPEAKER.streamed(3, OUTPUT[3])]
    deltas, answered = decode(*streamed, SPEAKER.last(OUTPUT))
    assert answered.message.parts == KEPT
    assert shown(deltas, "tool") == 'grep {}read {"path": "a"}'


def test_a_refusal_is_reported() -> None:
    content = [{"type": "refusal", "refusal": "I will not."}]
    for piece in (
        says("refusal.delta", output_index=0, content_index=0, delta="I will not."),
        says("output_item.done", output_index=0, item={"type": "message", "content": content}),
    ):
        deltas, answered = decode(piece, SPEAKER.last([]))
        assert deltas == [Delta("text", "I will not.")]
        assert (answered.message.text, answered.stop) == ("I will not.", Stop.REFUSAL)


def test_unknown_events_and_fields_are_ignored() -> None:
    novel = {"type": "web_search_call", "id": "ws_1", "action": {}}
    pieces = [
        says("output_item.added", output_index=0, item=novel),
        says("web_search_call.searching", output_index=0),
        says("output_item.done", output_index=0, item=novel),
        *SPEAKER.streamed(1, OUTPUT[1]),
        SPEAKER.last([novel, OUTPUT[1]]),
    ]
    assert parts(*pieces) == (Text("Hello there"),)


def test_a_ping_counts_as_content_while_the_model_may_be_reasoning() -> None:
    decoder = SPEAKER.codec(profile(WIRE)).decoder(request(HI))

    def feed(type: str, **data: Any) -> object:
        return decoder.feed(Event("", json.dumps({"type": type, **data})))

    assert feed("keepalive") == []
    feed("response.output_item.added", output_index=0, item={"type": "reasoning"})
    assert feed("keepalive") == []
    feed("response.output_text.delta", output_index=1, delta="x")
    assert feed("keepalive") is None
    assert feed("response.novelty") is None


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"code": "rate_limit_exceeded", "message": "No."}, Busy, "rate_limit_exceeded"),
        ({"code": "server_error", "message": "No."}, Unreachable, "server_error"),
        ({"code": "insufficient_quota", "message": "No."}, Billing, "insufficient_quota"),
        ({"code": "context_length_exceeded", "message": "No."}, TooLong, "context_length_exceeded"),
        ({"code": "invalid_prompt", "message": "No."}, BadRequest, "invalid_prompt"),
        ({"code": "novel", "message": "No."}, Unreachable, "novel"),
        (None, Unreachable, ""),
    ],
)
def test_a_response_that_failed_raises_its_error(error: Any, kind: type[ProviderError], code: str) -> None:
    begun = SPEAKER.events(SpokenReply("Hello there"))[:5]
    with pytest.raises(ProviderError) as caught:
        decode(*begun, says("failed", response=SPEAKER.response("failed", error=error)))
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.status) == (code, 200)
    assert caught.value.message == ("No." if error else "the provider reported an error in the stream")


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"input_tokens": 9, "output_tokens": 2}, Usage(9, 2)),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 2}, Usage(5, 2, 4)),
        ({"input_tokens": 1, "input_tokens_details": {"cached_tokens": 4}}, Usage(0, 0, 4)),
        ({"input_tokens": "9", "input_tokens_details": None}, Usage()),
        (None, Usage()),
    ],
)
def test_usage(usage: Any, read: Usage) -> None:
    ended = SPEAKER.response("completed", output=OUTPUT, usage=usage)
    assert decode(says("completed", response=ended))[1].usage == read


def test_openais_client_reads_the_same_reply() -> None:
    import openai

    with serve(stream(*SPEAKER.events(SAID))) as server:
        client = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)
        with client, client.responses.stream(model=MODEL, input="hi") as client_stream:
            response = client_stream.get_final_response()
    _, ours = decode(*SPEAKER.events(SAID))
    assert response.output_text == ours.message.text
    calls = [(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"]
    assert calls == [(call.id, call.name, call.arguments) for call in ours.message.calls]
    reasoning = response.output[0]
    assert reasoning.type == "reasoning"
    thought = ours.message.parts[0]
    assert isinstance(thought, Thinking)
    assert json.loads(thought.opaque)["encrypted_content"] == reasoning.encrypted_content
    assert (response.model, response.usage.input_tokens if response.usage else 0) == (MODEL, 18)
    assert ours.usage == Usage(10, 20, 5, 3)


def test_a_conversation_with_the_demo_server_obeys_openais_rules() -> None:
    look = ScriptedReply("I look.", "Hm.", (ScriptedCall("read", "{}"), ScriptedCall("read", "{}")))
    again = ScriptedReply("", "Hm, hm.", (ScriptedCall("read", "{}"),))
    script = Script((Rule("read", "hi", (look, again, ScriptedReply("Done."))),))
    conversation: tuple[Message, ...] = (HI,)
    with ModelServer(script) as server, closing(model(WIRE, f"{server.url}/openai")) as asked:
        for _ in range(3):
            *_, answered = asked.ask(request(*conversation, tools=(TOOL,)))
            assert isinstance(answered, Reply)
            results = [ToolResult(call.id, "x") for call in answered.message.calls]
            conversation += (answered.message, Message("user", (*results, Text("go on"))))
    assert server.violations == []
    assert [len(message.calls) for message in conversation[1::2]] == [2, 1, 0]
    assert conversation[5].text == "Done."
    assert isinstance(answered, Reply)
    assert answered.usage.cache_read > 0
    assert [item["type"] for item in server.requests[2].body["input"]].count("reasoning") == 2
