import json
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.errors import BadReply, Busy, ConfigError, ProviderError, Unreachable
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
    ToolSpec,
    Usage,
)
from autoroute.routing import Route
from autoroute.wire import WIRES, Model, connect
from autoroute.wire.sse import EventDecoder
from tests.wire.raw_server import respond, serve, stream
from tests.wire.speakers import (
    MODEL,
    PATIENT,
    SPEAKERS,
    Anthropic,
    Openai,
    Responses,
    Speaker,
    SpokenReply,
    event,
    model,
    profile,
    request,
)

HI = Message("user", (Text("hi"),))
READ = ToolCall("toolu_1", "read", '{"path": "a\u2028b"}')
GREP = ToolCall("toolu_2", "grep", '{"pattern": "x"}')
ROUTE = Route(provider="acme", model=MODEL, requested=MODEL)


def decode(wire: str, *pieces: bytes, asked: Request | None = None) -> tuple[list[Delta], Reply]:
    """Decode a response without the network: bytes -> events -> deltas and reply."""
    events = EventDecoder()
    decoder = SPEAKERS[wire].codec(profile(wire)).decoder(asked or request(HI))
    deltas = [
        delta for piece in pieces for one in events.feed(piece) if not decoder.done for delta in decoder.feed(one) or ()
    ]
    if not decoder.complete:
        raise Unreachable("incomplete")
    return deltas, decoder.reply("")


def reply(wire: str, *pieces: bytes, asked: Request | None = None) -> Reply:
    return decode(wire, *pieces, asked=asked)[1]


# Every wire, the scripted one included, through every behavior.


def play(wire: str, spoken: SpokenReply, folder: Path, asked: Request) -> list[Delta | Reply]:
    """Play a reply through any wire, over HTTP where the wire uses it."""
    if wire == "scripted":
        calls = tuple(ScriptedCall(call.name, call.arguments) for call in spoken.calls)
        script = folder / "a script.json"
        Script((Rule("", "", (ScriptedReply(spoken.text, spoken.thinking, calls),)),)).dump(script)
        return list(connect(profile(wire, script.as_uri()), ROUTE, None, PATIENT).ask(asked))
    with serve(stream(*SPEAKERS[wire].events(spoken))) as server, closing(model(wire, server.url)) as answering:
        return list(answering.ask(asked))


def test_every_wire_is_tested_here() -> None:
    assert set(WIRES) == {*SPEAKERS, "scripted"}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("spoken", "stop"),
    [
        (SpokenReply("Hello there"), Stop.END),
        (SpokenReply("Hello", thinking="Hm, hm"), Stop.END),
        (SpokenReply("I look.", calls=(READ,), stop="tools"), Stop.TOOLS),
        (SpokenReply("", "Both.", (READ, GREP), "tools"), Stop.TOOLS),
        (SpokenReply("", calls=(READ, GREP), stop="end"), Stop.TOOLS),
        (SpokenReply("no calls came", stop="tools"), Stop.END),
        (SpokenReply("\U0001f600 \u2028 \x85 ä", calls=(ToolCall("c", "t", "{}"),), stop="tools"), Stop.TOOLS),
    ],
)
def test_a_reply_arrives_in_pieces_and_then_whole(wire: str, spoken: SpokenReply, stop: Stop, tmp_path: Path) -> None:
    *deltas, reply = play(wire, spoken, tmp_path, request(HI, tools=(ToolSpec("read", "", "{}"),)))
    assert isinstance(reply, Reply)
    assert reply.stop is stop
    assert reply.served_model == MODEL
    assert reply.message.role == "assistant"
    assert reply.message.text == spoken.text
    assert [(call.name, call.arguments) for call in reply.message.calls] == [
        (c.name, c.arguments) for c in spoken.calls
    ]
    assert len({call.id for call in reply.message.calls} - {""}) == len(spoken.calls)
    for kind, whole in (("text", spoken.text), ("thinking", spoken.thinking)):
        assert "".join(d.text for d in deltas if isinstance(d, Delta) and d.kind == kind) == whole
    watched = "".join(d.text for d in deltas if isinstance(d, Delta) and d.kind == "tool")
    assert watched == "".join(f"{call.name} {call.arguments}" for call in spoken.calls)
    thoughts = [part for part in reply.message.parts if isinstance(part, Thinking)]
    assert [(t.text, t.provider, t.model) for t in thoughts] == (
        [(spoken.thinking, "acme", MODEL)] if spoken.thinking else []
    )


