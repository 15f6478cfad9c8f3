#!/usr/bin/env python3
"""A small double of the ``claude`` command: its stream-JSON, its control channel and its logins, over a real server.

Like the real one it imports nothing of autoroute. Its output has the shapes of the recordings in ``recorded/``. The same
whole-command tests run with the real command if there is one.
"""

import http.client
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

VERSION = "2.1.330"
HOME = Path(os.environ.get("HOME", "/"))
FOLDER = Path(os.environ.get("CLAUDE_CONFIG_DIR") or HOME / ".claude")
WINDOWS = {"5h": "five_hour", "7d": "seven_day", "7d_opus": "seven_day_opus", "7d_sonnet": "seven_day_sonnet"}
ERRORS = {401: "authentication_failed", 403: "authentication_failed", 404: "model_not_found", 429: "rate_limit"}


def write_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def log_start() -> None:
    """Write the arguments and the environment to a file beside this one, for tests."""
    with Path(__file__).with_name("started.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"argv": sys.argv[1:], "environ": dict(os.environ), "cwd": str(Path.cwd())}) + "\n")


def stored_login() -> Json:
    try:
        stored: Json = json.loads((FOLDER / ".credentials.json").read_text())["claudeAiOauth"]
    except (OSError, ValueError, KeyError):
        return {}
    return stored


def account() -> tuple[str, str, str]:
    """Return the login method, the value of the header, and the plan."""
    for name, method in (
        ("ANTHROPIC_AUTH_TOKEN", "oauth_token"),
        ("ANTHROPIC_API_KEY", "api_key"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "oauth_token"),
    ):
        if os.environ.get(name):
            return method, os.environ[name], ""
    login = stored_login()
    return ("claude.ai" if login else "none"), login.get("accessToken", ""), login.get("subscriptionType", "")


def status() -> int:
    method, key, plan = account()
    write_line(json.dumps({"loggedIn": bool(key), "authMethod": method, "subscriptionType": plan or None}))
    return 0 if key else 1


def log_in() -> int:
    """Store a typed line as the token, in place of the official login in a browser."""
    write_line(f"paste the code for {FOLDER}")
    token = sys.stdin.readline().strip()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / ".credentials.json").write_text(json.dumps({"claudeAiOauth": {"accessToken": token}}))
    write_line("logged in")
    return 0


def log_out() -> int:
    (FOLDER / ".credentials.json").unlink(missing_ok=True)
    write_line("logged out")
    return 0


