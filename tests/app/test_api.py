"""The Python API as a stranger would use it: a run driven from a program leaves what the command line would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import autoroute
from autoroute.demo.script import ScriptedReply
from autoroute.demo.server import Fault
from autoroute.engine.policy import Approval, SystemClock, Unattended
from autoroute.errors import ConfigError, TaskError, UsageError, WorkspaceError
from autoroute.events import Event, GateReached, Intent, Notice, PhaseStarted, RunEnded, RunStarted, TurnUpdate
from autoroute.messages import ToolCall, ToolSpec
from autoroute.receipt import Receipt
from autoroute.tools import PreparedCall, ToolContext, open_toolbox
from tests.commands import scripts
from tests.commands.conftest import World, make_world

ROOT = Path(__file__).parents[2]


def open_run(world: World, **chosen: object) -> autoroute.Run:
    options: dict[str, object] = {"plan": "sonnet", "probe": False, **chosen}
    return autoroute.open_run("task.md", repository=world.repository, environ=world.environ, **options)  # type: ignore[arg-type]


def resume(world: World, **chosen: object) -> autoroute.Run:
    return autoroute.resume(repository=world.repository, environ=world.environ, probe=False, **chosen)  # type: ignore[arg-type]


def journal(run: autoroute.Run) -> list[str]:
    lines = (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line).get("type") or json.loads(line)["event"]["type"] for line in lines]


def stored(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events if not isinstance(event, TurnUpdate)]


def test_a_program_drives_a_run_and_leaves_what_the_command_would(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    before = world.fingerprint()
    with open_run(world) as run:
        events = list(run)
    assert (run.result.outcome, run.result.exit_code) == ("approved", 0)
    assert run.result.branch == f"autoroute/{run.id}"
    assert world.git("rev-parse", run.result.branch) == run.result.commit
    assert run.result.receipt.as_json() == json.loads((run.folder / "receipt.json").read_text(encoding="utf-8"))
    assert stored(events) == journal(run)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    assert world.fingerprint() == before
    assert world.autoroute("show").code == 0
    assert world.autoroute("merge", "--yes").code == 0
    assert (world.repository / scripts.GREETING).read_text() == "hello, world\n"


def test_each_event_is_on_disk_when_it_is_yielded(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    kept = 0
    with open_run(world) as run:
        for event in run:
            if not isinstance(event, TurnUpdate):
                assert journal(run)[kept] == event.type
                kept += 1


def test_the_process_stays_as_it_was(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.provide("anthropic", scripts.rules())
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    environment, folder = dict(os.environ), Path.cwd()
    with open_run(world) as run:
        run.finish()
    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
    assert (dict(os.environ), Path.cwd()) == (environment, folder)


def test_leaving_the_block_early_stops_the_run_and_resume_goes_on(world: World) -> None:
    server = world.provide("anthropic", scripts.rules())
    with open_run(world) as run:
        for event in run:
            if isinstance(event, PhaseStarted) and event.phase == "coding":
                break
    assert (run.result.outcome, run.result.exit_code) == ("cancelled", 130)
    assert run.result.resume == f"autoroute resume {run.id}"
    asked = len(server.turns)
    with resume(world) as resumed:
        assert resumed.id == run.id
        assert resumed.finish().outcome == "approved"
    assert [row.phase for row in resumed.result.receipt.phases] == ["spec", "planning", "coding", "qa"]
    assert len(server.turns) > asked


def test_an_exception_in_the_callers_code_stops_the_run_in_order(world: World) -> None:
    world.provide("anthropic", scripts.rules())

    def fail(run: autoroute.Run) -> None:
        with run:
            for event in run:
                if isinstance(event, PhaseStarted):
                    raise ZeroDivisionError

    run = open_run(world)
    with pytest.raises(ZeroDivisionError):
        fail(run)
    assert journal(run)[-1] == "run_ended"
    assert resume(world).finish().outcome == "approved"


def test_a_run_that_was_never_begun_leaves_nothing(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with open_run(world):
        pass
    assert list((world.repository / ".autoroute/runs").iterdir()) == []


@dataclass
class Collector:
    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


class Broken:
    def notify(self, event: Event) -> None:
        raise RuntimeError(f"cannot take {event.type}")


def test_observers_get_every_event_and_one_that_fails_is_dropped(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    collector = Collector()
    with open_run(world, observers=[Broken(), collector]) as run:
        yielded = list(run)
    assert run.result.outcome == "approved"
    warnings = [event.text for event in collector.events if isinstance(event, Notice) and event.level == "warning"]
    assert warnings[0] == "Broken failed and gets no more events: RuntimeError: cannot take run_started"
    assert len(warnings) == 1
    assert [event for event in collector.events if not isinstance(event, Notice)] == [
        event for event in yielded if not isinstance(event, Notice)
    ]


class Approver(Unattended):
    """Approves every gate."""

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:
        return Approval("approved")


def test_a_decider_answers_gates(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    gates = {"gates": ["planning"]}
    with open_run(world, settings=gates, decider=Approver(SystemClock())) as run:
        assert run.finish().outcome == "approved"


@dataclass
class Recording:
    """The usual tools, which remember the calls that they were given."""

    calls: list[str] = field(default_factory=list)

    def open(self, names: Sequence[str], context: ToolContext) -> autoroute.Toolbox:
        return RecordingToolbox(open_toolbox(names, context), self.calls)


@dataclass
class RecordingToolbox:
    inner: autoroute.Toolbox
    calls: list[str]

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return self.inner.specs

    def prepare(self, call: ToolCall) -> PreparedCall:
        self.calls.append(call.name)
        return self.inner.prepare(call)

    def prepare_interrupted(self, call: ToolCall, intent: Intent | None) -> PreparedCall:
        return self.inner.prepare_interrupted(call, intent)


def test_a_caller_may_bring_its_own_toolbox(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    recording = Recording()
    with open_run(world, toolbox=recording.open) as run:
        assert run.finish().outcome == "approved"
    assert recording.calls == ["submit_spec", "submit_plan", "write", "submit_review"]


@dataclass
class MemoryStore:
    """A store that keeps events in memory; only files that other programs write need a folder."""

    path: Path
    events: list[Event] = field(default_factory=list)
    id: str = "in-memory"
    resume_command: str = "python again.py"

    @property
    def logs(self) -> Path:
        return self.path

    @property
    def patch(self) -> Path:
        return self.path / "changes.patch"

    @property
    def begun(self) -> bool:
        return bool(self.events)

    def record(self, event: Event) -> Event:
        if not isinstance(event, TurnUpdate):
            event = replace(event, seq=len(self.events) + 1)
            self.events.append(event)
        return event

    def current_receipt(self) -> Receipt:
        return Receipt.of(self.events)

    @contextmanager
    def lock(self, command: str = "") -> Iterator[None]:
        yield


def test_a_caller_may_bring_its_own_store(world: World, tmp_path: Path) -> None:
    world.provide("anthropic", scripts.rules())
    store = MemoryStore(tmp_path)
    with open_run(world, store=store) as run:
        assert run.finish().outcome == "approved"
    assert [event.seq for event in store.events] == list(range(1, len(store.events) + 1))
    assert (run.result.receipt.verdict, run.result.branch) == ("approved", "autoroute/in-memory")
    assert run.resume_command == "python again.py"
    assert not (world.repository / ".autoroute").exists()
    assert "hello, world" in (tmp_path / "changes.patch").read_text()


STALLED = Fault("stall", offers="edit")
SLOW = scripts.call("bash", command="echo begun > begun; sleep 60")


@pytest.mark.parametrize("where", ["a silent provider", "a wait for a limit", "a command"])
def test_a_cancel_from_another_thread_ends_a_run_wherever_it_is(world: World, where: str) -> None:
    limited = Fault("status", status=429, headers={"retry-after": "90"}, offers="edit")
    faults = {"a silent provider": [STALLED], "a wait for a limit": [limited], "a command": []}[where]
    code = (ScriptedReply(calls=(SLOW,)), scripts.DONE) if where == "a command" else (scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code), faults=faults)
    run, began = open_run(world), time.monotonic()
    canceller = threading.Thread(target=cancel_in, args=(run, where))
    canceller.start()
    with run:
        result = run.finish()
    canceller.join()
    assert (result.outcome, result.exit_code, result.message) == ("cancelled", 130, "enough")
    assert time.monotonic() - began < 45
    assert journal(run)[-1] == "run_ended"


def cancel_in(run: autoroute.Run, where: str) -> None:
    """Cancel the run once its journal shows that it is there."""
    mark = {"a silent provider": "turn_started", "a wait for a limit": "turn_failed", "a command": "tool_started"}[
        where
    ]
    path = run.folder / "events.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = path.read_text(encoding="utf-8").splitlines()
        if any(f'"type":"{mark}"' in line and '"phase":"coding"' in line for line in lines):
            break
        time.sleep(0.01)
    run.cancel("enough")


def test_two_threads_run_side_by_side_and_a_cancel_ends_one_of_them(tmp_path: Path) -> None:
    worlds = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        worlds.append(make_world(tmp_path / name))
    one, two = worlds
    with one.stack, two.stack:
        one.provide("anthropic", scripts.rules(), faults=[STALLED])
        two.provide("anthropic", scripts.rules())
        runs = [open_run(one), open_run(two)]
        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(finish, run) for run in runs]
            cancel_in(runs[0], "a silent provider")
            assert [result.result().outcome for result in results] == ["cancelled", "approved"]
        assert two.git("rev-parse", runs[1].result.branch) == runs[1].result.commit
        assert one.autoroute("resume").code == 0
        assert two.autoroute("merge", "--yes").code == 0


def finish(run: autoroute.Run) -> autoroute.RunResult:
    with run:
        return run.finish()


INTERRUPTED = """
import os, signal, sys
import autoroute