@pytest.mark.parametrize("wire", WIRES)
def test_an_empty_reply_is_rejected(wire: str, tmp_path: Path) -> None:
    for spoken in (SpokenReply(""), SpokenReply(" \n"), SpokenReply("", thinking="only that")):
        with pytest.raises(BadReply, match="neither text nor tool calls"):
            play(wire, spoken, tmp_path, request(HI))


@pytest.mark.parametrize("wire", SPEAKERS)
def test_usage_counts_the_cache_separately(wire: str) -> None:
    assert reply(wire, *SPEAKERS[wire].events(SpokenReply("x"))).usage == Usage(10, 20, cache_read=5, cache_write=3)


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (wire, reason)
        for wire, speaker in SPEAKERS.items()
        for reason in ("refusal", "context", "length")
        if reason in speaker.stops
    ],
)
def test_a_reply_that_stopped_early_may_be_empty(wire: str, reason: str) -> None:
    assert reply(wire, *SPEAKERS[wire].events(SpokenReply("", stop=reason))) == Reply(
        Message("assistant", ()),
        Stop(reason),
        MODEL,
        Usage(10, 20, 5, 3),
        {"anthropic-messages": "msg_1", "openai-chat": "chatcmpl-1", "openai-responses": "resp_1"}[wire],
    )


@pytest.mark.parametrize("wire", SPEAKERS)
def test_a_call_cut_off_by_the_length_limit_is_left_out(wire: str) -> None:
    for last in ('{"path": "a', "{}", ""):
        spoken = SpokenReply("I do.", calls=(READ, ToolCall("toolu_2", "write", last)), stop="length")
        cut = reply(wire, *SPEAKERS[wire].events(spoken))
        assert cut.message.parts == (Text("I do."), READ)
        assert cut.stop is Stop.LENGTH


def test_a_pause_is_reported() -> None:
    assert reply("anthropic-messages", *Anthropic().events(SpokenReply("wait", stop="pause"))).stop is Stop.PAUSE


@pytest.mark.parametrize("wire", SPEAKERS)
def test_an_unknown_stop_reason_is_inferred_from_the_reply(wire: str) -> None:
    for calls, stop in (((READ,), Stop.TOOLS), ((), Stop.END)):
        events = b"".join(SPEAKERS[wire].events(SpokenReply("x", calls=calls, stop="end")))
        new = events.replace(b'"end_turn"', b'"novel"').replace(b'"finish_reason": "stop"', b'"finish_reason": "novel"')
        new = new.replace(b'"incomplete_details": null', b'"incomplete_details": {"reason": "novel"}')
        assert new != events
        assert reply(wire, new).stop is stop


@pytest.mark.parametrize("wire", SPEAKERS)
@pytest.mark.parametrize("shape", [Anthropic().error, Openai().error, Responses().error])
def test_an_error_in_the_stream_is_read_in_either_protocols_form(wire: str, shape: Any) -> None:
    events = SPEAKERS[wire].events(SpokenReply("Hello there"))
    with pytest.raises(Busy, match="Over") as caught:
        reply(wire, *events[:3], shape("overloaded_error", "Over"))
    assert caught.value.status == 200


