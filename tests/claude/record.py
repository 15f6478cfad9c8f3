"""Record ``recorded/``: the lines that the real ``claude`` command writes, and those that it receives.

    AUTOROUTE_TEST_CLAUDE=/path/to/claude python -m tests.claude.record

Run it again for a new version of Claude Code, and review what has changed. A server on this machine stands in for the
vendor. Of Claude Code's own texts only the error messages are kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoroute.claude.model import AccountHooks, ClaudeModel
from autoroute.claude.process_environment import conversation_environment, gateway_environment, login_environment
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import Fault, ModelServer
from autoroute.errors import ProviderError
from autoroute.messages import Message, Reply, Request, Text, ToolResult, ToolSpec
from autoroute.providers.builtin import load_profiles
from autoroute.providers.claude_profiles import ClaudeProfile
from autoroute.routing import Clocks, Secret, origin

RECORDED = Path(__file__).with_name("recorded")
SCHEMA = '{"additionalProperties":false,"properties":{"path":{"type":"string"}},"required":["path"],"type":"object"}'
TOOLS = (ToolSpec("read", "Read a file.", SCHEMA), ToolSpec("bash", "Run a command.", SCHEMA))
MODEL = "claude-opus-4-5"
RESET = int(time.time()) + 3 * 3600
"""Of all windows, in a recording; kept as a time that is the same in each."""
KEPT_RESET = 4_000_000_000
_KEPT = ("type", "subtype", "model", "permissionMode", "apiKeySource", "claude_code_version", "tools", "mcp_servers")

CALLS = ScriptedReply(
    text="I look.",
    thinking="Two files.",
    calls=(ScriptedCall("read", '{"path":"a"}'), ScriptedCall("bash", '{"path":"b"}')),
)
SCRIPT = Script((Rule("read", "", (CALLS, ScriptedReply(text="Done."), ScriptedReply(text="Mended."))),))


def _unified(claim: str, short: str) -> Mapping[str, str]:
    facts = {"status": "rejected", "reset": str(RESET), "representative-claim": claim}
    for window, status, used in (("5h", "allowed", "0.5"), ("7d", "allowed", "0.4"), (short, "rejected", "1.0")):
        facts |= {f"{window}-status": status, f"{window}-reset": str(RESET), f"{window}-utilization": used}
    return {f"anthropic-ratelimit-unified-{name}": value for name, value in facts.items()}


def _status(status: int, type: str, words: str, headers: Mapping[str, str] | None = None, **more: Any) -> list[Fault]:
    body = {"type": "error", "error": {"type": type, "message": words}}
    return [Fault("status", status=status, body=body, headers=headers or {}, times=100, **more)]


def _zai(code: str, words: str, status: int = 429) -> list[Fault]:
    return [Fault("status", status=status, body={"error": {"code": code, "message": words}}, times=100)]


LOGIN: Mapping[str, list[Fault]] = {
    "conversation": [],
    "session_limit": _status(429, "rate_limit_error", "Over your limit.", _unified("five_hour", "5h")),
    "weekly_limit": _status(429, "rate_limit_error", "Over your limit.", _unified("seven_day", "7d")),
    "weekly_limit_of_opus": _status(429, "rate_limit_error", "Over your limit.", _unified("seven_day_opus", "7d_opus")),
    "session_limit_midway": _status(
        429, "rate_limit_error", "Over your limit.", _unified("five_hour", "5h"), answered=1
    ),
    "burst": _status(429, "rate_limit_error", "Slow down."),
    "overloaded": _status(529, "overloaded_error", "Overloaded"),
    "overloaded_once": [
        Fault(
            "status", status=529, body={"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        )
    ],
    "server_error": _status(500, "api_error", "Internal server error"),
    "refused_token": _status(401, "authentication_error", "OAuth token has expired."),
    "forbidden": _status(403, "permission_error", "OAuth authentication is not allowed for this organization."),
    "no_such_model": _status(404, "not_found_error", f"model: {MODEL}"),
    "bad_request": _status(400, "invalid_request_error", "messages: something is wrong"),
    "too_long": _status(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "no_credit": _status(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "cut": [Fault("cut", after_events=6, times=100)],
    "garbage": [Fault("garbage", after_events=3, times=100)],
}
GATEWAY: Mapping[str, list[Fault]] = {
    "gateway_window": _zai("1308", "Usage limit reached for 5 hour. Your limit will reset at 2096-10-02 15:06:40"),
    "gateway_balance": _zai("1113", "Insufficient balance or no resource package. Please recharge."),
    "gateway_burst": _zai("1302", "Rate limit reached for requests"),
    "gateway_refused_key": _zai("1002", "Authorization Token Invalid", 401),
}


def main() -> None:
    """Record everything."""
    found = os.environ.get("AUTOROUTE_TEST_CLAUDE") or shutil.which("claude")
    if not found:
        raise SystemExit("claude command not found: set AUTOROUTE_TEST_CLAUDE")
    RECORDED.mkdir(exist_ok=True)
    for name, faults in {**LOGIN, **GATEWAY}.items():
        record(Path(found).resolve(), name, SCRIPT, faults)
    cut = ScriptedReply(text="And so on and", cut=True)
    record(
        Path(found).resolve(),
        "cut_at_the_output_limit",
        Script((Rule("read", "", (cut, *SCRIPT.rules[0].replies[1:])),)),
        [],
    )
    record(Path(found).resolve(), "not_logged_in", SCRIPT, [], token="")


def record(program: Path, name: str, script: Script, faults: list[Fault], token: str = "sk-ant-oat01-dummy") -> None:
    """Hold one conversation, and record both sides of it."""
    with tempfile.TemporaryDirectory() as folder, ModelServer(script, faults=faults) as server:
        place = Path(folder)
        lines = place / "lines.jsonl"
        wrapper = place / "claude"
        wrapper.write_text(_WRAPPER.format(python=sys.executable, program=str(program), lines=str(lines)))
        wrapper.chmod(0o755)
        model = _model(wrapper, place, server.url, gateway=name.startswith("gateway"), token=token)
        try:
            with suppress(ProviderError):
                _converse(model)
        finally:
            model.close()
        _write(RECORDED / f"{name}.jsonl", lines, place)


def _model(wrapper: Path, place: Path, url: str, *, gateway: bool, token: str) -> ClaudeModel:
    environ = {"PATH": os.environ["PATH"], "HOME": str(place), "LANG": "C.UTF-8", "TOKEN": token}
    name = "zai" if gateway else "claude"
    table: dict[str, Any] = {"base_url": f"{url}/{name}"} | ({"runner": "claude-code"} if gateway else {})
    profile = load_profiles({name: table}, "record")[name]
    clocks, own = Clocks(), place / "own"
    own.mkdir()
    if gateway:
        secret = Secret("dummy-key", origin=origin(profile.base_url), source="TOKEN")
        account = gateway_environment(environ, profile, MODEL, secret, own)
    else:
        account = login_environment(environ, ClaudeProfile("token", token_env="TOKEN"), own)
        account = {name: value for name, value in account.items() if value}
    hooks = AccountHooks(
        environment=lambda limit: conversation_environment(account, profile, clocks, place / "cache", limit),
        annotate=lambda _error: None,
        record_usage=lambda _usage: None,
        reason_to_leave=lambda: None,
    )
    return ClaudeModel(wrapper, profile, clocks, place, hooks)


def _converse(model: ClaudeModel) -> None:
    """Send a prompt, the results of two calls, and a correction; each a second time after an error, like a retry."""
    opening = Message("user", (Text("Look at both."),))
    messages: tuple[Message, ...] = (opening,)
    for following in (_results, _correction, None):
        reply = _twice(model, messages)
        if following is not None:
            messages = (*messages, reply.message, following(reply))


def _twice(model: ClaudeModel, messages: tuple[Message, ...]) -> Reply:
    request = Request(MODEL, "You look.", messages, TOOLS, 1000)
    try:
        return _ask(model, request)
    except ProviderError:
        return _ask(model, request)


def _ask(model: ClaudeModel, request: Request) -> Reply:
    return next(item for item in model.ask(request) if isinstance(item, Reply))


def _results(reply: Reply) -> Message:
    calls = reply.message.calls
    if not calls:
        return Message("user", (Text("You were cut off: go on."),))
    return Message(
        "user", tuple(ToolResult(call.id, f"of {call.name}", is_error=call.name == "bash") for call in calls)
    )


def _correction(_reply: Reply) -> Message:
    return Message("user", (Text("Mend it."),))


_WRAPPER = """#!{python}
import json, os, subprocess, sys, threading
log = open({lines!r}, "a")
lock = threading.Lock()
def note(mark, line):
    with lock:
        log.write(json.dumps([mark, json.loads(line)]) + "\\n")
        log.flush()
