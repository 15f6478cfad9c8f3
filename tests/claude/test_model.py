"""A conversation through Claude Code: replayed recordings of the real one, and processes that misbehave."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.claude.api_errors import ERROR_CLASSES, read_error
from autoroute.claude.model import AccountHooks, ClaudeModel
from autoroute.claude.plan_usage import WINDOWS, PlanUsage
from autoroute.claude.stream_reader import StreamReader
from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    ConfigError,
    Limit,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.messages import Delta, Message, Reply, Request, Stop, Text, Thinking, ToolCall, ToolResult, ToolSpec
from autoroute.providers.builtin import load_profiles
from autoroute.routing import Clocks, ProviderProfile
from tests.claude import recorded_claude

RECORDED = Path(recorded_claude.__file__).with_name("recorded")
PROFILES = load_profiles({"zai": {"runner": "claude-code"}}, "test")
SCHEMA = '{"additionalProperties":false,"properties":{"path":{"type":"string"}},"required":["path"],"type":"object"}'
TOOLS = (ToolSpec("read", "Read a file.", SCHEMA), ToolSpec("bash", "Run a command.", SCHEMA))
OPENING = Message("user", (Text("Look at both."),))
RESET = "2096-10-02 07:06:40+00:00"

FAILURES: dict[str, tuple[type[ProviderError], Limit, bool, int | None, str]] = {
    "session_limit": (LimitReached, "five_hour", True, 429, RESET),
    "weekly_limit": (LimitReached, "week", True, 429, RESET),
    "weekly_limit_of_opus": (LimitReached, "week", False, 429, RESET),
    "burst": (Busy, "", False, 429, ""),
    "overloaded": (Busy, "overload", False, 529, ""),
    "server_error": (Unreachable, "", False, 500, ""),
    "refused_token": (Unauthorized, "", False, 401, ""),
    "forbidden": (Unauthorized, "", False, 403, ""),
    "not_logged_in": (Unauthorized, "", False, None, ""),
    "no_such_model": (NoSuchModel, "", False, 404, ""),
    "bad_request": (BadRequest, "", False, 400, ""),
    "too_long": (TooLong, "", False, 400, ""),
    "no_credit": (Billing, "", False, 400, ""),
    "cut": (Unreachable, "", False, None, ""),
    "garbage": (Unreachable, "", False, None, ""),
    "gateway_window": (LimitReached, "five_hour", False, 429, ""),  # a reset in seventy years is implausible
    "gateway_balance": (Billing, "balance", False, 429, ""),
    "gateway_burst": (Busy, "", False, 429, ""),
    "gateway_refused_key": (Unauthorized, "", False, 401, ""),
}
"""Recording -> class, limit, whether it covers the whole account, status, reset."""
SUCCESSES = ("conversation", "overloaded_once", "session_limit_midway", "cut_at_the_output_limit")


@dataclass
class Stage:
    """A ``claude`` command in a folder of its own, and a model that uses it."""

    folder: Path
    profile: ProviderProfile = field(default_factory=lambda: PROFILES["claude"])
    clocks: Clocks = Clocks(first_byte=20.0, idle=20.0)  # noqa: RUF009 - a frozen value
    used: list[PlanUsage] = field(default_factory=list)
    reason: ProviderError | None = None

    @property
    def program(self) -> Path:
        return self.folder / "claude"

    def play(self, name: str) -> Stage:
        (self.folder / "recording.jsonl").write_bytes((RECORDED / f"{name}.jsonl").read_bytes())
        if name.startswith("gateway"):
            self.profile = PROFILES["zai"]
        return self.write(Path(recorded_claude.__file__).read_text(encoding="utf-8"))

    def write(self, code: str) -> Stage:
        self.program.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}", encoding="utf-8")
        self.program.chmod(0o755)
        return self

    def model(self) -> ClaudeModel:
        return ClaudeModel(
            self.program,
            self.profile,
            self.clocks,
            self.folder,
            AccountHooks(
                environment=lambda _max_tokens: {"PATH": os.environ["PATH"]},
                annotate=lambda _error: None,
                record_usage=self.used.append,
                reason_to_leave=lambda: self.reason,
            ),
        )

    def received(self) -> list[dict[str, Any]]:
        lines = (self.folder / "received.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def user_texts(self) -> list[str]:
        """Return the texts of the user messages that it received."""
        return [line["message"]["content"] for line in self.received() if line["type"] == "user"]

    def answers(self) -> list[Any]:
        """Return the results that its tool calls got."""
        results = [
            line["response"]["response"].get("mcp_response", {}).get("result", {})
            for line in self.received()
            if line["type"] == "control_response"
        ]
        return [result for result in results if "content" in result]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def request(*messages: Message, tools: Sequence[ToolSpec] = TOOLS, **more: Any) -> Request:
    return Request("claude-opus-4-5", "You look.", messages or (OPENING,), tuple(tools), 1000, **more)


def ask(model: ClaudeModel, asked: Request) -> tuple[list[Delta], Reply]:
    items = list(model.ask(asked))
    assert isinstance(items[-1], Reply)
    return [item for item in items[:-1] if isinstance(item, Delta)], items[-1]


def results(reply: Reply) -> Message:
    return Message(
        "user", tuple(ToolResult(call.id, f"of {call.name}", call.name == "bash") for call in reply.message.calls)
    )


def test_a_reply_is_the_vendors_own_with_unprefixed_tool_names(stage: Stage) -> None:
    with closing(stage.play("conversation").model()) as model:
        deltas, reply = ask(model, request())
    assert reply.message.text == "I look."
    assert [part.text for part in reply.message.parts if isinstance(part, Thinking)] == ["Two files."]
    assert [(call.name, call.arguments) for call in reply.message.calls] == [
        ("read", '{"path":"a"}'),
        ("bash", '{"path":"b"}'),
    ]
    assert (reply.stop, reply.served_model) == (Stop.TOOLS, "claude-opus-4-5")
    assert reply.usage.input > 0
    assert reply.usage.output > 1
    assert reply.request_id.startswith("req_")
    assert "".join(delta.text for delta in deltas if delta.kind == "text") == "I look."


def test_only_new_results_and_text_are_sent_to_the_running_process(stage: Stage) -> None:
    with closing(stage.play("conversation").model()) as model:
        _, first = ask(model, request())
        done = Message("user", (Text("Mend it."),))
        _, second = ask(model, request(OPENING, first.message, results(first)))
        _, third = ask(model, request(OPENING, first.message, results(first), second.message, done))
    assert (second.message.text, third.message.text) == ("Done.", "Mended.")
    assert stage.user_texts() == ["Look at both.", "Mend it."]
    assert stage.answers() == [
        {"content": [{"type": "text", "text": "of read"}], "isError": False},
        {"content": [{"type": "text", "text": "of bash"}], "isError": True},
    ]
    begin = stage.received()[0]["request"]
    assert begin["systemPrompt"].startswith("You look.\n\nThe tools are named `mcp__autoroute__NAME` here")


@pytest.mark.parametrize("name", list(FAILURES))
def test_each_recorded_error_is_classified_by_its_fields(stage: Stage, name: str) -> None:
    kind, limit, whole, status, reset = FAILURES[name]
    with closing(stage.play(name).model()) as model, pytest.raises(ProviderError) as caught:
        ask(model, request())
    error = caught.value
    assert (type(error), error.limit, error.whole_account, error.status) == (kind, limit, whole, status)
    assert str(error.retry_at or "") == reset
    assert error.message
    assert "API Error" not in error.message or name in ("refused_token", "forbidden", "gateway_refused_key")


def test_every_recording_is_tested() -> None:
    assert {path.stem for path in RECORDED.glob("*.jsonl")} == {*FAILURES, *SUCCESSES}
    assert set(WINDOWS) >= {"five_hour", "seven_day", "seven_day_opus", "seven_day_sonnet", "overage"}


@pytest.mark.parametrize("error", list(ERROR_CLASSES))
def test_each_error_name_of_claude_code_has_its_class(stage: Stage, error: str) -> None:
    assert type(failure(error=error)) is ERROR_CLASSES[error]


@pytest.mark.parametrize("type_", list(WINDOWS))
def test_each_usage_window_is_a_limit_with_its_reset(type_: str) -> None:
    info = {"status": "rejected", "resetsAt": 4_000_000_000, "rateLimitType": type_}
    error = failure(error="rate_limit", api_error_status=429, info=info)
    assert type(error) is LimitReached
    assert (error.limit, error.whole_account, str(error.retry_at)) == (*WINDOWS[type_], RESET)


def test_an_error_of_another_provider_is_classified_by_its_own_tables_and_time_zone() -> None:
    message = "API Error: Request rejected (429) · Usage limit reached for 5 hour. Your limit will reset at 2026-11-24 20:00:00"
    fields = {"error": "rate_limit", "api_error_status": 429, "result": message}
    error = read_error(fields, PlanUsage(), PROFILES["zai"], datetime(2026, 11, 24, 10, tzinfo=UTC))
    assert type(error) is LimitReached
    assert error.message == "Usage limit reached for 5 hour. Your limit will reset at 2026-11-24 20:00:00"
    assert (error.limit, str(error.retry_at)) == ("five_hour", "2026-11-24 12:00:00+00:00")


def test_a_burst_limit_is_not_a_plan_limit() -> None:
    error = failure(error="rate_limit", api_error_status=429, info={"status": "rejected"})
    assert type(error) is Busy


def failure(info: dict[str, Any] | None = None, **fields: Any) -> ProviderError:
    reader = StreamReader(PROFILES["claude"], request())
    message = {"model": "<synthetic>", "content": [{"type": "text", "text": "words"}]}
    if info is not None:
        reader.feed({"type": "rate_limit_event", "rate_limit_info": info})
    reader.feed({"type": "assistant", "message": message, "is_api_error_message": True, **fields})
    with pytest.raises(ProviderError) as caught:
        reader.feed({"type": "result", "subtype": "success", "is_error": True})
    return caught.value


def test_after_a_temporary_error_the_same_process_is_told_to_go_on(stage: Stage) -> None:
    with closing(stage.play("overloaded_once").model()) as model:
        with pytest.raises(Busy):
            ask(model, request())
        _, reply = ask(model, request())
        assert reply.message.calls
        ask(model, request(OPENING, reply.message, results(reply)))
    assert stage.user_texts()[:2] == ["Look at both.", "Go on."]


def test_a_process_ends_after_a_reply_that_was_cut_at_the_output_limit(stage: Stage) -> None:
    with closing(stage.play("cut_at_the_output_limit").model()) as model:
        _, cut = ask(model, request())
        assert (cut.stop, cut.message.text) == (Stop.LENGTH, "And so on and")
        assert running(stage.folder) == [], "it would continue on its own"
        words = Message("user", (Text("You were cut off: go on."),))
        ask(model, request(OPENING, cut.message, words))
    first, second = stage.user_texts()
    assert first == "Look at both."
    assert "you:\nAnd so on and" in second
    assert "You were cut off: go on." in second


START = {"type": "message_start", "message": {"model": "claude-opus-4-5", "usage": {"input_tokens": 1}}}
STOP = {"type": "message_stop"}


def stream(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "stream_event", "event": event, "parent_tool_use_id": None} for event in events]


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def test_the_end_of_the_turn_before_does_not_complete_an_interrupted_stream() -> None:
    reader = StreamReader(PROFILES["claude"], request())
    reader.feed({"type": "result", "subtype": "success", "is_error": False})
    for line in stream(START, block(0, type="text", text="HALF"), STOP):
        reader.feed(line)
    assert reader.reply is None
    for line in stream(
        START,
        block(0, type="text", text="whole"),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        STOP,
    ):
        reader.feed(line)
    assert reader.reply is not None
    assert reader.reply.message.text == "whole"


def test_a_stream_that_was_cut_after_a_call_is_an_error_at_once() -> None:
    reader = StreamReader(PROFILES["claude"], request())
    call = block(0, type="tool_use", id="t1", name="mcp__autoroute__read", input={})
    for line in stream(START, call, STOP):
        reader.feed(line)
    with pytest.raises(Unreachable, match="cut off"):
        _ = reader.reply


def test_a_stream_without_a_stop_reason_is_complete_if_claude_code_reports_success() -> None:
    reader = StreamReader(PROFILES["zai"], request())
    for line in stream(START, block(0, type="text", text="whole"), STOP):
        reader.feed(line)
    assert reader.reply is None
    reader.feed({"type": "result", "subtype": "success", "is_error": False})
    assert reader.reply is not None


def test_a_different_conversation_starts_a_new_process_with_all_of_it_in_words(stage: Stage) -> None:
    call = ToolCall("c1", "read", '{"path":"a"}')
    before = Message("assistant", (Thinking("hidden", "other", "model"), Text("I look."), call))
    answer = Message("user", (ToolResult("c1", "the content"),))
    with closing(stage.play("conversation").model()) as model:
        ask(model, request(OPENING, before, answer))
        ask(model, request(OPENING))
    first, second = stage.user_texts()
    assert first.startswith("Look at both.\n\nYou have begun this already.")
    assert 'you:\nI look.\n[called read {"path":"a"}]' in first
    assert "[result of read]\n<result>\nthe content" in first
    assert "hidden" not in first
    assert second == "Look at both."


def test_a_reason_to_leave_is_raised_before_a_process_is_started(stage: Stage) -> None:
    stage.reason = LimitReached("nearly spent")
    with closing(stage.model()) as model, pytest.raises(LimitReached, match="nearly spent"):
        ask(model, request())
    assert not (stage.folder / "received.jsonl").exists()


def test_the_usage_of_the_plan_is_reported_to_the_account(stage: Stage) -> None:
    with closing(stage.play("session_limit").model()) as model, pytest.raises(LimitReached):
        ask(model, request())
    (usage,) = stage.used
    assert usage.deciding is not None
    assert (usage.deciding.type, usage.deciding.status) == ("five_hour", "rejected")
    assert [(window.type, window.used) for window in usage.windows] == [("five_hour", 1.0), ("seven_day", 0.4)]
    assert not usage.is_paid


MISBEHAVING = {
    "it ends at once": ("import sys; sys.stdin.readline()", Unreachable, "exit code 0"),
    "it ends in the middle": (
        """
        import json, sys
        sys.stdin.readline()
        event = {"type": "message_start", "message": {"model": "m"}}
        print(json.dumps({"type": "stream_event", "event": event, "parent_tool_use_id": None}), flush=True)
        """,
        Unreachable,
        "ended with exit code 0 during the conversation",
    ),
    "it is killed before its first output": ("import os; os.kill(os.getpid(), 9)", Unreachable, "exit code -9"),
    "it writes nothing": ("import sys; sys.stdin.read()", Unreachable, "no response within 0.5 s"),
    "it stops in the middle": (
        """
        import json, sys
        sys.stdin.readline()
        event = {"type": "message_start", "message": {"model": "m"}}
        print(json.dumps({"type": "stream_event", "event": event, "parent_tool_use_id": None}), flush=True)
        sys.stdin.read()
        """,
        Unreachable,
        "no new content for 0.5 s",
    ),
    "it writes no JSON": (
        "import sys; sys.stdin.readline(); print('hello', flush=True); sys.stdin.read()",
        BadReply,
        "hello",
    ),
    "it writes no object": (
        "import sys; sys.stdin.readline(); print('[1]', flush=True); sys.stdin.read()",
        BadReply,
        "a list, not an object",
    ),
    "it reports success without a reply": (
        """
        import sys
        sys.stdin.readline()
        print('{"type": "result", "subtype": "success", "is_error": false, "result": ""}', flush=True)
        sys.stdin.read()
        """,
        BadReply,
        "without a reply",
    ),
    "it used up its own turns": (
        """
        import sys
        sys.stdin.readline()
        print('{"type": "result", "subtype": "error_max_turns", "is_error": true}', flush=True)
        sys.stdin.read()
        """,
        BadReply,
        "error_max_turns",
    ),
}


@pytest.mark.parametrize("name", list(MISBEHAVING))
def test_a_misbehaving_process_is_an_error_and_is_ended(stage: Stage, name: str) -> None:
    code, kind, message = MISBEHAVING[name]
    stage.clocks = Clocks(first_byte=0.5, idle=0.5) if "0.5" in message else stage.clocks
    with closing(stage.write(code).model()) as model:
        with pytest.raises(ProviderError, match=message) as caught:
            ask(model, request())
        assert type(caught.value) is kind
    assert running(stage.folder) == []


SPEAKING = """
    import json, sys
    sys.stdin.readline()
    for event in (
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half a"}},
    ):
        print(json.dumps({"type": "stream_event", "event": event, "parent_tool_use_id": None}), flush=True)
    sys.stdin.read()
