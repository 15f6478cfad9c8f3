"""Where commands of a run find the workspace and their home, as whole commands show it."""

from __future__ import annotations

import json
import os

import pytest

from autoroute.app.sandbox import confinement_for
from autoroute.demo.script import ScriptedReply
from autoroute.routing import SandboxSettings
from autoroute.workspace.sandbox.backends import try_backends
from tests.commands import scripts
from tests.commands.conftest import World

RUN = ("run", "task.md", "--plan", "sonnet", "--sandbox")
_BUBBLEWRAP = try_backends("bubblewrap", *confinement_for(SandboxSettings(), os.environ, None))
needs_bubblewrap = pytest.mark.skipif(not _BUBBLEWRAP[-1].sandbox, reason="bubblewrap does not work here")


def run_command(world: World, command: str, *flags: str) -> str:
    """Run a task whose model runs ``command`` and writes a file; return the output of the command."""
    bash = ScriptedReply(text="I look.", calls=(scripts.call("bash", command=command),))
    world.provide("anthropic", scripts.rules(plan=scripts.plan(), code=(bash, scripts.write(), scripts.DONE)))
    world.task()
    done = world.autoroute(*RUN, *flags)
    assert done.code == 0, done.stderr
    events = map(json.loads, (world.run_folder() / "events.jsonl").read_text().splitlines())
    (output,) = (event["text"] for event in events if event["type"] == "tool_ended" and event["name"] == "bash")
    return str(output)


@needs_bubblewrap
def test_commands_see_the_workspace_at_the_path_of_the_repository(world: World) -> None:
    output = run_command(world, "pwd; echo $HOME; git log --oneline | wc -l", "bubblewrap")
    assert output.startswith(f"{world.repository}\n{world.home}\n1\n"), output


def test_without_mounts_the_path_of_the_workspace_is_short_and_has_no_dots(world: World) -> None:
    del world.environ["XDG_STATE_HOME"]
    output = run_command(world, "pwd", "off")
    assert output.startswith(f"{world.home}/autoroute-work/"), output
    assert not (world.home / "autoroute-work").exists()


@needs_bubblewrap
@pytest.mark.parametrize(("cache", "again"), [("none", "new"), ("run", "new"), ("repository", "found")])
def test_the_home_folder_lasts_as_long_as_was_asked(world: World, cache: str, again: str) -> None:
    command = "test -f ~/mark && echo found || echo new; touch ~/mark"
    assert run_command(world, command, "bubblewrap", "--cache", cache).startswith("new")
    world.git("commit", "--quiet", "--allow-empty", "--message=Go on")
    for run in (world.repository / ".autoroute/runs").iterdir():
        assert world.autoroute("discard", run.name, "--yes").code == 0
    assert run_command(world, command, "bubblewrap", "--cache", cache).startswith(again)
    assert not (world.home / "mark").exists()