child = subprocess.Popen([{program!r}, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def forward():
    for line in sys.stdin.buffer:
        note(">", line)
        child.stdin.write(line)
        child.stdin.flush()
    child.stdin.close()
threading.Thread(target=forward, daemon=True).start()
for line in child.stdout:
    note("<", line)
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
sys.exit(child.wait())
"""


def _write(path: Path, lines: Path, place: Path) -> None:
    """Write what a reader needs, without what changes each time: ids, paths, ports."""
    text = lines.read_text(encoding="utf-8").replace(str(place), "/workspace").replace(str(RESET), str(KEPT_RESET))
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", text)
    ids: dict[str, str] = {}

    def same(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"00000000-0000-0000-0000-{len(ids):012}")

    text = re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", same, text)
    kept = [json.dumps([mark, _kept(line)]) for mark, line in map(json.loads, text.splitlines())]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _kept(line: dict[str, Any]) -> dict[str, Any]:
    if line["type"] == "control_response" and "mcp_response" not in line["response"].get("response", {}):
        return {**line, "response": {**line["response"], "response": {}}}
    if line.get("subtype") == "init":
        return {name: line[name] for name in _KEPT if name in line}
    if line.get("isSynthetic"):
        line["message"]["content"] = [{"type": "text", "text": "(what Claude Code tells the model itself)"}]
    return dict(_without_clock(line))


def _without_clock(line: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Leave out times and costs, which change each time."""
    drop = re.compile(r"timestamp$|duration|_ms$|total_cost|modelUsage|model_usage|subagent|fast_mode")
    yield from ((name, value) for name, value in line.items() if not drop.search(name))


if __name__ == "__main__":
    main()
