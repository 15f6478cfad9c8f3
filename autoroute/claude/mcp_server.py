"""Our tools as the process sees them: an MCP server that lives on its control channel.

The process calls a tool as soon as its model does; the engine runs it when the whole reply is on record. So a call is
held until its result is there, and no request follows before that: the engine keeps the pace, the order and the journal
of a conversation that another program drives. https://modelcontextprotocol.io/specification (tools).
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

SERVER = "autoroute"
PREFIX = f"mcp__{SERVER}__"
"""How the process names the tools of this server."""
_VERSION = "2025-06-18"
_NO_METHOD = -32601
_ID = "claudecode/toolUseId"
_LONGEST_RESULT = 500_000


@dataclass(slots=True)
class _Held:
    """A call that waits for its result: the control request, and the message in it."""

    request: str
    message: Mapping[str, Any]


@dataclass(slots=True)
class McpServer:
    """The tools of one process. ``send`` writes a line to it."""

    tools: Sequence[ToolSpec]
    send: Callable[[Mapping[str, Any]], None]
    _held: list[_Held] = field(default_factory=list)
    _calls: dict[str, ToolCall] = field(default_factory=dict)
    """Those of the last reply that have no answer yet."""
    _results: dict[str, str] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def take(self, line: Mapping[str, Any]) -> None:
        """A control request of the process."""
        id, message = str(line.get("request_id", "")), as_object(line.get("request")).get("message")
        if not isinstance(message, Mapping):
            error = {"subtype": "error", "request_id": id, "error": "not supported"}
            self.send({"type": "control_response", "response": error})
        elif message.get("method") == "tools/call":
            self._held.append(_Held(id, message))
            self._answer_held()
        else:
            self._respond(id, self._reply(message))

    def begin(self) -> None:
        """A reply begins. Calls that still wait are of one that was cut, and the process has given them up."""
        self._held.clear()
        self.expect(())

    def expect(self, calls: Sequence[ToolCall]) -> None:
        """These are the calls of the reply that is complete now."""
        self._calls = {call.id: call for call in calls}
        self._results, self._failed = {}, set()

    def answer(self, results: Sequence[ToolResult], words: str) -> None:
        """Give what the calls came to; ``words`` are said with the last one."""
        for result in results:
            self._results[result.call] = result.text
            if result.is_error:
                self._failed.add(result.call)
        if words and results:
            self._results[results[-1].call] += f"\n\n{words}"
        self._answer_held()

    def _answer_held(self) -> None:
        waiting, self._held = self._held, []
        for held in waiting:
            call = self._call_of(held.message)
            if call is None or call not in self._results:
                self._held.append(held)
                continue
            del self._calls[call]
            content = [{"type": "text", "text": self._results[call] or "(no output)"}]
            self._respond(held.request, _result(held.message, {"content": content, "isError": call in self._failed}))

    def _call_of(self, message: Mapping[str, Any]) -> str | None:
        """Which of the reply's calls it is: by its id, else the first one of that name and these arguments.

        Compatible servers send calls without an id, and the process then knows them by another one than we do.
        """
        asked = as_object(message.get("params"))
        id = as_object(asked.get("_meta")).get(_ID)
        if isinstance(id, str) and id in self._calls:
            return id
        name, arguments = asked.get("name"), asked.get("arguments") or {}
        alike = [call for call in self._calls.values() if call.name == name]
        return next((call.id for call in alike if _arguments(call) == arguments), alike[0].id if alike else None)

    def _reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        match message.get("method"):
            case "initialize":
                asked = as_object(message.get("params")).get("protocolVersion")
                server = {"name": SERVER, "version": __version__}
                return _result(
                    message,
                    {"protocolVersion": asked or _VERSION, "capabilities": {"tools": {}}, "serverInfo": server},
                )
            case "tools/list":
                return _result(message, {"tools": [_listed(tool) for tool in self.tools]})
            case "ping":
                return _result(message, {})
            case _ if "id" in message:
                error = {"code": _NO_METHOD, "message": f"no method {message.get('method')}"}
                return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "result": {}}  # a notification is acknowledged

    def _respond(self, request: str, reply: Mapping[str, Any]) -> None:
        success = {"subtype": "success", "request_id": request, "response": {"mcp_response": reply}}
        self.send({"type": "control_response", "response": success})


def _listed(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": json.loads(tool.parameters),
        # Else a long result is put into a file, which the model has no tool to open.
        "_meta": {"anthropic/maxResultSizeChars": _LONGEST_RESULT},
    }


def _result(message: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": result}


def _arguments(call: ToolCall) -> Any:
    try:
        return read_json(call.arguments)
    except Unreadable:
        return None