@pytest.mark.parametrize("wire", SPEAKERS)
@pytest.mark.parametrize("shape", SPEAKERS.values())
@pytest.mark.parametrize(("code", "kind"), [("overloaded_error", Busy), ("novelty", Unreachable)])
def test_the_body_of_an_error_is_read_in_either_protocols_form(
    wire: str, shape: Speaker, code: str, kind: type[ProviderError]
) -> None:
    body = shape.error_body(code, "Over")
    refused = respond(body, "500 No", content_type="application/json")
    with (
        serve(refused) as server,
        closing(model(wire, server.url)) as asked,
        pytest.raises(kind, match="Over") as caught,
    ):
        list(asked.ask(request(HI)))
    assert (caught.value.code, caught.value.status) == (code, 500)


@pytest.mark.parametrize("wire", SPEAKERS)
@pytest.mark.parametrize(
    "error", ['{"error":"Over"}', '{"error":{"message":"Over"}}', '[{"error":{"message":"Over"}}]']
)
def test_the_body_of_an_error_may_be_a_list_or_a_text(wire: str, error: str) -> None:
    refused = respond(error.encode(), "503 No")
    with serve(refused) as server, closing(model(wire, server.url)) as asked, pytest.raises(Busy, match="Over"):
        list(asked.ask(request(HI)))


@pytest.mark.parametrize("wire", SPEAKERS)
def test_an_error_in_the_stream_may_be_a_base_resp(wire: str) -> None:
    ended = event({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}})
    with pytest.raises(ProviderError, match="insufficient balance") as caught:
        reply(wire, *SPEAKERS[wire].events(SpokenReply("Hello there"))[:3], ended)
    assert caught.value.code == "1008"


@pytest.mark.parametrize("wire", SPEAKERS)
@pytest.mark.parametrize("keys", [("usage",), ("id",), ("model",), ("usage", "id", "model", "created", "object")])
def test_a_reply_may_lack_usage_ids_and_names(wire: str, keys: tuple[str, ...]) -> None:
    bare = [
        drop(piece, keys) for piece in SPEAKERS[wire].events(SpokenReply("Hello there", calls=(READ,), stop="tools"))
    ]
    answered = reply(wire, *bare)
    assert answered.message.text == "Hello there"
    assert [(call.name, call.arguments) for call in answered.message.calls] == [(READ.name, READ.arguments)]
    assert answered.stop is Stop.TOOLS
    assert answered.usage == (Usage() if "usage" in keys else Usage(10, 20, 5, 3))
    assert answered.served_model == ("" if "model" in keys else MODEL)


def drop(piece: bytes, keys: tuple[str, ...]) -> bytes:
    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: change(inner) for name, inner in value.items() if name not in keys}
        return [change(inner) for inner in value] if isinstance(value, list) else value

    data = piece.decode().partition("data: ")[2].strip()
    return piece if data == "[DONE]" else event(change(json.loads(data)))


@pytest.mark.parametrize("wire", SPEAKERS)
def test_calls_without_a_unique_id_get_a_reproducible_one(wire: str) -> None:
    first = reply(
        wire, *SPEAKERS[wire].events(SpokenReply("", calls=(ToolCall("", "a", "{}"), ToolCall("", "b", "{}"))))
    )
    assert [call.id for call in first.message.calls] == ["call_0_0", "call_0_1"]
    results = tuple(ToolResult(call.id, "x") for call in first.message.calls)
    asked = request(HI, first.message, Message("user", results))
    twice = (ToolCall("call_0_0", "a", "{}"), ToolCall("", "b", "{}"), ToolCall("new", "c", "{}"))
    second = [reply(wire, *SPEAKERS[wire].events(SpokenReply("", calls=twice)), asked=asked) for _ in range(2)]
    assert [call.id for call in second[0].message.calls] == ["call_1_0", "call_1_1", "new"]
    assert second[0] == second[1]


