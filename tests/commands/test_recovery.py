"""Limits, outages and refused keys during a run: its messages, its exit code, and resume."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from autoroute.demo.script import ScriptedReply
from autoroute.demo.server import Fault, ModelServer
from autoroute.events import RunEnded
from autoroute.store import RunFolder
from tests.commands import scripts
from tests.commands.conftest import KEY_ENV, Result, World, wait_for

OFFERS: Mapping[str, str] = {
    "spec": "submit_spec",
    "planning": "submit_plan",
    "coding": "edit",
    "qa": "submit_review",
}
ALL = ("--plan", "glm-4.7", "--code", "glm-4.7")
ALWAYS = 10_000
CHINA = timezone(timedelta(hours=8))


def zai(code: str, message: str, status: int = 429, retry_after: str = "") -> Fault:
    body = {"error": {"code": code, "message": message}}
    headers = {"retry-after": retry_after} if retry_after else {}
    return Fault("status", vendor="zai", status=status, headers=headers, body=body)


def window(seconds: float) -> Fault:
    """Return Z.AI's spent five-hour window, in its own words and its own time zone."""
    reset = (datetime.now(CHINA) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    return zai("1308", f"Usage limit reached for 5 hour. Your limit will reset at {reset}")


PASSING: Mapping[str, tuple[Fault, int]] = {
    "a burst": (zai("1302", "Rate limit reached for requests"), 1),
    "a burst with a time": (zai("1302", "Rate limit reached for requests", retry_after="1"), 1),
    "an overload, twice": (zai("1305", "The service is overloaded", 529), 2),
    "a gateway's page": (
        Fault(
            "status",
            vendor="zai",
            status=502,
            headers={"Content-Type": "text/html"},
            body="<html><title>502 Bad Gateway</title></html>",
        ),
        1,
    ),
    "a cut stream": (Fault("cut", vendor="zai"), 1),
    "garbage": (Fault("garbage", vendor="zai"), 1),
    "a dropped connection": (Fault("drop", vendor="zai"), 1),
    "a stall": (Fault("stall", vendor="zai"), 1),
    "a window that resets in a moment": (window(2), 1),
}
"""Faults that pass -> the fault, and how often it happens in each phase."""

LASTING: Mapping[str, tuple[Fault, int, str]] = {
    "a window": (window(3 * 3600), 75, "Usage limit reached for 5 hour"),
    "a long Retry-After": (zai("1302", "Rate limit reached", retry_after="3600"), 75, "Rate limit reached"),
    "no balance": (zai("1113", "Insufficient balance or no resource package. Please recharge."), 77, "Insufficient"),
    "a refused key": (zai("1002", "Authorization Token Invalid", 401), 77, "Authorization Token Invalid"),
    "a model that is gone": (zai("1211", "Unknown Model, please check the model code.", 400), 78, "Unknown Model"),
    "a lasting page": (replace(PASSING["a gateway's page"][0]), 69, "502 Bad Gateway"),
}
"""Faults that last -> the fault, the exit code of a run without a fallback, and the provider's words."""


def faults_in(fault: Fault, times: int, phases: Sequence[str] = tuple(OFFERS)) -> list[Fault]:
    return [replace(fault, offers=OFFERS[phase], times=times) for phase in phases]


def receipt(world: World) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((world.run_folder() / "receipt.json").read_text())
    return data


def run(world: World, *more: str) -> Result:
    return world.autoroute("run", "task.md", *ALL, *more)


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_does_not_stop_the_run_in_any_phase(world: World, name: str) -> None:
    fault, times = PASSING[name]
    if name == "a window that resets in a moment":
        fault = window(2)  # a moment from now, not from when the tests were collected
    server = world.provide("zai", scripts.rules(), faults=faults_in(fault, times))
    world.configure({"clocks": {"idle": 1.0}, "providers": {"zai": {"base_url": f"{server.url}/zai/base"}}})
    result = run(world)
    assert result.code == 0, result.stderr
    assert result.stderr.count("zai/glm-4.7") >= 4
    rows = receipt(world)["phases"]
    assert [row["phase"] for row in rows] == list(OFFERS)
    assert world.git("show", f"{receipt(world)['branch']}:hello.txt") == "hello, world"


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_fault_falls_back_in_any_phase_and_the_next_phase_uses_its_primary(world: World, name: str) -> None:
    fault, _, words = LASTING[name]
    world.provide("zai", scripts.rules(), faults=faults_in(fault, repetitions_of(name)))
    world.provide("openai", scripts.rules())
    world.provide("deepseek", scripts.rules())
    retry_once(world)
    fallbacks = [f"--fallback={phase}=openai/gpt-5.1,deepseek/deepseek-v4-pro" for phase in OFFERS]
    result = run(world, "--on-limit", "fallback", *fallbacks)
    assert result.code == 0, result.stderr
    assert words in result.stderr
    decisions = receipt(world)["decisions"]
    assert {(row["action"], row["to"], row["by"]) for row in decisions} == {("fallback", "openai/gpt-5.1", "policy")}
    if name not in ("a window", "a long Retry-After"):
        # No reset time is known, so each phase tried its primary first.
        assert [row["phase"] for row in decisions] == list(OFFERS)


CLASSES: Mapping[str, tuple[str, str, str]] = {
    "a window": ("limited", "LimitReached", "five_hour"),
    "a long Retry-After": ("limited", "Busy", "concurrency"),
    "no balance": ("failed", "Billing", "balance"),
    "a refused key": ("failed", "Unauthorized", ""),
    "a model that is gone": ("failed", "NoSuchModel", ""),
    "a lasting page": ("failed", "Unreachable", ""),
}
"""The same faults -> outcome, error class and limit of a run without a fallback."""

STOPS = [(name, phase) for name in LASTING for phase in OFFERS if phase in ("coding", "qa") or name == "a window"]


@pytest.mark.parametrize(("name", "phase"), STOPS)
def test_without_a_fallback_the_run_stops_with_its_exit_code_and_resume_continues(
    world: World, name: str, phase: str
) -> None:
    fault, code, words = LASTING[name]
    server = world.provide("zai", scripts.rules(), faults=faults_in(fault, repetitions_of(name), [phase]))
    retry_once(world)
    result = run(world, "--max-wait", "0")
    assert result.code == code, result.stderr
    assert words in result.stdout
    assert f"{phase} stopped: Z.AI " in result.stdout
    assert f"autoroute resume {world.run_folder().name}" in result.stderr
    ended = RunFolder(world.run_folder()).events()[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.outcome, ended.error, ended.limit) == CLASSES[name]
    assert (ended.phase, ended.provider, ended.model, ended.account) == (phase, "zai", "glm-4.7", "default")
    assert (ended.retry_at is not None) == (ended.outcome == "limited")
    forget_limits(world)
    before = len(server.turns)
    again = world.autoroute("resume")
    assert again.code == 0, again.stderr
    assert "approved" in again.stdout
    paid = sum(row["turns"] for row in receipt(world)["phases"])
    # spec, planning, two of coding, qa: each once, although the run was interrupted.
    assert paid == 5
    assert len(server.turns) - before <= 5


def repetitions_of(name: str) -> int:
    """Return how often a lasting fault happens: if it is retried, once more than the retries."""
    return 2 if "lasting" in name else 1


def retry_once(world: World) -> None:
    urls = {name: {"base_url": f"{server.url}/{name}/base"} for name, server in world.servers.items()}
    world.configure({"limits": {"max_retries": 1}, "providers": urls})


def forget_limits(world: World) -> None:
    """Forget all limits, as if hours had passed."""
    for path in (world.home / "state/autoroute/cooldowns").glob("*.json"):
        path.unlink()


def test_a_refused_connection_ends_with_69_and_resume_continues_once_the_server_is_back(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    zai_server = world.provide("zai", scripts.rules())
    retry_once(world)
    arguments = ("run", "task.md", "--plan", "sonnet", "--code", "glm-4.7", "--max-wait", "0", "--format", "jsonl")
    with world.start(*arguments) as process:
        wait_for(process, "phase_started", phase="planning")
        world.servers.pop("zai").__exit__(None, None, None)
        rest, errors = process.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert (process.returncode, last["exit_code"]) == (69, 69), errors
    assert "coding stopped: Z.AI does not answer (glm-4.7, account default: could not connect" in last["message"]
    port = int(zai_server.url.rpartition(":")[2])
    with ModelServer(scripts.rules(), keys=zai_server.keys, port=port) as back:
        again = world.autoroute("resume")
        assert again.code == 0, again.stderr
        assert [request.status for request in back.turns] == [200, 200]


def test_a_conversation_that_exceeds_the_window_is_shortened_and_continues(world: World) -> None:
    reading = ScriptedReply(calls=(scripts.call("bash", command="seq 1 4000"),))
    too_long = {"error": {"code": "1261", "message": "Prompt exceeds max length"}}
    fault = Fault("status", offers="edit", answered=6, status=400, body=too_long)
    code = (*(reading,) * 6, scripts.write(), scripts.DONE)
    # A shortened conversation has fewer replies, so the script continues from an earlier one.
    server = world.provide("zai", scripts.rules(code=(*code, *code)), faults=[fault])
    result = run(world)
    assert result.code == 0, result.stderr
    assert "compacted" in result.stderr
    statuses = [request.status for request in server.turns]
    before, after = server.turns[statuses.index(400)], server.turns[statuses.index(400) + 1]
    assert len(after.raw) < 0.6 * len(before.raw)
    assert "Write the greeting" in json.dumps(after.body["messages"][0])
    assert {row["phase"]: row["compactions"] for row in receipt(world)["phases"]}["coding"] == 1


def test_a_limit_that_another_run_hit_is_not_requested_again(world: World) -> None:
    server = world.provide("zai", scripts.rules(), faults=faults_in(window(3600), 1, ["spec"]))
    world.provide("openai", scripts.rules())
    assert run(world, "--max-wait", "0").code == 75
    asked = len(server.turns)
    result = run(world, "--fallback", "spec=openai/gpt-5.1", "--max-wait", "0")
    assert result.code == 75, result.stderr
    assert "Usage limit reached for 5 hour" in result.stderr
    assert len(server.turns) == asked, "planning has no fallback and stops, unasked"


def test_another_account_continues_the_conversation(world: World) -> None:
    server = world.provide("zai", scripts.rules(), keys={}, faults=faults_in(window(3600), 1, ["coding"]))
    world.configure(
        {
            "providers": {
                "zai": {
                    "base_url": f"{server.url}/zai/base",
                    "accounts": {"work": {"key_env": ["WORK_KEY"]}, "home": {"key_env": ["HOME_KEY"]}},
                }
            }
        }
    )
    world.environ |= {"WORK_KEY": "canary-work", "HOME_KEY": "canary-home"}
    world.environ.pop(KEY_ENV["zai"])
    result = run(world)
    assert result.code == 0, result.stderr
    used = {(row["phase"], row["account"]) for row in receipt(world)["phases"]}
    assert used >= {("planning", "work"), ("coding", "work"), ("coding", "home"), ("qa", "home")}
    decisions = receipt(world)["decisions"]
    assert [(row["phase"], row["action"], row["to_account"], row["limit"]) for row in decisions] == [
        ("coding", "switch", "home", "five_hour"),
        ("qa", "switch", "home", "five_hour"),
    ]
    shown = world.autoroute("show").stdout
    assert "coding    zai/glm-4.7 (account work), 5-hour window: switched to account home; by the settings" in shown
    limited = [request for request in server.turns if request.status == 429]
    assert len(limited) == 1, "qa knows of the limit, and does not ask"
    everything = result.stdout + result.stderr + (world.run_folder() / "events.jsonl").read_text()
    assert "canary-" not in everything


def test_a_run_waits_no_longer_than_max_wait(world: World) -> None:
    world.provide(
        "zai", scripts.rules(), faults=faults_in(zai("1302", "slow down", retry_after="1"), ALWAYS, ["coding"])
    )
    started = time.monotonic()
    result = run(world, "--max-wait", "3")
    assert result.code == 75, result.stderr
    assert time.monotonic() - started < 60


def test_a_wait_is_reported_and_then_the_same_model_continues(world: World) -> None:
    world.provide("zai", scripts.rules(), faults=faults_in(window(2), 1, ["planning"]))
    result = run(world, "--on-limit", "wait")
    assert result.code == 0, result.stderr
    assert "5-hour window" in result.stderr
    (decision,) = receipt(world)["decisions"]
    assert (decision["action"], decision["by"], decision["to"]) == ("wait", "policy", "zai/glm-4.7")


def test_nothing_is_asked_without_a_terminal(world: World) -> None:
    world.provide("zai", scripts.rules(), faults=faults_in(window(3 * 3600), 1, ["coding"]))
    result = world.autoroute("run", "task.md", *ALL, "--on-limit", "ask", stdin="w\nw\nw\n")
    assert result.code == 75
