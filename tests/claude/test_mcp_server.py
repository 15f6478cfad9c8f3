"""The MCP server on the control channel: each call is answered once, with its own result, as soon as that exists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.claude.mcp_server import McpServer
from autoroute.messages import ToolCall, ToolResult, ToolSpec

READ = ToolSpec("read", "Read a file.", '{"properties":{},"type":"object"}')


class Channel:
    """An MCP server, and the lines that it has sent."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.server = McpServer([READ], self.sent.append)

    def message(self, request: str, method: str, **more: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, **more}
        subtype = {"subtype": "mcp_message", "server_name": "autoroute", "message": message}
        self.server.handle_request({"type": "control_request", "request_id": request, "request": subtype})

    def call(self, request: str, name: str = "read", id: str | None = None, **arguments: Any) -> None:
        meta = {"_meta": {"claudecode/toolUseId": id}} if id else {}
        self.message(request, "tools/call", id=1, params={"name": name, "arguments": arguments, **meta})

    def answers(self) -> list[tuple[str, Any]]:
        """Return each answered request with its answer: the text of a result, or the whole response."""
        found = []
        for line in self.sent:
            response = line["response"]
            answer = response.get("response", {}).get("mcp_response", {}).get("result")
            text = answer["content"][0]["text"] if answer and "content" in answer else answer
            found.append((response["request_id"], text if text is not None else response))
        return found


def made(*ids: str, name: str = "read") -> list[ToolCall]:
    return [ToolCall(id, name, f'{{"path":"{id}"}}') for id in ids]


def test_it_describes_itself_and_its_tools() -> None:
    channel = Channel()
    channel.message("r1", "initialize", id=0, params={"protocolVersion": "2025-11-25"})
    channel.message("r2", "notifications/initialized")
    channel.message("r3", "tools/list", id=1)
    channel.message("r4", "ping", id=2)
    channel.message("r5", "resources/list", id=3)
    (_, hello), (_, acknowledged), (_, listed), (_, pong), (_, refused) = channel.answers()
    assert hello["protocolVersion"] == "2025-11-25"
    assert acknowledged == {}
    (tool,) = listed["tools"]
    assert (tool["name"], tool["description"]) == ("read", "Read a file.")
    assert tool["inputSchema"] == {"properties": {}, "type": "object"}
    assert tool["_meta"]["anthropic/maxResultSizeChars"] > 100_000, "the longest result of a tool"
    assert pong == {}
    assert refused["response"]["mcp_response"]["error"]["code"] == -32601


def test_a_request_of_another_kind_gets_an_error_at_once() -> None:
    channel = Channel()
    for request in ({"subtype": "can_use_tool"}, {}, None, "x", {"message": 3}):
        channel.server.handle_request({"type": "control_request", "request_id": "r", "request": request})
    assert [line["response"]["subtype"] for line in channel.sent] == ["error"] * 5


def test_a_call_and_its_result_may_come_in_any_order() -> None:
    channel = Channel()
    channel.call("early", id="a", path="a")
    channel.server.expect_calls(made("a", "b"))
    assert channel.sent == []
    channel.server.submit_results([ToolResult("a", "of a"), ToolResult("b", "of b", is_error=True)], "and words")
    channel.call("late", id="b", path="b")
    assert channel.answers() == [("early", "of a"), ("late", "of b\n\nand words")]
    assert channel.sent[-1]["response"]["response"]["mcp_response"]["result"]["isError"] is True


def test_a_call_is_answered_once() -> None:
    channel = Channel()
    channel.server.expect_calls(made("a"))
    channel.server.submit_results([ToolResult("a", "of a")], "")
    channel.call("first", id="a", path="a")
    channel.call("again", id="a", path="a")
    assert channel.answers() == [("first", "of a")]


def test_a_call_with_an_unknown_id_is_matched_by_name_and_arguments() -> None:
    channel = Channel()
    channel.server.expect_calls(made("call_1_0", "call_1_1"))
    channel.call("second", id="theirs-2", path="call_1_1")
    channel.call("first", id="theirs-1", path="call_1_0")
    channel.server.submit_results([ToolResult("call_1_0", "of 0"), ToolResult("call_1_1", "of 1")], "")
    assert sorted(channel.answers()) == [("first", "of 0"), ("second", "of 1")]


def test_an_unused_result_is_not_given_to_a_later_call() -> None:
    channel = Channel()
    channel.server.expect_calls(made("a"))
    channel.server.submit_results([ToolResult("a", "of a")], "")
    channel.server.begin_reply()
    channel.call("new", id="b", path="b")
    assert channel.sent == []
    channel.server.expect_calls(made("b"))
    channel.server.submit_results([ToolResult("b", "of b")], "")
    assert channel.answers() == [("new", "of b")]


def test_a_call_of_an_interrupted_reply_gets_no_result_of_another_call() -> None:
    channel = Channel()
    channel.server.begin_reply()
    channel.call("given up", id="a", path="x")
    channel.server.begin_reply()
    channel.call("new", id="b", path="x")
    channel.server.expect_calls(made("b"))
    channel.server.submit_results([ToolResult("b", "of b")], "")
    assert channel.answers() == [("new", "of b")]


def test_an_empty_result_is_marked_as_empty() -> None:
    channel = Channel()
    channel.server.expect_calls(made("a"))
    channel.server.submit_results([ToolResult("a", "")], "")
    channel.call("r", id="a")
    assert channel.answers() == [("r", "(no output)")]


@pytest.mark.parametrize("params", [None, [], "x", {}, {"name": 3}, {"name": "read", "arguments": 7, "_meta": []},
                                    {"name": "read", "_meta": {"claudecode/toolUseId": []}}])  # fmt: skip
def test_a_malformed_call_does_not_crash(params: Any) -> None:
    channel = Channel()
    channel.server.expect_calls(made("a"))
    channel.server.submit_results([ToolResult("a", "of a")], "")
    channel.message("r", "tools/call", id=1, params=params)


@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4))
def test_each_call_gets_its_own_result_in_any_order(order: list[str], before: int) -> None:
    channel = Channel()
    for id in order[:before]:
        channel.call(id, id=id, path=id)
    channel.server.expect_calls(made("a", "b", "c", "d"))
    channel.server.submit_results([ToolResult(id, f"of {id}") for id in "abcd"], "")
    for id in order[before:]:
        channel.call(id, id=id, path=id)
    assert sorted(channel.answers()) == [(id, f"of {id}") for id in "abcd"]
