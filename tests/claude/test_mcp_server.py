"""Our tools on the control channel: each call is answered once, by its own result, and not before that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.claude.mcp_server import McpServer
from autoroute.messages import ToolCall, ToolResult, ToolSpec

READ = ToolSpec("read", "Read a file.", '{"properties":{},"type":"object"}')


class Wire:
    """What was sent, by the request that it answers."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.bridge = McpServer([READ], self.sent.append)

    def message(self, request: str, method: str, **more: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, **more}
        subtype = {"subtype": "mcp_message", "server_name": "autoroute", "message": message}
        self.bridge.take({"type": "control_request", "request_id": request, "request": subtype})

    def call(self, request: str, name: str = "read", id: str | None = None, **arguments: Any) -> None:
        meta = {"_meta": {"claudecode/toolUseId": id}} if id else {}
        self.message(request, "tools/call", id=1, params={"name": name, "arguments": arguments, **meta})

    def answers(self) -> list[tuple[str, Any]]:
        """Request and what it was answered: a text, or the whole."""
        found = []
        for line in self.sent:
            response = line["response"]
            answer = response.get("response", {}).get("mcp_response", {}).get("result")
            text = answer["content"][0]["text"] if answer and "content" in answer else answer
            found.append((response["request_id"], text if text is not None else response))
        return found


def made(*ids: str, name: str = "read") -> list[ToolCall]:
    return [ToolCall(id, name, f'{{"path":"{id}"}}') for id in ids]


def test_it_says_what_it_is_and_has() -> None:
    wire = Wire()
    wire.message("r1", "initialize", id=0, params={"protocolVersion": "2025-11-25"})
    wire.message("r2", "notifications/initialized")
    wire.message("r3", "tools/list", id=1)
    wire.message("r4", "ping", id=2)
    wire.message("r5", "resources/list", id=3)
    (_, hello), (_, acknowledged), (_, listed), (_, pong), (_, refused) = wire.answers()
    assert hello["protocolVersion"] == "2025-11-25"
    assert acknowledged == {}
    (tool,) = listed["tools"]
    assert (tool["name"], tool["description"]) == ("read", "Read a file.")
    assert tool["inputSchema"] == {"properties": {}, "type": "object"}
    assert tool["_meta"]["anthropic/maxResultSizeChars"] > 100_000, "the longest that a tool of ours says"
    assert pong == {}
    assert refused["response"]["mcp_response"]["error"]["code"] == -32601


def test_a_request_of_another_kind_is_refused_and_not_waited_for() -> None:
    wire = Wire()
    for request in ({"subtype": "can_use_tool"}, {}, None, "x", {"message": 3}):
        wire.bridge.take({"type": "control_request", "request_id": "r", "request": request})
    assert [line["response"]["subtype"] for line in wire.sent] == ["error"] * 5


def test_a_call_waits_for_its_result_whichever_comes_first() -> None:
    wire = Wire()
    wire.call("early", id="a", path="a")
    wire.bridge.expect(made("a", "b"))
    assert wire.sent == []
    wire.bridge.answer([ToolResult("a", "of a"), ToolResult("b", "of b", is_error=True)], "and words")
    wire.call("late", id="b", path="b")
    assert wire.answers() == [("early", "of a"), ("late", "of b\n\nand words")]
    assert wire.sent[-1]["response"]["response"]["mcp_response"]["result"]["isError"] is True


def test_a_call_is_answered_once() -> None:
    wire = Wire()
    wire.bridge.expect(made("a"))
    wire.bridge.answer([ToolResult("a", "of a")], "")
    wire.call("first", id="a", path="a")
    wire.call("again", id="a", path="a")
    assert wire.answers() == [("first", "of a")]


def test_a_call_under_another_id_is_known_by_what_it_asks() -> None:
    wire = Wire()
    wire.bridge.expect(made("call_1_0", "call_1_1"))
    wire.call("second", id="theirs-2", path="call_1_1")
    wire.call("first", id="theirs-1", path="call_1_0")
    wire.bridge.answer([ToolResult("call_1_0", "of 0"), ToolResult("call_1_1", "of 1")], "")
    assert sorted(wire.answers()) == [("first", "of 0"), ("second", "of 1")]


def test_a_result_that_was_never_asked_for_is_not_given_to_a_later_call() -> None:
    wire = Wire()
    wire.bridge.expect(made("a"))
    wire.bridge.answer([ToolResult("a", "of a")], "")
    wire.bridge.begin()
    wire.call("new", id="b", path="b")
    assert wire.sent == []
    wire.bridge.expect(made("b"))
    wire.bridge.answer([ToolResult("b", "of b")], "")
    assert wire.answers() == [("new", "of b")]


def test_a_call_of_a_reply_that_was_cut_is_given_no_other_calls_result() -> None:
    wire = Wire()
    wire.bridge.begin()
    wire.call("given up", id="a", path="x")
    wire.bridge.begin()
    wire.call("new", id="b", path="x")
    wire.bridge.expect(made("b"))
    wire.bridge.answer([ToolResult("b", "of b")], "")
    assert wire.answers() == [("new", "of b")]


def test_an_empty_result_says_so() -> None:
    wire = Wire()
    wire.bridge.expect(made("a"))
    wire.bridge.answer([ToolResult("a", "")], "")
    wire.call("r", id="a")
    assert wire.answers() == [("r", "(no output)")]


@pytest.mark.parametrize("params", [None, [], "x", {}, {"name": 3}, {"name": "read", "arguments": 7, "_meta": []},
                                    {"name": "read", "_meta": {"claudecode/toolUseId": []}}])  # fmt: skip
def test_a_call_that_is_none_is_no_crash(params: Any) -> None:
    wire = Wire()
    wire.bridge.expect(made("a"))
    wire.bridge.answer([ToolResult("a", "of a")], "")
    wire.message("r", "tools/call", id=1, params=params)


@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4))
def test_whatever_the_order_each_call_gets_its_own(order: list[str], before: int) -> None:
    wire = Wire()
    for id in order[:before]:
        wire.call(id, id=id, path=id)
    wire.bridge.expect(made("a", "b", "c", "d"))
    wire.bridge.answer([ToolResult(id, f"of {id}") for id in "abcd"], "")
    for id in order[before:]:
        wire.call(id, id=id, path=id)
    assert sorted(wire.answers()) == [(id, f"of {id}") for id in "abcd"]
