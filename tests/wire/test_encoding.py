import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.demo.rules import check_chat, check_messages, check_responses, sign
from autoroute.messages import Message, Part, Request, Text, Thinking, ToolCall, ToolResult, ToolSpec
from autoroute.routing import Quirks
from autoroute.wire.payload import Transcript
from tests.wire.oracle import assert_valid
from tests.wire.speakers import MODEL, SPEAKERS, profile, request

WIRES = list(SPEAKERS)
TOOL = ToolSpec("read", "Reads a file.", '{"properties":{"path":{"type":"string"}},"type":"object"}')
BLOCK = f'{{"type":"thinking","thinking":"\\u00e4 hm","signature":"{sign(MODEL, "ä hm")}","new":[1.50]}}'
OURS = Thinking("ä hm", "acme", MODEL, BLOCK)
ITEM = (
    '{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"\\u00e4 hm"}],'
    f'"encrypted_content":"{sign(MODEL, "ä hm")}"}}'
)
OPAQUE = {"anthropic-messages": BLOCK, "openai-chat": "", "openai-responses": ITEM}
"""The thinking of the fixture in each wire's own form, to be sent back."""

ANYTHING = Quirks(cache_control=True, effort="output_config", reasoning_replay=True)


def encode(wire: str, asked: Request, **quirks: Any) -> dict[str, Any]:
    body = SPEAKERS[wire].codec(profile(wire, quirks=Quirks(**quirks))).encode(asked)
    data: dict[str, Any] = json.loads(body)
    assert_valid(wire, data)
    return data


def breaches(wire: str, body: dict[str, Any]) -> list[str]:
    """Return the demo server's complaints about a body: it knows the vendors' rules across messages."""
    if wire == "anthropic-messages":
        return list(check_messages(body, {"anthropic-version": "2023-06-01"}))
    if wire == "openai-responses":
        return list(check_responses(body))
    return list(check_chat(body, reasoning_replay=True))


def user(*parts: Part) -> Message:
    return Message("user", parts)


def model_says(*parts: Part) -> Message:
    return Message("assistant", parts)


HI = user(Text("hi"))

words = st.text(
    st.characters() | st.sampled_from("\ud800\udfff\u2028\x00 \n\U0001f600"), max_size=12
)  # half surrogates included: models and files have them


def thinking(wire: str) -> st.SearchStrategy[Thinking]:
    return st.builds(
        Thinking,
        words,
        st.sampled_from(["acme", "other"]),
        st.sampled_from([MODEL, "model-2"]),
        st.sampled_from(["", OPAQUE[wire]]),
    )


arguments = st.sampled_from(
    ['{"path": "a"}', "{}", "", "[1]", '{"a":NaN}', '{"a":1e999}', "{", '"x"', "null", "[" * 5_000]
)


@st.composite
def conversations(draw: st.DrawFn, wire: str) -> tuple[Message, ...]:
    messages = [user(Text(draw(words)))]
    for turn in range(draw(st.integers(0, 4))):
        spoken: list[Part] = draw(st.lists(thinking(wire) | st.builds(Text, words), max_size=3))
        ids = draw(st.lists(st.text(max_size=70), max_size=3, unique=True))
        calls = [ToolCall(f"{id}{turn}", draw(words), draw(arguments)) for id in ids]
        messages.append(model_says(*spoken, *calls))
        results: list[Part] = [ToolResult(call.id, draw(words), draw(st.booleans())) for call in calls]
        messages.append(user(*results, *draw(st.lists(st.builds(Text, words), max_size=1))))
    return tuple(messages)


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_conversation_is_a_valid_request(wire: str, data: st.DataObject) -> None:
    messages = data.draw(conversations(wire))
    body = SPEAKERS[wire].codec(profile(wire, quirks=ANYTHING)).encode(request(*messages, tools=(TOOL,), effort="low"))
    sent = json.loads(body)
    assert_valid(wire, sent)
    assert breaches(wire, sent) == []


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter(wire: str, data: st.DataObject) -> None:
    messages = data.draw(conversations(wire))
    used = SPEAKERS[wire].codec(profile(wire, quirks=ANYTHING))
    bodies = [used.encode(request(*messages[:end], tools=(TOOL,))) for end in range(1, len(messages) + 1)]
    for shorter, longer in pairwise(bodies):
        assert shorter.endswith(b"]}")
        assert longer.startswith(shorter.removesuffix(b"]}"))
    fresh = SPEAKERS[wire].codec(profile(wire, quirks=ANYTHING))
    assert bodies[-1] == fresh.encode(request(*messages, tools=(TOOL,)))


@pytest.mark.parametrize("wire", WIRES)
def test_one_codec_serves_conversations_and_models_in_turn(wire: str) -> None:
    used = SPEAKERS[wire].codec(profile(wire))
    thought = model_says(OURS, Text("done"))
    conversation = (HI, thought, user(Text("more")))
    other = Request(model="model-2", system="", messages=conversation)
    for asked in (request(*conversation), request(user(Text("else"))), other, request(*conversation)):
        assert used.encode(asked) == SPEAKERS[wire].codec(profile(wire)).encode(asked)


