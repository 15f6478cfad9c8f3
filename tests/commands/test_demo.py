"""``autoroute demo``, as a stranger first meets it."""

from __future__ import annotations

import json
import signal
import subprocess

from tests.commands.conftest import World


def test_the_demo_shows_a_run_and_its_diff_and_says_that_the_models_are_scripted(world: World) -> None:
    # Whatever the stranger has set up already is no part of it.
    world.configure({"phases": {"coding": {"model": "nobody/nothing"}}})
    world.environ["AUTOROUTE_LIMITS__MAX_ROUNDS"] = "1"
    result = world.autoroute("demo", "--folder", str(world.home / "demo"))
    assert result.code == 0, result.stderr
    assert "The models of this demo are scripted" in result.stderr
    assert "started on anthropic/claude-opus-4-5" in result.stderr
    assert "started on zai/glm-4.7, round 2" in result.stderr
    assert result.stdout.startswith("approved by qa")
    assert '+UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}' in result.stdout
    # What it says next is true: the repository is there, and the commands work in it.
    project = world.home / "demo/project"
    assert f"cd {project}" in result.stderr
    receipt = json.loads(world.autoroute("show", "--json", cwd=project).stdout)
    assert {row["provider"] for row in receipt["phases"]} == {"anthropic", "zai"}
    assert world.autoroute("merge", cwd=project).code == 0
    again = world.autoroute("demo", "--folder", str(world.home / "demo"))
    assert (again.code, again.stderr.splitlines()[-1]) == (2, "hint: autoroute demo --folder ANOTHER")


def test_a_demo_that_is_broken_off_says_what_there_is(world: World) -> None:
    with subprocess.Popen(
        world.command("demo", "--folder", str(world.home / "demo"), "--format", "plain"),
        cwd=world.repository,
        env=world.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "started on" in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "a bug" not in said
    assert "this run cannot be resumed" in said


def test_the_demo_as_events_is_json_lines_and_nothing_else(world: World) -> None:
    world.environ["TMPDIR"] = str(world.home)
    result = world.autoroute("demo", "--format", "jsonl")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.code, events[0]["type"], events[-1]["exit_code"]) == (0, "run_started", 0)