try:
    with autoroute.open_run("task.md", plan="sonnet", probe=False) as run:
        for event in run:
            if event.type == "tool_started" and event.phase == "coding":
                os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print(run.result.outcome, run.result.exit_code)
    sys.exit(3)
"""


def test_ctrl_c_in_a_script_ends_the_run_in_order_and_is_raised_again(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=world.repository,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "cancelled 130\n", "")
    assert world.autoroute("resume").code == 0


def test_without_a_decider_a_gate_waits_and_resume_answers_it(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with open_run(world, settings={"gates": ["planning"]}) as run:
        assert (run.finish().outcome, run.result.exit_code) == ("waiting", 13)
    with resume(world, approve=True) as resumed:
        assert resumed.finish().outcome == "approved"


def test_until_ends_the_sitting_after_a_phase(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with open_run(world, until="plan") as run:
        assert run.finish().outcome == "waiting"
    assert not world.git("branch", "--list", "autoroute/*")


def test_what_is_wrong_is_an_error_of_the_tree_before_anything_is_spent(world: World) -> None:
    server = world.provide("anthropic", scripts.rules())
    with pytest.raises(ConfigError) as unknown:
        open_run(world, plan="sonet")
    assert "did you mean" in unknown.value.hint
    with pytest.raises(TaskError):
        autoroute.open_run("nope.md", repository=world.repository, environ=world.environ)
    with pytest.raises(UsageError):
        open_run(world, settings={"providers": {}})
    with pytest.raises(UsageError):
        open_run(world, until="deploy")
    with pytest.raises(WorkspaceError):
        resume(world)
    assert server.turns == []
    assert not (world.repository / ".autoroute").exists()


def test_an_approved_run_has_nothing_to_resume(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with open_run(world) as run:
        run.finish()
    with pytest.raises(WorkspaceError, match="nothing is left to do"):
        resume(world)


def test_the_result_is_asked_for_too_early(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with open_run(world) as run:
        with pytest.raises(UsageError, match="has not ended"):
            _ = run.result
        next(iter(run))
        with pytest.raises(UsageError, match="has begun"):
            run.observe(Collector())


def test_check_returns_rows_and_raises_nothing_for_what_is_wrong(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    rows = autoroute.check(repository=world.repository, environ=world.environ, plan="sonnet", code="glm-4.7")
    broken = [row for row in rows if row.status == "error"]
    assert {row.details["route"] for row in broken} == {"zai/glm-4.7"}
    assert all(row.remediation for row in broken)
    assert (
        autoroute.check("task.md", repository=world.repository, environ=world.environ, plan="sonet")[-1].status
        == "error"
    )


def test_a_key_is_in_no_event_that_a_caller_sees(world: World) -> None:
    server = world.provide("anthropic", scripts.rules(code=(scripts.write("canary"), scripts.DONE)))
    (key,) = server.keys.values()
    world.task(f"# Greet the world\n\nUse {key}.\n")
    with open_run(world) as run:
        assert key not in repr(list(run))


def test_the_example_runs_as_it_is(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    done = subprocess.run(
        [sys.executable, ROOT / "examples/api.py", "task.md", "--plan", "sonnet"],
        cwd=world.repository,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "coding: done after" in done.stdout
    assert "approved: " in done.stdout
    wrong = subprocess.run(
        [sys.executable, ROOT / "examples/api.py", "nope.md"],
        cwd=world.repository,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 65
    assert wrong.stderr.startswith("error: ")