"""


def test_another_thread_interrupts_a_reply_and_the_process_ends(stage: Stage) -> None:
    with closing(stage.write(SPEAKING).model()) as model:
        turn = model.ask(request())
        assert next(turn) == Delta("text", "Half a")
        thread = threading.Thread(target=model.interrupt)
        thread.start()
        with pytest.raises(Unreachable, match="the request was interrupted"):
            next(turn)
        thread.join()
        assert running(stage.folder) == []


def test_an_interrupt_while_the_process_starts_is_not_lost(stage: Stage) -> None:
    model = stage.write("import sys; sys.stdin.read()").model()

    def environment(_max_tokens: int) -> dict[str, str]:
        model.interrupt()
        return {"PATH": os.environ["PATH"]}

    model.account = replace(model.account, environment=environment)
    with closing(model), pytest.raises(Unreachable, match="the request was interrupted"):
        ask(model, request())


def test_an_interrupt_between_requests_has_no_effect(stage: Stage) -> None:
    with closing(stage.play("conversation").model()) as model:
        model.interrupt()
        _, first = ask(model, request())
        model.interrupt()
        _, second = ask(model, request(OPENING, first.message, results(first)))
    assert (second.message.text, stage.user_texts()) == ("Done.", ["Look at both."])


def test_equal_requests_have_equal_digests(stage: Stage) -> None:
    longer = request(OPENING, Message("assistant", (Text("yes?"),)), Message("user", (Text("go on"),)))
    with closing(stage.model()) as model, closing(stage.model()) as other:
        assert model.digest(request()) == model.digest(request()) == other.digest(request())
        assert model.digest(longer) == other.digest(longer) != model.digest(request())
        assert len(model.digest(longer)) == 64


@pytest.mark.parametrize("code", ["import sys; sys.stderr.write('unknown option'); sys.exit(5)", None])
def test_a_command_that_fails_to_start_is_a_config_error(stage: Stage, code: str | None) -> None:
    if code:
        stage.write(code)
    with closing(stage.model()) as model, pytest.raises(ConfigError, match="failed to start") as caught:
        ask(model, request())
    assert ("unknown option" in caught.value.message) == bool(code)


def test_a_prompt_longer_than_a_pipe_is_sent_while_the_process_writes(stage: Stage) -> None:
    loud = """
        import json, sys
        sys.stdin.readline()
        for number in range(3000):
            print(json.dumps({"type": "system", "subtype": "status", "padding": "x" * 100}), flush=True)
        told = json.loads(sys.stdin.readline())["message"]["content"]
        for event in (
            {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": str(len(told))}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ):
            print(json.dumps({"type": "stream_event", "event": event, "parent_tool_use_id": None}), flush=True)
        sys.stdin.read()
    """
    long = Message("user", (Text("é" * 2_000_000),))
    with closing(stage.write(loud).model()) as model:
        _, reply = ask(model, request(long))
    assert reply.message.text == "2000000"


def test_closing_the_iterator_ends_the_process(stage: Stage) -> None:
    with closing(stage.play("conversation").model()) as model:
        listening = model.ask(request())
        next(listening)
        assert isinstance(listening, Iterator)
        listening.close()  # type: ignore[attr-defined]
        assert running(stage.folder) == []


def running(folder: Path) -> list[str]:
    """Return the processes of this command that are still running after a grace time."""
    deadline = time.monotonic() + 5.0
    while (found := _running(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def _running(folder: Path) -> list[str]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes()
        except OSError:
            continue
        if str(folder / "claude").encode() in words:
            found.append(words.decode("utf-8", "replace"))
    return found


LINES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "subtype", "event", "message", "content", "rate_limit_info", "resetsAt", "utilization",
                         "unifiedWindows", "five_hour", "error", "api_error_status", "is_error", "index", "delta", "usage",
                         "content_block", "model", "rateLimitType", "parent_tool_use_id", "api_error_params", "errors"]),
        inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
TYPES = st.sampled_from(["stream_event", "assistant", "result", "rate_limit_event", "system", "user", "else"])
EVENTS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"]
)


@given(st.lists(st.tuples(TYPES, EVENTS, st.dictionaries(st.text(max_size=4), LINES, max_size=2), LINES), max_size=6))
def test_any_line_is_read_or_raises_a_provider_error(
    lines: list[tuple[str, str, dict[str, Any], Any]],
) -> None:
    reader = StreamReader(PROFILES["claude"], request())
    for kind, event, more, value in lines:
        inner = {**value, "type": event} if isinstance(value, dict) else {"type": event}
        line = {**more, **(value if isinstance(value, dict) else {}), "type": kind, "event": inner}
        try:
            reader.feed(line)
            assert reader.reply is None or isinstance(reader.reply, Reply)
        except ProviderError:
            return