@pytest.mark.parametrize("wire", SPEAKERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_stream_is_a_reply_or_a_provider_error(wire: str, data: st.DataObject) -> None:
    whole = b"".join(SPEAKERS[wire].events(SpokenReply("Hello", "Hm", (READ, GREP), "tools")))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(at, min(len(whole), at + 40)))
        whole = (
            whole[:at]
            + data.draw(st.binary(max_size=4) | st.sampled_from([b"null", b"{}", b"[]", b'"', b"1", b"\n\n"]))
            + whole[end:]
        )
    with suppress(ProviderError):
        assert isinstance(reply(wire, whole), Reply)


SLOTS = [
    "message",
    "delta",
    "content_block",
    "index",
    "usage",
    "type",
    "choices",
    "tool_calls",
    "function",
    "name",
    "id",
    "item",
    "output_index",
    "response",
    "output",
    "summary",
]


@pytest.mark.parametrize("wire", SPEAKERS)
@pytest.mark.parametrize("wrong", [None, 1, -1, 1.5, True, "x", [], {}, [None], {"type": 1}])
@pytest.mark.parametrize(
    "slot",
    [
        *SLOTS,
        "model",
        "text",
        "input",
        "partial_json",
        "stop_reason",
        "input_tokens",
        "arguments",
        "content",
        "call_id",
    ],
)
def test_a_field_of_the_wrong_type_is_a_reply_or_a_provider_error(wire: str, slot: str, wrong: Any) -> None:
    pieces = SPEAKERS[wire].events(SpokenReply("Hello", "Hm", (READ, GREP), "tools"))
    spoiled = [spoil(piece, slot, wrong) for piece in pieces]
    try:
        answered = reply(wire, *spoiled)
    except ProviderError:
        return
    assert all(
        isinstance(text, str) for call in answered.message.calls for text in (call.id, call.name, call.arguments)
    )
    assert isinstance(answered.served_model, str)
    assert all(count >= 0 for count in (answered.usage.input, answered.usage.output))


def spoil(piece: bytes, slot: str, wrong: Any) -> bytes:
    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: wrong if name == slot else change(inner) for name, inner in value.items()}
        return [change(inner) for inner in value] if isinstance(value, list) else value

    data = piece.decode().partition("data: ")[2].strip()
    return piece if data == "[DONE]" else event(change(json.loads(data)))


# What compatible servers do differently: anthropic-messages.


def without(events: Iterable[bytes], *words: bytes) -> list[bytes]:
    return [piece for piece in events if not any(word in piece for word in words)]


def block(index: int | None, start: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    place = {} if index is None else {"index": index}
    return [
        event({"type": "content_block_start", **place, "content_block": start}),
        *(event({"type": "content_block_delta", **place, "delta": delta}) for delta in deltas),
        event({"type": "content_block_stop", **place}),
    ]


END = [event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}), event({"type": "message_stop"})]
ANTHROPIC = "anthropic-messages"


def test_a_stream_may_lack_its_first_event() -> None:
    answered = reply(ANTHROPIC, *without(Anthropic().events(SpokenReply("Hello")), b"message_start"))
    assert answered == Reply(Message("assistant", (Text("Hello"),)), Stop.END, "", Usage(output=20))


def test_a_stream_may_lack_the_events_that_open_blocks() -> None:
    bare = without(Anthropic().events(SpokenReply("Hello", "Hm")), b"content_block_start", b"content_block_stop")
    parts = reply(ANTHROPIC, *bare).message.parts
    assert [type(part) for part in parts] == [Thinking, Text]
    assert [part.text for part in parts if not isinstance(part, ToolCall)] == ["Hm", "Hello"]


def test_a_stream_may_lack_indices_types_and_usage() -> None:
    pieces = [
        b'event: message_start\ndata: {"message":{"model":"m"}}\n\n',
        *block(None, {"type": "text", "text": "Hel"}, {"type": "text_delta", "text": "lo"}),
        *block(
            None, {"type": "tool_use", "id": "a", "name": "read"}, {"type": "input_json_delta", "partial_json": "{}"}
        ),
        *END,
    ]
    answered = reply(ANTHROPIC, *pieces)
    assert answered == Reply(Message("assistant", (Text("Hello"), ToolCall("a", "read", "{}"))), Stop.TOOLS, "m")


