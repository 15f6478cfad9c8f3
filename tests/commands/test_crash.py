"""Kill -9 and signals: a readable run folder, a clean checkout, and the exit code of the design."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from typing import Any

import pytest

from autoroute.demo.script import ScriptedReply
from autoroute.demo.server import PROBE, Fault
from autoroute.events import ToolEnded, TurnEnded
from autoroute.store.journal import read
from tests.commands import scripts
from tests.commands.conftest import World

RUN = ("run", "task.md", "--plan", "sonnet", "--format", "jsonl")
STORED = [
    *("run_started", "phase_started", "turn_started", "turn_ended", "tool_started", "tool_ended"),
    *("artefact_accepted", "subtask_started", "verified", "committed", "subtask_ended", "phase_ended", "delivered"),
]


def start(world: World) -> subprocess.Popen[str]:
    return subprocess.Popen(
        world.command(*RUN),
        cwd=world.repository,
        env=world.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], kind: str) -> None:
    """Read the events until one of this kind: it is in the journal by then."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == kind:
            return
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize("kind", STORED)
def test_a_kill_at_any_event_leaves_a_readable_folder_and_a_clean_checkout(world: World, kind: str) -> None:
    run_once = ScriptedReply(calls=(scripts.call("bash", command="echo ran >> log.txt"),))
    world.provide("anthropic", scripts.rules(code=(scripts.write(), run_once, scripts.DONE)))
    before = world.fingerprint()
    with start(world) as process:
        wait_for(process, kind)
        process.kill()
        process.communicate()
    assert world.fingerprint() == before
    assert world.git("fsck", "--no-dangling") == ""
    records, good = read(world.run_folder() / "events.jsonl")
    assert kind in {record.event.type for record in records}
    assert good == (world.run_folder() / "events.jsonl").stat().st_size
    (listed,) = json.loads(world.autoroute("runs", "--json").stdout)
    assert listed["state"] in ("interrupted", "approved")
    assert world.autoroute("show").code == 0
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert_once(world)
    assert world.fingerprint() == before


def assert_once(world: World) -> None:
    """Every turn was paid once but the one in flight, every call ran once, and the commits are those of an uncut run."""
    records, _ = read(world.run_folder() / "events.jsonl")
    events = [record.event for record in records]
    turns = [(event.phase, len(event.reply.message.calls)) for event in events if isinstance(event, TurnEnded)]
    assert len(turns) == 6
    assert sum(request.status == 200 for request in world.servers["anthropic"].asked) <= 7
    calls = [event.call for event in events if isinstance(event, ToolEnded)]
    assert sorted(set(calls)) == sorted(calls)
    branch = json.loads((world.run_folder() / "run.json").read_text())["branch"]
    assert world.git("log", "--format=%s", f"main..{branch}") == "Write the greeting"
    assert world.git("show", f"{branch}:{scripts.GREETING}") == "hello, world"
    assert world.git("show", f"{branch}:log.txt") == "ran"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("offers", ["submit_spec", "submit_plan", "edit", "submit_review"])
def test_a_signal_in_any_phase_ends_the_run_in_order(world: World, number: int, code: int, offers: str) -> None:
    """The provider has gone silent, so nothing but the signal can end it."""
    world.provide("anthropic", scripts.rules(), faults=[Fault("stall", offers=offers)])
    before = world.fingerprint()
    with start(world) as process:
        phase = {"submit_spec": "spec", "submit_plan": "planning", "edit": "coding", "submit_review": "qa"}[offers]
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "turn_started" and event["phase"] == phase:
                break
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    last = json.loads(rest.splitlines()[-1])
    assert (last["type"], last["outcome"], last["exit_code"]) == ("run_ended", "cancelled", code)
    assert read(world.run_folder() / "events.jsonl")[0][-1].event.type == "run_ended"
    assert world.fingerprint() == before
    world.provide("anthropic", scripts.rules())  # the silent one may not have been asked yet
    assert world.autoroute("resume").code == 0


def test_a_signal_during_a_command_ends_the_command_too(world: World) -> None:
    sleep = f"sleep 67.{os.getpid()}"
    slow = ScriptedReply(calls=(scripts.call("bash", command=f"echo begun; {sleep}"),))
    world.provide("anthropic", scripts.rules(code=(slow, scripts.DONE)))
    with start(world) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "tool_started" and event["name"] == "bash":
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    found = subprocess.run(["pgrep", "-f", sleep], capture_output=True, check=False)
    assert found.stdout == b""


def test_ctrl_c_does_not_wait_for_a_provider_that_preflight_waits_for(world: World) -> None:
    server = world.provide("anthropic", scripts.rules(), faults=[Fault("stall", offers=PROBE)])
    key, looked = server.keys["anthropic"], threading.Event()

    class Watched(dict[str, str]):
        """Says when the second request, the probe's first, is there."""

        asked = 0

        def get(self, name: str, default: object = None) -> Any:
            self.asked += 1
            if self.asked == 2:
                looked.set()
            return key

    server.keys = Watched()
    with start(world) as process:
        assert looked.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (world.repository / ".autoroute").exists()
