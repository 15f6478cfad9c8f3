"""Autoroute's tools as an MCP server on the control channel of the Claude Code process.

Claude Code calls a tool as soon as its model does. The engine runs the tool only after the complete reply is in the
journal. So each call stays pending until its result exists, and Claude Code sends no request before that. Thus the
engine controls the pace, the order and the journal of a conversation that another program drives.
https://modelcontextprotocol.io/specification (tools)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoroute.messages import ToolCall, ToolResult, ToolSpec
from autoroute.parsing import Unreadable, read_json
from autoroute.version import __version__
from autoroute.wire.payload import as_object

SERVER_NAME = "autoroute"
TOOL_PREFIX = f"mcp__{SERVER_NAME}__"
"""Claude Code puts this before the names of the tools."""
_PROTOCOL_VERSION = "2025-06-18"
_METHOD_NOT_FOUND = -32601
"""The code of JSON-RPC 2.0."""
_TOOL_USE_ID = "claudecode/toolUseId"
_MAX_RESULT_CHARACTERS = 500_000


@dataclass(slots=True)
class _PendingCall:
    """A call that waits for its result: the id of its control request, and the MCP message in it."""

    request: str
    message: Mapping[str, Any]


@dataclass(slots=True)
class McpServer:
    """Answers the MCP messages of one process. ``send`` writes a line to it."""

    tools: Sequence[ToolSpec]
    send: Callable[[Mapping[str, Any]], None]
    _pending: list[_PendingCall] = field(default_factory=list)
    _calls: dict[str, ToolCall] = field(default_factory=dict)
    """The calls of the last reply that are not answered yet."""
    _results: dict[str, str] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def handle_request(self, line: Mapping[str, Any]) -> None:
        """Answer a control request of the process, or keep it pending until the result of its tool call exists."""
        id, message = str(line.get("request_id", "")), as_object(line.get("request")).get("message")
        if not isinstance(message, Mapping):
            error = {"subtype": "error", "request_id": id, "error": "not supported"}
            self.send({"type": "control_response", "response": error})
        elif message.get("method") == "tools/call":
            self._pending.append(_PendingCall(id, message))
            self._answer_pending()
        else:
            self._respond(id, self._reply(message))

    def begin_reply(self) -> None:
        """Start a new reply. Pending calls belong to an interrupted one, and Claude Code no longer awaits them."""
        self._pending.clear()
        self.expect_calls(())

    def expect_calls(self, calls: Sequence[ToolCall]) -> None:
        """Set the calls of the reply that is complete now."""
        self._calls = {call.id: call for call in calls}
        self._results, self._failed = {}, set()

    def submit_results(self, results: Sequence[ToolResult], text: str) -> None:
        """Answer the calls with their results. ``text`` is appended to the last one."""
        for result in results:
            self._results[result.call] = result.text
            if result.is_error:
                self._failed.add(result.call)
        if text and results:
            self._results[results[-1].call] += f"\n\n{text}"
        self._answer_pending()

    def _answer_pending(self) -> None:
        pending, self._pending = self._pending, []
        for call in pending:
            id = self._find_id(call.message)
            if id is None or id not in self._results:
                self._pending.append(call)
                continue
            del self._calls[id]
            content = [{"type": "text", "text": self._results[id] or "(no output)"}]
            self._respond(call.request, _result(call.message, {"content": content, "isError": id in self._failed}))

    def _find_id(self, message: Mapping[str, Any]) -> str | None:
        """Return the id of the reply's call that a message makes, None if none matches.

        Without a known id, the first call of that name with the same arguments matches. Some compatible servers send
        calls without an id, and Claude Code then uses another id than our decoder.
        """
        params = as_object(message.get("params"))
        id = as_object(params.get("_meta")).get(_TOOL_USE_ID)
        if isinstance(id, str) and id in self._calls:
            return id
        name, arguments = params.get("name"), params.get("arguments") or {}
        same_name = [call for call in self._calls.values() if call.name == name]
        return next(
            (call.id for call in same_name if _arguments(call) == arguments), same_name[0].id if same_name else None
        )

    def _reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        match message.get("method"):
            case "initialize":
                requested = as_object(message.get("params")).get("protocolVersion")
                server = {"name": SERVER_NAME, "version": __version__}
                return _result(
                    message,
                    {
                        "protocolVersion": requested or _PROTOCOL_VERSION,
                        "capabilities": {"tools": {}},
                        "serverInfo": server,
                    },
                )
            case "tools/list":
                return _result(message, {"tools": [_describe(tool) for tool in self.tools]})
            case "ping":
                return _result(message, {})
            case _ if "id" in message:
                error = {"code": _METHOD_NOT_FOUND, "message": f"unknown method {message.get('method')}"}
                return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "result": {}}  # a notification

    def _respond(self, request: str, reply: Mapping[str, Any]) -> None:
        success = {"subtype": "success", "request_id": request, "response": {"mcp_response": reply}}
        self.send({"type": "control_response", "response": success})


def _describe(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": json.loads(tool.parameters),
        # Else Claude Code writes a long result to a file, and the model has no tool to read it.
        "_meta": {"anthropic/maxResultSizeChars": _MAX_RESULT_CHARACTERS},
    }


def _result(message: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": result}


def _arguments(call: ToolCall) -> Any:
    try:
        return read_json(call.arguments)
    except Unreadable:
        return None
