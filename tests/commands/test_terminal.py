"""The command on a pseudo-terminal: the panel of a limit, each of its keys, gates and questions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoroute.demo.server import Fault
from autoroute.store import RunFolder
from tests.commands import scripts
from tests.commands.conftest import World
from tests.render.terminal import Terminal

RUN = ("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.7", "--format", "plain")
WORDS = "This request would exceed your account's rate limit. Please try again later."


def five_hours(seconds: float) -> Fault:
    """Return Claude's spent five-hour window, as the headers of a subscription report it."""
    claim = "anthropic-ratelimit-unified"
    headers = {
        f"{claim}-status": "rejected",
        f"{claim}-representative-claim": "five_hour",
        f"{claim}-reset": str(int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp())),
    }
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": WORDS}}
    return Fault("status", offers="submit_plan", status=429, headers=headers, body=body)


@contextmanager
def at_terminal(world: World, *arguments: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """Run the command on a terminal, within the context."""
    world.environ |= {"TERM": "xterm-256color", "TZ": "UTC"}
    with Terminal(40, 110) as terminal:
        process = subprocess.Popen(
            world.command(*arguments),
            cwd=world.repository,
            env=world.environ,
            stdin=terminal.keyboard,
            stdout=terminal.file,
            stderr=terminal.file,
            start_new_session=True,
        )
        try:
            yield terminal, process
        finally:
            process.kill()
            process.wait()


def decisions(world: World) -> list[tuple[str, str, str | None, str]]:
    rows: list[dict[str, Any]] = json.loads((world.run_folder() / "receipt.json").read_text())["decisions"]
    return [(row["phase"], row["action"], row["to"], row["by"]) for row in rows]


def limited(world: World, seconds: float) -> None:
    """Limit Opus during planning, and provide another account and a fallback."""
    world.provide("anthropic", scripts.rules(), keys={}, faults=[five_hours(seconds)])
    world.provide("zai", scripts.rules())
    servers = {name: {"base_url": f"{s.url}/{name}/base"} for name, s in world.servers.items()}
    accounts = {"work": {"key_env": ["ANTHROPIC_API_KEY"]}, "home": {"key_env": ["HOME_KEY"]}}
    world.environ["HOME_KEY"] = "canary-home"
    world.configure({"providers": {**servers, "anthropic": {**servers["anthropic"], "accounts": accounts}}})


PANEL = (
    "planning cannot continue",
    "anthropic/claude-opus-4-5 (account work)",
    f'5-hour window: "{WORDS}"',
    "429 · rate_limit_error",
    "in 59 min",
    "switch to account home",
    "fall back to zai/glm-4.7",
    "stop and resume later",
    "Enter chooses",
)


@pytest.mark.parametrize(
    ("key", "code", "decided"),
    [
        ("s", 0, ("planning", "switch", "anthropic/claude-opus-4-5", "person")),
        ("\r", 0, ("planning", "switch", "anthropic/claude-opus-4-5", "person")),
        ("f", 0, ("planning", "fallback", "zai/glm-4.7", "person")),
        ("x", 75, ("planning", "stop", None, "person")),
    ],
)
def test_the_panel_shows_the_limit_and_each_key_does_what_it_says(
    world: World, key: str, code: int, decided: tuple[str, str, str | None, str]
) -> None:
    limited(world, 3590)
    with at_terminal(world, *RUN, "--fallback", "planning=zai/glm-4.7") as (terminal, process):
        for words in PANEL:
            terminal.wait_for(words)
        terminal.press(key)
        if key == "f":
            # qa uses the routes of planning, and the limit of its primary still applies: it asks again.
            terminal.wait_for("qa cannot continue")
            terminal.wait_for("Enter chooses")
            terminal.press("f")
        assert process.wait(60) == code
        terminal.wait_for("stop" if code else "approved by qa")
    assert decisions(world)[0] == decided
    if decided[1] == "switch":
        # The person allowed the other account, so it continues in qa too without another question.
        assert decisions(world)[1:] == [("qa", *decided[1:])]
    if code:
        assert world.autoroute("resume", "--on-limit", "fallback").code == 0


def test_after_a_wait_the_same_model_continues(world: World) -> None:
    limited(world, 4)
    with at_terminal(world, *RUN) as (terminal, process):
        terminal.wait_for("planning cannot continue")
        terminal.wait_for("Enter chooses")
        terminal.press("w")
        terminal.wait_for("any key: choose again")
        assert process.wait(60) == 0
    assert decisions(world) == [("planning", "wait", "anthropic/claude-opus-4-5", "person")]


def test_ctrl_c_at_the_panel_stops_the_run_and_prints_the_resume_command(world: World) -> None:
    limited(world, 3590)
    with at_terminal(world, *RUN) as (terminal, process):
        before = terminal.attributes
        terminal.wait_for("Enter chooses")
        process.send_signal(2)
        assert process.wait(60) == 130
        terminal.wait_for("autoroute resume")
        assert terminal.attributes == before


def test_a_gate_asks_and_passes_the_words_of_a_rejection_on(world: World) -> None:
    server = world.provide("anthropic", scripts.rules())
    with at_terminal(world, "run", "task.md", "--plan", "sonnet", "--gate", "planning", "--format", "plain") as (
        terminal,
        process,
    ):
        terminal.wait_for("a = approve")
        terminal.press("r")
        terminal.wait_for("what must change")
        terminal.press("Split it.\r")
        terminal.wait_for("a = approve")
        terminal.press("a")
        assert process.wait(60) == 0
    planning = [request for request in server.turns if "submit_plan" in json.dumps(request.body["tools"])]
    assert "Split it." in json.dumps(planning[1].body["messages"])


@pytest.mark.parametrize(("key", "code", "there"), [("y\r", 0, True), ("\r", 13, False)])
def test_merge_asks_about_auto_executed_files(world: World, key: str, code: int, there: bool) -> None:
    world.provide("anthropic", scripts.rules(code=(scripts.write(), scripts.write("", "conftest.py"), scripts.DONE)))
    assert world.autoroute("run", "task.md", "--plan", "sonnet").code == 0
    with at_terminal(world, "merge") as (terminal, process):
        terminal.wait_for("conftest.py (runs with the tests)")
        terminal.wait_for("Merge it? [y/N]")
        terminal.press(key)
        assert process.wait(60) == code
    assert (world.repository / "conftest.py").exists() is there


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("login", "zai"), "hint: autoroute login zai < FILE"),
        (("profiles", "login"), "hint: in CI, set CLAUDE_CODE_OAUTH_TOKEN"),
        (("discard", "latest"), "hint: autoroute discard r1 --yes"),
    ],
)
def test_nothing_is_asked_at_the_terminal_of_a_ci_job(world: World, arguments: tuple[str, ...], hint: str) -> None:
    world.environ["CI"] = "1"
    RunFolder.create(world.repository, "r1")
    with at_terminal(world, *arguments) as (terminal, process):
        assert process.wait(60) == 2
        terminal.wait_for(hint)


@pytest.mark.parametrize(("key", "code", "there"), [("n\r", 13, True), ("\x04", 130, True), ("y\r", 0, False)])
def test_discard_asks_first(world: World, key: str, code: int, there: bool) -> None:
    folder = RunFolder.create(world.repository, "r1")
    with at_terminal(world, "discard", "latest") as (terminal, process):
        terminal.wait_for("Delete both? [y/N]")
        terminal.press(key)
        assert process.wait(60) == code
    assert folder.path.exists() is there