@pytest.mark.parametrize("given", [{"path": "x"}, '{"path":"x"}'])
def test_arguments_may_arrive_whole_at_the_start(given: Any) -> None:
    start = {"type": "tool_use", "id": "a", "name": "read", "input": given}
    assert reply(ANTHROPIC, *block(0, start), *END).message.calls == (ToolCall("a", "read", '{"path":"x"}'),)


def test_arguments_may_arrive_as_an_object_in_a_delta() -> None:
    start = {"type": "tool_use", "id": "a", "name": "read", "input": {}}
    pieces = block(0, start, {"type": "input_json_delta", "partial_json": {"path": "x"}})
    assert reply(ANTHROPIC, *pieces, *END).message.calls == (ToolCall("a", "read", '{"path":"x"}'),)


def test_unknown_events_and_fields_are_ignored() -> None:
    pieces = [
        event({"type": "novelty", "index": 0}),
        *block(0, {"type": "server_tool_use", "id": "s"}, {"type": "input_json_delta", "partial_json": "{"}),
        *block(1, {"type": "text", "text": ""}, {"type": "novel_delta"}, {"type": "text_delta", "text": "Hello"}),
        event({"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{"}}),
        *END,
        event("[DONE]"),
    ]
    assert reply(ANTHROPIC, *pieces).message == Message("assistant", (Text("Hello"),))


@pytest.mark.parametrize("kind", ["thinking", "tool_use"])
@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 950 + "]" * 950, "[" * 900 + "]" * 900])
def test_values_that_json_cannot_express_are_rejected_or_kept_as_text(kind: str, value: str) -> None:
    start = f'{{"type":"content_block_start","content_block":{{"type":"{kind}","name":"t","input":{{"x":{value}}}}}}}'
    with suppress(BadReply):
        message = reply(
            ANTHROPIC, f"data: {start}\n\n".encode(), *block(1, {"type": "text", "text": "so"}), *END
        ).message
        for speaker in SPEAKERS.values():
            json.loads(speaker.codec(profile(speaker.wire)).encode(request(HI, message, HI)))


def test_the_data_of_a_ping_is_ignored() -> None:
    pieces = [b"event: ping\ndata: 12:00\n\n", *Anthropic().events(SpokenReply("x"))]
    assert reply(ANTHROPIC, *pieces).message.text == "x"


def test_thinking_keeps_its_whole_block() -> None:
    pieces = [
        *block(0, {"type": "thinking", "thinking": "", "new": [1.5]}, {"type": "signature_delta", "signature": "s=="}),
        *block(1, {"type": "redacted_thinking", "data": "xyz"}),
        *block(2, {"type": "text", "text": "so"}),
        *END,
    ]
    assert reply(ANTHROPIC, *pieces).message.parts == (
        Thinking("", "acme", MODEL, '{"type":"thinking","thinking":"","new":[1.5],"signature":"s=="}'),
        Thinking("", "acme", MODEL, '{"type":"redacted_thinking","data":"xyz"}'),
        Text("so"),
    )


def test_later_usage_counts_unless_it_is_less() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    counts = {"usage": {"input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": None}}
    pieces = [event(start), *block(0, {"type": "text", "text": "x"}), event({**end, **counts}), END[1]]
    assert reply(ANTHROPIC, *pieces).usage == Usage(input=7, output=9)


# What compatible servers do differently: openai-chat.

OPENAI = "openai-chat"


def chunks(*deltas: dict[str, Any], finish: str = "stop", done: bool = True) -> list[bytes]:
    speaker = Openai()
    end = [event("[DONE]")] if done else []
    return [*(speaker.chunk(delta) for delta in deltas), speaker.chunk({}, finish), *end]