class Conversation:
    def __init__(self, arguments: list[str]) -> None:
        self.model = arguments[arguments.index("--model") + 1]
        self.effort = arguments[arguments.index("--effort") + 1] if "--effort" in arguments else ""
        self.session = str(uuid.uuid4())
        self.system = ""
        self.tools: list[Json] = []
        self.messages: list[Json] = []
        self.queued: list[Json] = []

    def run(self) -> int:
        code = 0
        while (line := self.next_line()) is not None:
            if line["type"] == "control_request":
                self.system = line["request"].get("systemPrompt", "")
                self.begin(line["request_id"])
            elif line["type"] == "user":
                self.emit({"type": "system", "subtype": "init", "model": self.model, "apiKeySource": "none"})
                self.add("user", [{"type": "text", "text": line["message"]["content"]}])
                code = 0 if self.turn() else 1
        return code

    def next_line(self) -> Json | None:
        return self.queued.pop(0) if self.queued else self.read()

    def read(self) -> Json | None:
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def emit(self, line: Json) -> None:
        sys.stdout.write(json.dumps({**line, "session_id": self.session}) + "\n")
        sys.stdout.flush()

    def control(self, message: Json) -> Json:
        """Send a message to the MCP server, and return its response."""
        id = str(uuid.uuid4())
        request = {"subtype": "mcp_message", "server_name": "autoroute", "message": message}
        self.emit({"type": "control_request", "request_id": id, "request": request})
        while (line := self.read()) is not None:
            if line["type"] == "control_response" and line["response"]["request_id"] == id:
                answer: Json = line["response"]["response"]["mcp_response"]
                return answer
            self.queued.append(line)
        raise SystemExit(1)

    def begin(self, id: str) -> None:
        self.control({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
        self.control({"jsonrpc": "2.0", "method": "notifications/initialized"})
        listed = self.control({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})["result"]["tools"]
        self.tools = [
            {
                "name": f"mcp__autoroute__{tool['name']}",
                "description": tool["description"],
                "input_schema": tool["inputSchema"],
            }
            for tool in listed
        ]
        self.emit({"type": "control_response", "response": {"subtype": "success", "request_id": id, "response": {}}})

    def add(self, role: str, content: list[Json]) -> None:
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += content
        else:
            self.messages.append({"role": role, "content": content})

    def turn(self) -> bool:
        while True:
            content = self.ask()
            if content is None:
                return False
            self.add("assistant", content)
            calls = [block for block in content if block["type"] == "tool_use"]
            if not calls:
                self.end("".join(block.get("text", "") for block in content))
                return True
            self.add("user", [self.call(number, block) for number, block in enumerate(calls)])

    def call(self, number: int, block: Json) -> Json:
        arguments = {"name": block["name"].removeprefix("mcp__autoroute__"), "arguments": block["input"]}
        arguments["_meta"] = {"claudecode/toolUseId": block["id"]}
        message = {"jsonrpc": "2.0", "id": number + 2, "method": "tools/call", "params": arguments}
        result = self.control(message)["result"]
        answer = {"type": "tool_result", "tool_use_id": block["id"], "content": result["content"]}
        if result["isError"]:
            answer["is_error"] = True
        self.emit({"type": "user", "message": {"role": "user", "content": [answer]}, "parent_tool_use_id": None})
        return answer

    def ask(self) -> list[Json] | None:
        self.emit({"type": "system", "subtype": "status", "status": "requesting"})
        method, key, _ = account()
        if not key:
            self.fail("Not logged in · Please run /login", "authentication_failed", None)
            return None
        address = urlsplit(os.environ["ANTHROPIC_BASE_URL"])
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=60)
        body = {
            "model": self.model,
            "max_tokens": int(os.environ["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]),
            "stream": True,
            "system": [{"type": "text", "text": self.system}],
            "messages": self.messages,
            **({"tools": self.tools} if self.tools else {}),
            **({"output_config": {"effort": self.effort}} if self.effort else {}),
        }
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01", "user-agent": "claude-double"}
        headers |= {"x-api-key": key} if method == "api_key" else {"authorization": f"Bearer {key}"}
        connection.request("POST", f"{address.path}/v1/messages?beta=true", json.dumps(body), headers)
        try:
            response = connection.getresponse()
            if response.status != 200:
                self.refuse(response, method)
                return None
            self.limits(response, method)
            return self.stream(response)
        except (OSError, http.client.HTTPException):
            self.fail("API Error: Connection to the API was lost (ECONNRESET)", "unknown", None)
            return None

    def stream(self, response: http.client.HTTPResponse) -> list[Json]:
        blocks: dict[int, Json] = {}
        pieces: dict[int, str] = {}
        done = False
        for raw in response:
            if not raw.startswith(b"data: "):
                continue
            event = json.loads(raw[6:])
            if event["type"] == "ping":
                continue
            self.emit({"type": "stream_event", "event": event, "parent_tool_use_id": None})
            place = event.get("index", 0)
            if event["type"] == "content_block_start":
                blocks[place], pieces[place] = dict(event["content_block"]), ""
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        blocks[place][name] = blocks[place].get(name, "") + delta[name]
                pieces[place] += delta.get("partial_json", "")
            done = done or event["type"] == "message_stop"
        if not done:
            raise http.client.IncompleteRead(b"")
        for place, text in pieces.items():
            if blocks[place]["type"] == "tool_use":
                blocks[place]["input"] = json.loads(text or "{}")
        return list(blocks.values())

    def limits(self, response: http.client.HTTPResponse, method: str) -> Json:
        """Return the usage that the headers report; emit it as an event, except with a key of a gateway."""
        prefix = "anthropic-ratelimit-unified-"
        known = {name.lower().removeprefix(prefix): value for name, value in response.headers.items()}
        info: Json = {"status": known.get("status", "allowed"), "isUsingOverage": known.get("overage") == "true"}
        claim = known.get("representative-claim")
        if claim:
            info |= {"rateLimitType": claim, "resetsAt": int(known["reset"])}
        windows = {
            WINDOWS[short]: {
                "utilization": float(known[f"{short}-utilization"]),
                "resetsAt": int(known[f"{short}-reset"]),
                "status": known.get(f"{short}-status", "allowed"),
            }
            for short in WINDOWS
            if f"{short}-utilization" in known
        }
        if windows:
            info["unifiedWindows"] = windows
        if method != "api_key" and not os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            self.emit({"type": "rate_limit_event", "rate_limit_info": info})
        return info

    def refuse(self, response: http.client.HTTPResponse, method: str) -> None:
        said = json.loads(response.read() or b"{}").get("error", {})
        status, words = response.status, said.get("message", "")
        extra = {"api_error_type": said["type"]} if said.get("type") else {}
        info = self.limits(response, method) if status == 429 else {}
        if info.get("rateLimitType") and not os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            extra |= {"api_error": "usage_limit_reached", "api_error_params": {"rate_limit_info": info}}
            self.fail("You've hit your limit · resets later", "rate_limit", status, **extra)
        elif status in (401, 403):
            self.fail(f"Failed to authenticate. API Error: {status} {words}", ERRORS[status], status, **extra)
        elif status == 429:
            self.fail(f"API Error: Request rejected (429) · {words}", "rate_limit", status, **extra)
        elif status == 400 and "prompt is too long" in words:
            self.fail("Prompt is too long", "invalid_request", status, "prompt_too_long", **extra)
        else:
            error = "server_error" if status >= 500 else ERRORS.get(status, "unknown")
            self.fail(f"API Error: {status} {words}", error, status, **extra)

    def fail(self, words: str, error: str, status: int | None, reason: str = "api_error", **extra: object) -> None:
        common = {**extra, **({"api_error_status": status} if status else {})}
        message = {"model": "<synthetic>", "role": "assistant", "content": [{"type": "text", "text": words}]}
        self.emit({"type": "assistant", "message": message, "error": error, "is_api_error_message": True, **common})
        self.emit(
            {
                "type": "result",
                "subtype": "success",
                "is_error": True,
                "terminal_reason": reason,
                "result": words,
                **common,
            }
        )

    def end(self, words: str) -> None:
        self.emit({"type": "result", "subtype": "success", "is_error": False, "result": words})


def main() -> int:
    log_start()
    arguments = sys.argv[1:]
    if "--version" in arguments:
        write_line(f"{VERSION} (Claude Code)")
        return 0
    if "auth" in arguments:
        return {"status": status, "login": log_in, "logout": log_out}[arguments[arguments.index("auth") + 1]]()
    return Conversation(arguments).run()


if __name__ == "__main__":
    sys.exit(main())
