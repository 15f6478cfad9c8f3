"""The loopback server with the vendors' own clients: what they accept, ours may be tested with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from autoroute.demo.dialects import DIALECTS, RequestSummary
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import FAULTS, Fault, ModelServer

LOOK = ScriptedReply(
    text="I look. ✓",
    thinking="First see.",
    calls=(ScriptedCall("read", '{"path":"a"}'), ScriptedCall("read", '{"path":"b"}')),
)
SCRIPT = Script((Rule("read", "", (LOOK, ScriptedReply(text="Done."))),))
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
MESSAGES_TOOL: Any = {"name": "read", "input_schema": SCHEMA}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "read", "parameters": SCHEMA}}
RESPONSES_TOOL: Any = {"type": "function", "name": "read", "parameters": SCHEMA, "strict": False}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(SCRIPT, keys={"anthropic": "a-key", "openai": "o-key"}) as server:
        yield server


def test_anthropics_client_holds_a_conversation_with_tools_and_signed_thinking(server: ModelServer) -> None:
    with anthropic.Anthropic(api_key="a-key", base_url=f"{server.url}/anthropic", max_retries=0) as client:
        common: Any = {"model": "claude-opus-5", "max_tokens": 100, "tools": [MESSAGES_TOOL]}
        question: Any = {"role": "user", "content": "What is there?"}
        with client.messages.stream(**common, messages=[question]) as stream:
            reply = stream.get_final_message()
        assert [block.type for block in reply.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert (reply.model, reply.stop_reason) == ("claude-opus-5", "tool_use")
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "x"}
            for block in reply.content
            if block.type == "tool_use"
        ]
        answer: Any = [question, {"role": "assistant", "content": reply.content}, {"role": "user", "content": results}]
        with client.messages.stream(**common, messages=answer) as stream:
            assert stream.get_final_text() == "Done."
    assert server.violations == []


def test_openais_client_holds_the_same_conversation(server: ModelServer) -> None:
    with openai.OpenAI(api_key="o-key", base_url=f"{server.url}/openai", max_retries=0) as client:
        common: Any = {"model": "gpt", "tools": [CHAT_TOOL], "stream_options": {"include_usage": True}}
        question: Any = {"role": "user", "content": "What is there?"}
        with client.chat.completions.stream(**common, messages=[question]) as stream:
            completion = stream.get_final_completion()
        message = completion.choices[0].message
        assert message.content == "I look. ✓"
        assert [call.function.arguments for call in message.tool_calls or []] == ['{"path":"a"}', '{"path":"b"}']
        assert completion.usage is not None
        assert completion.usage.total_tokens > 0
        results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "x"} for call in message.tool_calls or []]
        said: Any = {"role": "assistant", "content": message.content, "tool_calls": message.to_dict()["tool_calls"]}
        for call in said["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
        with client.chat.completions.stream(**common, messages=[question, said, *results]) as stream:
            assert stream.get_final_completion().choices[0].message.content == "Done."
    assert server.violations == []


def test_openais_client_holds_it_over_responses_with_encrypted_reasoning(server: ModelServer) -> None:
    with openai.OpenAI(api_key="o-key", base_url=f"{server.url}/openai", max_retries=0) as client:
        common: Any = {"model": "gpt", "tools": [RESPONSES_TOOL], "store": False}
        question: Any = {"role": "user", "content": "What is there?"}
        with client.responses.stream(**common, input=[question]) as stream:
            streamed = [event.delta for event in stream if event.type == "response.output_text.delta"]
            response = stream.get_final_response()
        assert "".join(streamed) == response.output_text == "I look. ✓"
        assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
        assert (response.model, response.status) == ("gpt", "completed")
        assert response.usage is not None
        assert response.usage.total_tokens > 0
        calls = [item for item in response.output if item.type == "function_call"]
        assert [call.arguments for call in calls] == ['{"path":"a"}', '{"path":"b"}']
        said: Any = [item.to_dict() for item in response.output]
        for item in said:
            item.pop("parsed_arguments", None)
        results: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "x"} for call in calls]
        events = list(client.responses.create(**common, input=[question, *said, *results], stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == "Done."
    assert server.violations == []


def test_openais_client_gets_the_error_of_an_invalid_request(server: ModelServer) -> None:
    orphan: Any = [{"type": "function_call_output", "call_id": "call_9", "output": "x"}]
    with (
        openai.OpenAI(api_key="o-key", base_url=f"{server.url}/openai", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match="No tool call found"),
    ):
        client.responses.create(model="gpt", input=orphan)
    assert len(server.violations) == 1


def test_the_replies_of_responses_are_counted_by_turns() -> None:
    dialect = DIALECTS["/responses"]
    words = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "more"}]}
    said = {"type": "message", "role": "assistant", "content": "I look."}
    call, output = ({"type": kind, "call_id": "a"} for kind in ("function_call", "function_call_output"))
    for items, answered in (
        ([words], 0),
        ([words, said], 1),
        ([words, {"type": "reasoning"}, said, call, output], 1),
        ([words, call, output, {"type": "reasoning"}, call, output, words, said], 3),
    ):
        body = {"input": items, "tools": [RESPONSES_TOOL]}
        assert dialect.summarize(body) == RequestSummary(("read",), "more", answered)
    assert dialect.summarize({"input": "more"}) == RequestSummary((), "more", 0)


def test_a_wrong_key_is_rejected_in_the_vendors_words(server: ModelServer) -> None:
    with (
        anthropic.Anthropic(api_key="wrong", base_url=f"{server.url}/anthropic", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"),
    ):
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    with (
        openai.OpenAI(api_key="wrong", base_url=f"{server.url}/openai", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError, match="Incorrect API key"),
    ):
        other.models.list()
    with (
        anthropic.Anthropic(api_key="wrong", base_url=f"{server.url}/anthropic", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"),
    ):
        client.models.list()
    assert [request.status for request in server.requests] == [401, 401, 401]


def test_a_conversation_beyond_its_script_is_an_error(server: ModelServer) -> None:
    with (
        anthropic.Anthropic(api_key="a-key", base_url=f"{server.url}/anthropic", max_retries=0) as client,
        pytest.raises(anthropic.BadRequestError, match="the script has no rule"),
    ):
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])


def body(**changes: Any) -> dict[str, Any]:
    question = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    return {"model": "m", "max_tokens": 9, "messages": [question], "tools": [MESSAGES_TOOL], **changes}


@pytest.mark.parametrize("kind", list(FAULTS))
def test_every_fault_affects_only_its_vendor_and_only_as_often_as_set(kind: str) -> None:
    fault = Fault(kind, offers="read", vendor="zai", status=529, body="http://127.0.0.1:9/")
    headers = {"anthropic-version": "2023-06-01"}
    with ModelServer(SCRIPT, faults=[fault]) as server, httpx.Client(headers=headers, timeout=0.3) as client:

        def whole(vendor: str) -> bool:
            text = b""
            try:
                with client.stream("POST", f"{server.url}/{vendor}/v1/messages", json=body()) as response:
                    for chunk in response.iter_raw():
                        text += chunk
                        if text.count(b"event: ping") > 9:
                            return False
            except httpx.HTTPError:
                return False
            return response.status_code == 200 and b'"message_stop"' in text

        assert [whole("anthropic"), whole("zai"), whole("zai")] == [True, False, True]


def test_an_unknown_fault_raises_an_error() -> None:
    with pytest.raises(ValueError, match="unknown fault: gremlins"):
        ModelServer(SCRIPT, faults=[Fault("gremlins")])


def test_an_invalid_body_gets_an_error_response(server: ModelServer) -> None:
    for data in (b"{", b"[]", b"\xff", json.dumps({"messages": 3}).encode()):
        response = httpx.post(f"{server.url}/other/v1/messages", content=data)
        assert response.status_code == 400
    for data in (b"[]", b'{"input":3}', b'{"input":["x"]}', b'{"input":null}'):
        assert httpx.post(f"{server.url}/other/responses", content=data).status_code == 400


def test_an_incomplete_body_is_not_a_request(server: ModelServer) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        client.sendall(b"POST /openai/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert (server.requests, server.violations) == ([], [])