def piece(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"tool_calls": [{**more, "function": function}]}


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([piece("read", '{"a":1}', id="x")], [("x", "read", '{"a":1}')]),
        ([piece("read", {"a": 1}, index=0, id="x")], [("x", "read", '{"a":1}')]),
        ([piece("read", index=0, id="x")], [("x", "read", "{}")]),
        ([piece("read", "{", index=0, id="x"), piece(None, "}", index=0)], [("x", "read", "{}")]),
        ([piece("read", "{", index=0, id="x"), piece("read", "}", index=0, id="x")], [("x", "read", "{}")]),
        ([piece("read", "{", index=0, id="x"), piece(None, "}", index=0, id="other")], [("x", "read", "{}")]),
        ([piece("read", "{", id="x"), piece(None, "}")], [("x", "read", "{}")]),
        ([piece("a", "{}", id="x"), piece("b", "{}", id="y")], [("x", "a", "{}"), ("y", "b", "{}")]),
        ([piece("a", "{}", id=""), piece("b", "{}", id="")], [("call_0_0", "a", "{}"), ("call_0_1", "b", "{}")]),
        ([piece("a", "{}", index=0, id="x"), piece("b", "{}", index=0, id="y")], [("x", "a", "{}"), ("y", "b", "{}")]),
        (
            [piece("a", "{}", index=0, id="x"), piece("b", "{}", index=1, id="x")],
            [("x", "a", "{}"), ("call_0_0", "b", "{}")],
        ),
        (
            [
                piece("a", "", index=0, id="x"),
                piece("b", "", index=1, id="y"),
                piece(None, "{ }", index=0),
                piece(None, "{}", index=1),
            ],
            [("x", "a", "{ }"), ("y", "b", "{}")],
        ),
    ],
)
def test_calls_are_assembled_however_they_are_split(deltas: list[dict[str, Any]], calls: list[tuple[str, ...]]) -> None:
    answered = reply(OPENAI, *chunks(*deltas))
    assert [(call.id, call.name, call.arguments) for call in answered.message.calls] == calls
    assert answered.stop is Stop.TOOLS


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_under_either_name(name: str) -> None:
    deltas, answered = decode(OPENAI, *chunks({name: "Hm"}, {"content": "so"}))
    assert deltas == [Delta("thinking", "Hm"), Delta("text", "so")]
    assert answered.message.parts == (Thinking("Hm", "acme", MODEL), Text("so"))


@pytest.mark.parametrize(
    ("reason", "stop"), [("sensitive", Stop.REFUSAL), ("content_filter", Stop.REFUSAL), ("length", Stop.LENGTH)]
)
def test_finish_reasons(reason: str, stop: Stop) -> None:
    assert reply(OPENAI, *chunks({"content": "x"}, finish=reason)).stop is stop


@pytest.mark.parametrize(
    ("reason", "kind"), [("network_error", Unreachable), ("error", Unreachable), ("insufficient_system_resource", Busy)]
)
def test_finish_reasons_that_report_failures(reason: str, kind: type[ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        reply(OPENAI, *chunks({"content": "x"}, finish=reason))
    assert caught.value.code == reason


def test_a_stream_may_lack_its_end_mark_and_usage() -> None:
    answered = reply(OPENAI, *chunks({"content": "x"}, done=False))
    assert answered == Reply(Message("assistant", (Text("x"),)), Stop.END, MODEL, Usage(), "chatcmpl-1")


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2}, Usage(9, 2)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(9, 2)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, 0, 4)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, Usage(5, 0, 4)),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(5, 0, 4)),
        ({"prompt_tokens": 1, "cached_tokens": 4}, Usage(0, 0, 4)),
        ({"prompt_tokens": "9", "completion_tokens": -2}, Usage()),
    ],
)
def test_usage_is_read_under_the_names_of_several_servers(usage: dict[str, Any], read: Usage) -> None:
    for where in (Openai().data([], usage=usage), Openai().data([{"index": 0, "delta": {}, "usage": usage}])):
        assert reply(OPENAI, *chunks({"content": "x"}, done=False), where).usage == read