def test_a_message_is_encoded_once_however_long_the_conversation_grows() -> None:
    encoded: list[Message] = []

    def encode_message(message: Message, model: str) -> bytes:
        encoded.append(message)
        return message.text.encode()

    transcript = Transcript(encode_message)
    messages = tuple(user(Text(str(number))) for number in range(5))
    for end in range(1, 6):
        transcript.encode(messages[:end], MODEL)
    assert transcript.encode(messages, MODEL) == b"0,1,2,3,4"
    assert encoded == list(messages)


@pytest.mark.parametrize(
    ("wire", "spoiled"),
    [
        ("anthropic-messages", {"max_tokens": None}),
        ("anthropic-messages", {"messages": [{"role": "robot", "content": "x"}]}),
        ("anthropic-messages", {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}),
        ("anthropic-messages", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        ("anthropic-messages", {"tools": [{"name": "x"}]}),
        ("anthropic-messages", {"output_config": {"effort": "enormous"}}),
        ("anthropic-messages", {"cache_control": {"type": "for ever"}}),
        ("openai-chat", {"messages": [{"role": "tool", "content": "x"}]}),
        ("openai-chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}]}),
        ("openai-chat", {"tools": [{"type": "function"}]}),
        ("openai-chat", {"reasoning_effort": "enormous"}),
        ("openai-chat", {"max_tokens": "many"}),
        ("openai-responses", {"input": [{"type": "message", "role": "robot", "content": "x"}]}),
        ("openai-responses", {"input": [{"type": "function_call", "name": "read", "arguments": "{}"}]}),
        ("openai-responses", {"input": [{"type": "function_call_output", "call_id": "a"}]}),
        ("openai-responses", {"input": [{"type": "reasoning", "encrypted_content": "x"}]}),
        ("openai-responses", {"tools": [{"type": "function"}]}),
        ("openai-responses", {"reasoning": {"effort": "enormous"}}),
    ],
)
def test_the_oracle_rejects_invalid_bodies(wire: str, spoiled: dict[str, Any]) -> None:
    body = encode(wire, request(HI))
    with pytest.raises(AssertionError):
        assert_valid(wire, {**body, **spoiled})


def test_anthropic_body() -> None:
    asked = request(
        HI,
        model_says(OURS, Text("I look."), ToolCall("a1", "read", '{"path": "x"}')),
        user(Text("and this"), ToolResult("a1", "gone", is_error=True)),
        tools=(TOOL,),
        max_tokens=100,
        effort="high",
    )
    body = encode("anthropic-messages", asked, cache_control=True, effort="output_config")
    marker = {"type": "ephemeral"}
    assert body == {
        "model": MODEL,
        "max_tokens": 100,
        "stream": True,
        "output_config": {"effort": "high"},
        "cache_control": marker,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": marker}],
        "tools": [{"name": "read", "description": "Reads a file.", "input_schema": json.loads(TOOL.parameters)}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {
                "role": "assistant",
                "content": [
                    json.loads(BLOCK),
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "a1", "name": "read", "input": {"path": "x"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a1", "content": "gone", "is_error": True},
                    {"type": "text", "text": "and this"},
                ],
            },
        ],
    }
    assert list(body)[-1] == "messages"


def test_anthropic_body_without_quirks_is_plain() -> None:
    assert encode("anthropic-messages", request(HI, effort="high")) == {
        "model": MODEL,
        "max_tokens": 32_000,
        "stream": True,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_openai_body() -> None:
    asked = request(
        HI,
        model_says(
            Thinking("hm", "acme", MODEL), Text("I look."), ToolCall("a1", "read", "{}"), ToolCall("a2", "read", "{}")
        ),
        user(ToolResult("a1", "gone", is_error=True), ToolResult("a2", "here"), Text("go on")),
        tools=(TOOL,),
        max_tokens=100,
        effort="high",
    )
    call = {"type": "function", "function": {"name": "read", "arguments": "{}"}}
    assert encode("openai-chat", asked, effort="reasoning_effort", reasoning_replay=True) == {
        "model": MODEL,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "reasoning_effort": "high",
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "read",
                    "description": "Reads a file.",
                    "parameters": json.loads(TOOL.parameters),
                },
            }
        ],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "hm",
                "tool_calls": [{"id": "a1", **call}, {"id": "a2", **call}],
            },
            {"role": "tool", "tool_call_id": "a1", "content": "Error: gone"},
            {"role": "tool", "tool_call_id": "a2", "content": "here"},
            {"role": "user", "content": "go on"},
        ],
    }


