"""Commands leave no zombies, whoever the parent of autoroute is: they would fill a limit on processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from autoroute.demo.script import ScriptedReply
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, World

COMMANDS = 6
FIRST = """
import glob, subprocess, sys
code = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait()
states = [open(path).read().split(")")[-1].split()[0] for path in glob.glob("/proc/[0-9]*/stat")]
print(code, states.count("Z"))
"""
"""The first process of a PID namespace, which waits for its own child alone."""


def can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(os.geteuid() != 0 or not can_unshare(), reason="PID namespaces cannot be made here")
@pytest.mark.skipif(SANDBOX == "off", reason="no sandbox works on this machine")
def test_a_container_without_an_init_has_no_zombies_after_a_run(world: World) -> None:
    bash = ScriptedReply(text="I look.", calls=(scripts.call("bash", command="sleep 60 & true"),))
    world.provide("anthropic", scripts.rules(code=(*[bash] * COMMANDS, scripts.write(), scripts.DONE)))
    run = world.command("run", "task.md", "--plan", "sonnet", "--format", "plain")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", FIRST, *run],
        cwd=world.repository,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["0", "0"], done.stdout + done.stderr