# The vendors' own clients understand what the tests speak, and hear what we hear.


def test_anthropics_client_reads_the_same_reply() -> None:
    import anthropic

    spoken = SpokenReply("Hello there", "Hm", (READ, GREP), "tools")
    with serve(stream(*Anthropic().events(spoken))) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="x", max_retries=0)
        with client, client.messages.stream(max_tokens=9, model=MODEL, messages=[]) as client_stream:
            message = client_stream.get_final_message().to_dict()
    ours = reply(ANTHROPIC, *Anthropic().events(spoken))
    thought, text, *calls = ours.message.parts
    assert isinstance(thought, Thinking)
    assert isinstance(text, Text)
    content: Any = message["content"]
    assert content[0] == json.loads(thought.opaque)
    assert content[1]["text"] == text.text
    heard_calls = [(call["id"], call["name"], call["input"]) for call in content[2:]]
    assert heard_calls == [(c.id, c.name, json.loads(c.arguments)) for c in calls if isinstance(c, ToolCall)]
    assert (message["stop_reason"], message["model"]) == ("tool_use", ours.served_model)


def test_openais_client_reads_the_same_reply() -> None:
    import openai

    spoken = SpokenReply("Hello there", calls=(READ, GREP), stop="tools")
    with serve(stream(*Openai().events(spoken))) as server:
        client = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)
        with client, client.chat.completions.stream(model=MODEL, messages=[]) as client_stream:
            message = client_stream.get_final_completion()
    ours = reply(OPENAI, *Openai().events(spoken))
    choice = message.choices[0]
    assert choice.message.content == ours.message.text
    heard_calls = [(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or ()]
    assert heard_calls == [(c.id, c.name, c.arguments) for c in ours.message.calls]
    assert (choice.finish_reason, message.model) == ("tool_calls", ours.served_model)


# The scripted wire alone.


def scripted(url: str) -> Model:
    return connect(profile("scripted", url), ROUTE, None, PATIENT)


def test_a_script_selects_a_reply_by_tools_prompt_and_turn(tmp_path: Path) -> None:
    rules = (
        Rule("edit", "fix", (ScriptedReply("one"), ScriptedReply("two"))),
        Rule("", "", (ScriptedReply("else"),)),
    )
    Script(rules).dump(tmp_path / "s.json")
    asked = scripted((tmp_path / "s.json").as_uri())
    fix, edit = Message("user", (Text("please fix"),)), (ToolSpec("edit", "", "{}"),)

    def text(*messages: Message, tools: tuple[ToolSpec, ...] = ()) -> str:
        *_, reply = asked.ask(request(*messages, tools=tools))
        assert isinstance(reply, Reply)
        return reply.message.text

    assert text(fix, tools=edit) == "one"
    assert text(fix, Message("assistant", (Text("one"),)), HI, tools=edit) == "two"
    assert text(fix) == "else"
    asked.close()


def test_a_scripted_model_digests_the_request_and_has_nothing_to_interrupt(tmp_path: Path) -> None:
    Script((Rule("", "", (ScriptedReply("one"),)),)).dump(tmp_path / "s.json")
    with closing(scripted((tmp_path / "s.json").as_uri())) as asked:
        asked.interrupt()
        longer = request(HI, Message("assistant", (Text("yes"),)), HI)
        assert asked.digest(request(HI)) == asked.digest(request(HI))
        assert len({asked.digest(one) for one in (request(HI), longer, request(HI, effort="low"))}) == 3
        assert isinstance(list(asked.ask(request(HI)))[-1], Reply)


@pytest.mark.parametrize("url", ["http://127.0.0.1/script.json", "script.json"])
def test_a_script_must_be_a_file(url: str) -> None:
    with pytest.raises(ConfigError, match="file://"):
        scripted(url)


def test_a_missing_script_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json"):
        scripted((tmp_path / "none.json").as_uri())
