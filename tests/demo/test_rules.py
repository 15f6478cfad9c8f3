"""The vendors' rules: a valid conversation breaks none, and each kind of mistake is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from autoroute.demo.rules import check_chat, check_messages, check_responses, sign

HEADERS = {"anthropic-version": "2023-06-01"}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "tools": [{"name": "read", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": sign("m", "hm")},
                {"type": "tool_use", "id": "t1", "name": "read", "input": {}},
                {"type": "tool_use", "id": "t2", "name": "read", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "x"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "x"},
                {"type": "text", "text": "go on"},
            ],
        },
    ],
}
CHAT: dict[str, Any] = {
    "model": "m",
    "tools": [{"type": "function", "function": {"name": "read"}}],
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "look"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "read", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "x"},
    ],
}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "max_output_tokens": 16,
    "tools": [{"type": "function", "name": "read"}],
    "input": [
        {"role": "user", "content": "look"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": sign("m", "hm"),
        },
        {"type": "function_call", "call_id": "t1", "name": "read", "arguments": "{}"},
        {"type": "function_call", "call_id": "t2", "name": "read", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call_output", "call_id": "t2", "output": "x"},
        {"type": "function_call_output", "call_id": "t1", "output": "x"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]},
    ],
}
Change = Callable[[dict[str, Any]], object]


def content_of(body: dict[str, Any], place: int) -> list[Any]:
    content: list[Any] = body["messages"][place]["content"]
    return content


def test_a_valid_conversation_breaks_no_rule() -> None:
    assert list(check_messages(MESSAGES, HEADERS)) == []
    assert list(check_chat(CHAT, reasoning_replay=True)) == []
    assert list(check_responses(RESPONSES)) == []
    assert list(check_responses({"model": "m", "input": "look"})) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.pop("max_tokens"), "max_tokens"),
        (lambda body: body.update(messages=[]), "at least one message"),
        (lambda body: body["messages"].insert(1, body["messages"][0]), "roles must alternate"),
        (lambda body: content_of(body, 0).clear(), "non-empty content"),
        (lambda body: content_of(body, 0)[0].update(text=" "), "text content blocks must be non-empty"),
        (lambda body: content_of(body, 2).insert(0, content_of(body, 2).pop()), "must come before other content"),
        (lambda body: content_of(body, 2).pop(0), "without tool_result blocks immediately after"),
        (lambda body: body["messages"].pop(), "without tool_result blocks immediately after"),
        (lambda body: content_of(body, 2)[0].update(tool_use_id="t9"), "unexpected tool_use_id"),
        (lambda body: content_of(body, 2).insert(0, content_of(body, 2)[0]), "must have a single result"),
        (lambda body: content_of(body, 1)[1].update(id="t2"), "tool_use ids must be unique"),
        (lambda body: content_of(body, 1)[1].update(id="t 1"), "is malformed"),
        (lambda body: content_of(body, 1)[0].update(thinking="hm!"), "Invalid `signature`"),
        (lambda body: body.update(model="other"), "Invalid `signature`"),
        (lambda body: content_of(body, 1).append(content_of(body, 1)[0]), "final block"),
        (lambda body: content_of(body, 1).append({"type": "redacted_thinking", "data": sign("m", "")}), "final block"),
        (
            lambda body: content_of(body, 1).insert(0, {"type": "redacted_thinking", "data": sign("n", "")}),
            "Invalid `data`",
        ),
        (lambda body: content_of(body, 1)[1].update(name="a b"), "tool_use.name"),
        (lambda body: content_of(body, 1)[1].update(input="{}"), "should be a valid dictionary"),
        (lambda body: body["tools"][0].update(name="a b"), "should match pattern"),
        (lambda body: body["tools"][0].pop("input_schema"), "input_schema"),
        (lambda body: body.update(system=[{"cache_control": {}}] * 5), "A maximum of 4 blocks"),
    ],
)
def test_violations_on_the_messages_wire(change: Change, words: str) -> None:
    body = copy.deepcopy(MESSAGES)
    change(body)
    assert any(words in violation for violation in check_messages(body, HEADERS))


def test_the_messages_wire_requires_its_version_header() -> None:
    assert list(check_messages(MESSAGES, {})) == ["anthropic-version: header is required"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.update(messages=[]), "is too short"),
        (lambda body: body["messages"].pop(), "did not have response messages"),
        (lambda body: body["messages"].insert(3, body["messages"][1]), "did not have response messages"),
        (lambda body: body["messages"].append(body["messages"][3]), "must be a response to a preceding message"),
        (lambda body: body["messages"][2].pop("reasoning_content"), "reasoning_content is missing"),
        (lambda body: body["messages"][2]["tool_calls"][0]["function"].update(arguments={}), "must be a string"),
        (lambda body: body["tools"][0]["function"].update(name="a b"), "Invalid 'tools[0].function.name'"),
        (lambda body: body["messages"][2]["tool_calls"][0]["function"].update(name="a b"), "does not match pattern"),
        (lambda body: body["messages"][2]["tool_calls"][0].update(id="t" * 41), "expected 1 to 40 characters"),
        (lambda body: body["messages"][2]["tool_calls"][0].update(id=""), "expected 1 to 40 characters"),
        (lambda body: body["messages"][1].update(content=""), "'messages[1].content': expected a string"),
        (lambda body: body["messages"].append({"role": "assistant", "content": None}), "'messages[4].content'"),
    ],
)
def test_violations_on_the_chat_wire(change: Change, words: str) -> None:
    body = copy.deepcopy(CHAT)
    change(body)
    assert any(words in violation for violation in check_chat(body, reasoning_replay=True))


def chat(call: dict[str, Any], **message: Any) -> dict[str, Any]:
    """The conversation with another form of its call and of the message around it."""
    body = copy.deepcopy(CHAT)
    said, answer = body["messages"][2:]
    del said["reasoning_content"]
    said["tool_calls"][0].update(call)
    said.update(message)
    answer["tool_call_id"] = said["tool_calls"][0]["id"]
    return body


def signed(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}}


@pytest.mark.parametrize(
    ("vendor", "proper", "wrong", "words"),
    [
        ("mistral", chat({"id": "aB3456789"}), chat({}), "with a length of 9"),
        ("mistral", chat({"id": "123456789"}), chat({"id": "12345678_"}), "with a length of 9"),
        ("mistral", chat({"id": "123456789"}), chat({"id": "123456789"}, reasoning_content="hm"), "Extra inputs"),
        ("mistral", chat({"id": "123456789"}), chat({"id": "123456789", **signed("x")}), "Extra inputs"),
        ("google", chat(signed("skip_thought_signature_validator")), chat({}), "missing a thought_signature"),
        ("google", chat(signed("skip_thought_signature_validator")), chat(signed("sig")), "signature is not valid"),
        ("deepseek", chat({}, reasoning_content="hm"), chat({}), "reasoning_content is missing"),
        ("moonshot", chat({}, reasoning_content=" "), chat({}), "reasoning_content is missing"),
        ("kimi-code", chat({}, reasoning_content=" "), chat({}, reasoning_content=""), "reasoning_content is missing"),
    ],
)
def test_violations_of_a_vendors_own_rules_on_the_chat_wire(
    vendor: str, proper: dict[str, Any], wrong: dict[str, Any], words: str
) -> None:
    assert list(check_chat(proper, vendor)) == []
    assert any(words in violation for violation in check_chat(wrong, vendor))
    assert list(check_chat(wrong, "openai")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.update(input=[]), "at least one item"),
        (lambda body: body.update(input=""), "at least one item"),
        (lambda body: body.update(max_output_tokens=15), "Expected a value >= 16"),
        (lambda body: body["tools"][0].update(name="a b"), "Invalid 'tools[0].name'"),
        (lambda body: body["input"].pop(6), "No tool output found for function call t1."),
        (lambda body: body.update(input=body["input"][:5]), "No tool output found for function call t1, t2."),
        (lambda body: body["input"].insert(6, body["input"][4]), "No tool output found for function call t1."),
        (lambda body: body["input"].insert(4, body["input"][0]), "No tool output found for function call t1, t2."),
        (lambda body: body["input"].insert(6, body["input"][5]), "No tool call found for function call output"),
        (lambda body: body["input"][5].update(call_id="t9"), "No tool call found for function call output"),
        (lambda body: body["input"].insert(0, body["input"].pop(5)), "No tool call found for function call output"),
        (lambda body: body["input"][2].update(call_id="t2"), "malformed or used before"),
        (lambda body: body["input"][2].update(call_id="t 1"), "malformed or used before"),
        (lambda body: body["input"][2].update(arguments={}), "expected a string"),
        (lambda body: body["input"][2].update(name="a b"), "Invalid 'input[2].name'"),
        (lambda body: body.update(model="other"), "could not be verified"),
        (lambda body: body["input"][1].pop("encrypted_content"), "could not be verified"),
        (lambda body: body["input"][1]["summary"][0].update(text="hm!"), "could not be verified"),
        (lambda body: body["input"][1].update(status="completed"), "Unknown parameter: 'input[1].status'"),
        (lambda body: body["input"][0].update(content=""), "Invalid 'input[0].content'"),
        (lambda body: body["input"][4].update(content=[]), "Invalid 'input[4].content'"),
        (lambda body: body["input"].append(body["input"][1]), "without its required following item"),
        (lambda body: body["input"].insert(7, body["input"][1]), "without its required following item"),
    ],
)
def test_violations_on_the_responses_wire(change: Change, words: str) -> None:
    body = copy.deepcopy(RESPONSES)
    change(body)
    assert any(words in violation for violation in check_responses(body))
