"""Kill -9 and signals: the run folder stays readable, the checkout clean, and the exit code right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoroute.demo.script import ScriptedReply
from autoroute.demo.server import PROBE, Fault
from autoroute.events import ToolEnded, TurnEnded
from autoroute.store.journal import Reader, read_events
from tests.commands import scripts
from tests.commands.conftest import World, wait_for

RUN = ("run", "task.md", "--plan", "sonnet", "--format", "jsonl")
STORED = [
    *("run_started", "phase_started", "turn_started", "turn_ended", "tool_started", "tool_ended"),
    *("artifact_accepted", "subtask_started", "verify_ended", "committed", "subtask_ended", "phase_ended", "published"),
]


@pytest.mark.parametrize("kind", STORED)
def test_a_kill_at_any_event_leaves_a_readable_folder_and_a_clean_checkout(world: World, kind: str) -> None:
    run_once = ScriptedReply(calls=(scripts.call("bash", command="echo ran >> log.txt; git add log.txt"),))
    world.provide("anthropic", scripts.rules(code=(scripts.write(), run_once, scripts.DONE)))
    before = world.fingerprint()
    with world.start(*RUN) as process:
        wait_for(process, kind)
        process.kill()
        process.communicate()
    assert world.fingerprint() == before
    assert world.git("fsck", "--no-dangling") == ""
    reader = Reader(world.run_folder() / "events.jsonl")
    assert kind in {event.type for event in reader}
    assert reader.good == (world.run_folder() / "events.jsonl").stat().st_size
    (listed,) = json.loads(world.autoroute("runs", "--json").stdout)
    assert listed["state"] in ("interrupted", "approved")
    assert world.autoroute("show").code == 0
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert_nothing_was_done_twice(world)
    assert world.fingerprint() == before


def assert_nothing_was_done_twice(world: World) -> None:
    """Check that every turn but the one in flight was paid once, every call ran once, and the commits are complete."""
    events = read_events(world.run_folder() / "events.jsonl")
    turns = [(event.phase, len(event.reply.message.calls)) for event in events if isinstance(event, TurnEnded)]
    assert len(turns) == 6
    assert sum(request.status == 200 for request in world.servers["anthropic"].turns) <= 7
    calls = [event.call for event in events if isinstance(event, ToolEnded)]
    assert sorted(set(calls)) == sorted(calls)
    branch = json.loads((world.run_folder() / "run.json").read_text())["branch"]
    assert world.git("log", "--format=%s", f"main..{branch}") == "Write the greeting"
    assert world.git("show", f"{branch}:{scripts.GREETING}") == "hello, world"
    assert world.git("show", f"{branch}:log.txt") == "ran"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("offers", ["submit_spec", "submit_plan", "edit", "submit_review"])
def test_a_signal_in_any_phase_ends_the_run_cleanly(world: World, number: int, code: int, offers: str) -> None:
    """The provider is silent, so only the signal can end the run."""
    world.provide("anthropic", scripts.rules(), faults=[Fault("stall", offers=offers)])
    before = world.fingerprint()
    with world.start(*RUN) as process:
        phase = {"submit_spec": "spec", "submit_plan": "planning", "edit": "coding", "submit_review": "qa"}[offers]
        wait_for(process, "turn_started", phase=phase)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    last = json.loads(rest.splitlines()[-1])
    assert (last["type"], last["outcome"], last["exit_code"]) == ("run_ended", "cancelled", code)
    assert read_events(world.run_folder() / "events.jsonl")[-1].type == "run_ended"
    assert world.fingerprint() == before
    world.provide("anthropic", scripts.rules())  # the silent provider may not have got a request yet
    assert world.autoroute("resume").code == 0


def sleep_the_first_time(world: World) -> str:
    """Return a command that sleeps the first time only."""
    return f"test -f {world.home}/once || {{ touch {world.home}/once; sleep 60; }}"


def at_a_command(world: World) -> subprocess.Popen[str]:
    slow = ScriptedReply(calls=(scripts.call("bash", command=sleep_the_first_time(world)),))
    world.provide("anthropic", scripts.rules(code=(scripts.write(), slow, scripts.DONE)))
    process = world.start(*RUN, "--sandbox", "off")
    wait_for(process, "tool_started", name="bash")
    return process


def at_a_verify_command(world: World) -> subprocess.Popen[str]:
    world.provide(
        "anthropic", scripts.rules(plan=scripts.plan(verify=f"{sleep_the_first_time(world)}; {scripts.VERIFY}"))
    )
    process = world.start(*RUN, "--sandbox", "off")
    wait_for(process, "verify_started", subtask="S1")
    return process


def at_a_wait(world: World) -> subprocess.Popen[str]:
    limit = Fault("status", status=429, headers={"retry-after": "3600"}, offers="edit")
    world.provide("anthropic", scripts.rules(), faults=[limit])
    process = world.start(*RUN, "--on-limit", "wait")
    wait_for(process, "recovery_decided", action="wait")
    return process


def in_a_second_sitting(world: World) -> subprocess.Popen[str]:
    server = world.provide("anthropic", scripts.rules(), faults=[Fault("stall", offers="submit_review")])
    assert world.autoroute(*RUN, "--until", "planning").code == 13
    process = world.start("resume", "--format", "jsonl")
    wait_for(process, "turn_started", phase="qa")
    # Until this sitting has got the silent answer, so that the next one does not get it.
    deadline = time.monotonic() + 60
    while not any("submit_review" in str(request.body) for request in server.turns) and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def before_publishing(world: World) -> subprocess.Popen[str]:
    world.provide("anthropic", scripts.rules())
    process = world.start(*RUN)
    wait_for(process, "phase_ended", phase="qa")
    return process


PLACES: dict[Callable[[World], subprocess.Popen[str]], tuple[signal.Signals, set[int]]] = {
    at_a_command: (signal.SIGTERM, {143}),
    at_a_verify_command: (signal.SIGHUP, {143}),
    at_a_wait: (signal.SIGINT, {130}),
    in_a_second_sitting: (signal.SIGTERM, {143}),
    # The rest takes so little time that the run may end before the signal arrives.
    before_publishing: (signal.SIGINT, {130, 0}),
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_run_that_a_signal_ended_continues_and_nothing_is_paid_twice(
    world: World, place: Callable[[World], subprocess.Popen[str]]
) -> None:
    before = world.fingerprint()
    number, codes = PLACES[place]
    with place(world) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=100)
    assert process.returncode in codes, errors
    assert "Traceback" not in errors
    assert world.fingerprint() == before
    past = read_events(world.run_folder() / "events.jsonl")
    assert past[-1].type == "run_ended"
    shutil.rmtree(world.home / "state/autoroute/cooldowns", ignore_errors=True)
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    events = read_events(world.run_folder() / "events.jsonl")
    assert past == events[: len(past)] or process.returncode == 0
    answered = sum(request.status == 200 for request in world.servers["anthropic"].turns)
    unheard = place is in_a_second_sitting
    assert sum(isinstance(event, TurnEnded) for event in events) == answered - unheard
    assert world.fingerprint() == before
    assert not list((world.home / "state/autoroute/workspaces").glob("*"))


@pytest.mark.parametrize(("by", "code"), [(timedelta(days=1), 75), (timedelta(days=-3650), 0)])
def test_a_limit_is_respected_after_the_clock_was_set_back_and_forgotten_after_its_reset(
    world: World, by: timedelta, code: int
) -> None:
    """A clock that was set back by a day sees the reset a day later; one set forward by years sees it in the past."""
    limit = Fault("status", status=429, headers={"retry-after": "3600"}, offers="edit")
    world.provide("anthropic", scripts.rules(), faults=[limit])
    assert world.autoroute(*RUN, "--max-wait", "0").code == 75
    for path in (world.home / "state/autoroute/cooldowns").glob("*.json"):
        known = json.loads(path.read_text())
        assert datetime.fromisoformat(known["until"]) > datetime.now(UTC)
        known["until"] = (datetime.fromisoformat(known["until"]) + by).isoformat()
        path.write_text(json.dumps(known))
    result = world.autoroute("resume", "--max-wait", "2h")
    assert result.code == code, result.stderr
    assert "Traceback" not in result.stderr


def test_a_signal_during_a_command_ends_the_command_too(world: World) -> None:
    sleep = f"sleep 67.{os.getpid()}"
    slow = ScriptedReply(calls=(scripts.call("bash", command=f"echo begun; {sleep}"),))
    world.provide("anthropic", scripts.rules(code=(slow, scripts.DONE)))
    with world.start(*RUN) as process:
        wait_for(process, "tool_started", name="bash")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    found = subprocess.run(["pgrep", "-f", sleep], capture_output=True, check=False)
    assert found.stdout == b""


def test_ctrl_c_does_not_wait_for_a_provider_that_preflight_waits_for(world: World) -> None:
    server = world.provide("anthropic", scripts.rules(), faults=[Fault("stall", offers=PROBE)])
    key, looked = server.keys["anthropic"], threading.Event()

    class Watched(dict[str, str]):
        """Keys that report when the second request arrives, which is the first one of the probe."""

        asked = 0

        def get(self, name: str, default: object = None) -> Any:
            self.asked += 1
            if self.asked == 2:
                looked.set()
            return key

    server.keys = Watched()
    with world.start(*RUN) as process:
        assert looked.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (world.repository / ".autoroute").exists()
