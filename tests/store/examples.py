"""A run as events, and one example of every kind of event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from autoroute.events import (
    ArtifactAccepted,
    ArtifactRejected,
    BaselineEnded,
    BaselineStarted,
    CanaryEnded,
    CanaryStarted,
    Committed,
    ConversationCompacted,
    Event,
    FilesLeftOut,
    GateDecided,
    GateReached,
    Intent,
    Notice,
    Option,
    PhaseEnded,
    PhaseStarted,
    PromptSent,
    Published,
    RecoveryDecided,
    RecoveryNeeded,
    RunEnded,
    RunResumed,
    RunStarted,
    SetupEnded,
    SubmodulesRestored,
    SubtaskEnded,
    SubtaskStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnFailed,
    TurnStarted,
    TurnUpdate,
    VerifyEnded,
    VerifyStarted,
    WorkspaceCompared,
)
from autoroute.messages import Message, Reply, Stop, Text, Thinking, ToolCall, Usage
from autoroute.routing import Phase, Route

CLAUDE = Route(provider="anthropic", model="claude-opus-4-5", requested="opus-4.5", host="api.anthropic.com")
GLM = Route(provider="zai", model="glm-4.7", requested="glm-4.7", host="api.z.ai", account="work")
SPEC = {
    "title": "Greet",
    "summary": "A greeting.",
    "requirements": ["greet"],
    "acceptance": [{"id": "A1", "text": "it greets"}],
    "assumptions": [],
    "out_of_scope": ["farewells"],
}
REVIEW = {
    "verdict": "approved",
    "summary": "It greets.",
    "criteria": [{"id": "A1", "met": True, "evidence": "hello.txt:1"}],
    "issues": [{"severity": "minor", "file": "hello.txt", "line": 1, "problem": "Terse.", "fix": "None."}],
}
THINKING = Thinking("hm \u2028", "zai", "glm-4.7", opaque='{"type":"thinking"}')
REPLY = Reply(
    Message("assistant", (THINKING, Text("I edit it. ✓"), ToolCall("c1", "edit", '{"path":"a"}'))),
    Stop.TOOLS,
    served_model="glm-4.7-0815",
    usage=Usage(input=100, output=20, cache_read=50, cache_write=5),
    request_id="req_1",
)

BLOCKED = RecoveryNeeded(
    phase=Phase.CODING,
    turn=2,
    route=GLM,
    error="LimitReached",
    message="Usage limit reached for 5 hour",
    status=429,
    code="1308",
    request_id="req_2",
    limit="five_hour",
    retry_at=datetime(2026, 11, 23, 20, tzinfo=UTC),
    hint="autoroute resume r1",
    options=(
        Option(action="fallback", route=CLAUDE, note="$5 in, $25 out a million tokens"),
        Option(action="wait", route=GLM, wait=8040.0, refused="longer than the 7200 s that are left of max_wait"),
        Option(action="stop"),
    ),
    default=0,
)


def contents(events: Iterable[Event]) -> list[Event]:
    """Return the events without the number and the time that recording gave them."""
    return [replace(event, seq=None, at=None) for event in events]


RUN: tuple[Event, ...] = (
    RunStarted(
        run="r1",
        title="Greet the world",
        task="# Greet the world",
        repository="/work",
        base="b" * 40,
        branch="autoroute/r1",
        routes={Phase.SPEC: CLAUDE, Phase.PLANNING: CLAUDE, Phase.CODING: GLM, Phase.QA: CLAUDE},
        version="0.1.0",
    ),
    Notice(level="warning", text="something to know"),
    PhaseStarted(phase=Phase.SPEC, round=1, route=CLAUDE),
    ArtifactRejected(phase=Phase.SPEC, artifact="spec", complaint="title: missing", attempt=1),
    ArtifactAccepted(phase=Phase.SPEC, round=1, artifact="spec", content=SPEC),
    PhaseEnded(phase=Phase.SPEC, round=1, outcome="done", seconds=1.5),
    GateReached(phase=Phase.SPEC, round=1, artifact="spec"),
    RunResumed(
        run="r1",
        title="Greet the world",
        phase=Phase.CODING,
        round=1,
        routes={Phase.SPEC: CLAUDE, Phase.PLANNING: CLAUDE, Phase.CODING: GLM, Phase.QA: CLAUDE},
        version="0.1.0",
    ),
    GateDecided(phase=Phase.SPEC, round=1, decision="approved"),
    PhaseStarted(phase=Phase.CODING, round=1, route=GLM),
    SubmodulesRestored(phase=Phase.CODING, subtask="S1", changed=("lib/a.c",), added=()),
    FilesLeftOut(phase=Phase.CODING, subtask="S1", paths=(".coverage", "build/")),
    SetupEnded(phase=Phase.CODING, command="npm ci", passed=True, exit_code=0, output="added", seconds=3.0),
    SetupEnded(
        phase=Phase.CODING, command="uv sync", passed=True, exit_code=0, output="", seconds=0.1, reused_from="20261201"
    ),
    SubtaskStarted(subtask="S1", title="Write it", attempt=1, number=1, total=1),
    PromptSent(phase=Phase.CODING, text="Write it.", opens=True),
    TurnStarted(phase=Phase.CODING, turn=1, route=GLM, attempt=1),
    TurnUpdate(phase=Phase.CODING, turn=1, kind="text", text="I ed"),
    TurnFailed(
        phase=Phase.CODING,
        turn=1,
        route=GLM,
        attempt=1,
        error="Busy",
        message="slow down",
        status=429,
        code="1302",
        request_id="req_0",
        retry_in=1.25,
    ),
    TurnStarted(phase=Phase.CODING, turn=1, route=GLM, attempt=2),
    TurnEnded(phase=Phase.CODING, turn=1, route=GLM, reply=REPLY, seconds=2.0, cost=0.0025),
    ToolStarted(
        phase=Phase.CODING,
        turn=1,
        call="c1",
        name="edit",
        arguments='{"path":"a"}',
        summary="edit a",
        intent=Intent(path="a", before="1" * 64, after="2" * 64),
    ),
    ToolEnded(phase=Phase.CODING, turn=1, call="c1", name="edit", text="edited", is_error=False, seconds=0.1),
    BLOCKED,
    RecoveryDecided(
        phase=Phase.CODING,
        turn=2,
        route=GLM,
        error="LimitReached",
        action="fallback",
        to=CLAUDE,
        wait=None,
        by="policy",
    ),
    ConversationCompacted(
        phase=Phase.CODING,
        turn=2,
        reason="the window of claude-opus-4-5",
        opening="Go on.",
        kept=2,
        longest=2000,
        tokens_before=180_000,
        tokens_after=40_000,
    ),
    WorkspaceCompared(tree="e" * 40, ignored=("build",), untracked=("notes.txt",), converted=("a.txt",), omitted=2),
    BaselineStarted(phase=Phase.PLANNING, command="make", tree="e" * 40),
    BaselineEnded(
        phase=Phase.PLANNING,
        command="make",
        kind="fails_already",
        exit_code=1,
        reason="these tests fail before the task: test_old",
        hint="",
        failing_tests=("test_old", "test_new"),
        outside_tests=("test_old",),
        output="2 failed",
        seconds=0.5,
    ),
    CanaryStarted(phase=Phase.QA, files=("a.py",), tree="e" * 40),
    CanaryEnded(phase=Phase.QA, tested=False, files=("a.py",), commands=("make",), reason="", seconds=0.5),
    VerifyStarted(phase=Phase.CODING, command="make", tree="e" * 40, subtask="S1"),
    VerifyEnded(
        phase=Phase.CODING, command="make", passed=False, exit_code=2, output="boom", seconds=0.5, subtask="S1"
    ),
    Committed(commit="c" * 40, subject="Write it", route=GLM, served_model="glm-4.7-0815"),
    SubtaskEnded(subtask="S1", passed=True, commit="c" * 40),
    PhaseEnded(phase=Phase.CODING, round=1, outcome="done", seconds=4.0),
    ArtifactAccepted(phase=Phase.QA, round=1, artifact="review", content=REVIEW),
    Published(branch="autoroute/r1", commit="c" * 40, commits=1),
    RunEnded(outcome="approved", exit_code=0, message="approved", hint="autoroute merge r1", seconds=9.0),
)