def test_openai_body_without_usage_and_with_the_newer_token_field() -> None:
    body = encode("openai-chat", request(HI), usage_in_stream=False, max_tokens_field="max_completion_tokens")
    assert body == {
        "model": MODEL,
        "stream": True,
        "max_completion_tokens": 32_000,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize(
    ("quirk", "tools", "effort", "sent"),
    [
        ("", (TOOL,), "high", None),
        ("reasoning_effort", (TOOL,), "", None),
        ("reasoning_effort", (TOOL,), "high", "high"),
        ("reasoning_effort_unless_tools", (), "high", "high"),
        ("reasoning_effort_unless_tools", (), "", None),
        ("reasoning_effort_unless_tools", (TOOL,), "high", "none"),
        ("reasoning_effort_unless_tools", (TOOL,), "", "none"),
    ],
)
def test_openai_effort(quirk: str, tools: tuple[ToolSpec, ...], effort: str, sent: str | None) -> None:
    body = encode("openai-chat", request(HI, tools=tools, effort=effort), effort=quirk)
    assert body.get("reasoning_effort") == sent


@pytest.mark.parametrize("wire", WIRES)
def test_thinking_is_sent_back_byte_for_byte_to_its_origin_only(wire: str) -> None:
    def sent(thought: Thinking) -> bytes:
        conversation = (HI, model_says(thought, Text("so")), user(Text("on")))
        quirks = Quirks(reasoning_replay=True)
        return SPEAKERS[wire].codec(profile(wire, quirks=quirks)).encode(request(*conversation))

    opaque = OPAQUE[wire]
    assert (opaque or '"reasoning_content":"ä hm"').encode() in sent(Thinking("ä hm", "acme", MODEL, opaque))
    for elsewhere in (Thinking("ä hm", "acme", "model-2", opaque), Thinking("ä hm", "other", MODEL, opaque)):
        assert "ä hm".encode() not in sent(elsewhere)
        assert sign(MODEL, "ä hm").encode() not in sent(elsewhere)


def test_reasoning_is_sent_back_only_if_the_profile_says_so() -> None:
    conversation = (HI, model_says(OURS, ToolCall("a", "read", "{}")), user(ToolResult("a", "x")))
    foreign = (HI, model_says(ToolCall("a", "read", "{}")), user(ToolResult("a", "x")))
    assert "reasoning_content" not in encode("openai-chat", request(*conversation))["messages"][2]
    replayed = encode("openai-chat", request(*conversation), reasoning_replay=True)["messages"][2]
    assert replayed["reasoning_content"] == "ä hm"
    # Kimi refuses calls without reasoning, whoever made them.
    assert encode("openai-chat", request(*foreign), reasoning_replay=True)["messages"][2]["reasoning_content"] == " "


@pytest.mark.parametrize("parts", [(), (OURS,), (Thinking("x", "other", "y", BLOCK),), (Text(" \n"),), (Text(""),)])
def test_a_message_without_sendable_parts_is_replaced_by_a_placeholder(parts: tuple[Part, ...]) -> None:
    messages = encode("anthropic-messages", request(HI, model_says(*parts), HI))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == [{"type": "text", "text": "(nothing)"}]


def test_redacted_thinking_is_sent_back_whole() -> None:
    block = '{"type":"redacted_thinking","data":"abc"}'
    conversation = (HI, model_says(Thinking("", "acme", MODEL, block), Text("so")), HI)
    sent = encode("anthropic-messages", request(*conversation))["messages"][1]["content"]
    assert sent == [json.loads(block), {"type": "text", "text": "so"}]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("id", ["call|1", "a" * 65, "", "ä", "functions.read:0", "toolu_01-x"])
def test_a_call_and_its_result_share_an_id_that_the_wire_accepts(wire: str, id: str) -> None:
    conversation = (HI, model_says(ToolCall(id, "no such.tool", "{}")), user(ToolResult(id, "x")))
    body = encode(wire, request(*conversation))
    messages = body.get("messages", [])
    if wire == "openai-responses":
        (_, asked, given) = body["input"]
        call, answered = {**asked, "id": asked["call_id"]}, given["call_id"]
        name, longest = call["name"], 64
    elif wire == "anthropic-messages":
        call, answered = messages[1]["content"][0], messages[2]["content"][0]["tool_use_id"]
        name, longest = call["name"], 64
    else:
        call, answered = messages[2]["tool_calls"][0], messages[3]["tool_call_id"]
        name, longest = call["function"]["name"], 40
    assert call["id"] == answered
    assert 0 < len(answered) <= longest
    assert answered.isascii()
    assert answered.replace("_", "").replace("-", "").isalnum()
    assert name == "no_such_tool"
    assert answered == id or id != "toolu_01-x"


@pytest.mark.parametrize("text", ["[1]", '{"a":NaN}', '{"a":1e999}', "{", "null", "[" * 100_000, '{"a": "cut'])
def test_arguments_that_are_not_an_object_are_sent_inside_one(text: str) -> None:
    conversation = (HI, model_says(ToolCall("a", "read", text)), user(ToolResult("a", "no")))
    block = encode("anthropic-messages", request(*conversation))["messages"][1]["content"][0]
    assert block["input"] == {"_invalid_arguments": text}
    call = encode("openai-chat", request(*conversation))["messages"][2]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"_invalid_arguments": text}
    item = encode("openai-responses", request(*conversation))["input"][1]
    assert json.loads(item["arguments"]) == {"_invalid_arguments": text}
