"""Submodules, as whole commands show them: they are there, read-only, and named where they are missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from autoroute.demo.script import ScriptedReply
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, World

RUN = ("run", "task.md", "--plan", "sonnet", "--sandbox", SANDBOX)
VERIFY = (
    "python3 -B -c \"import sys; sys.path.insert(0, 'vendor/lib'); import amounts; assert open('hello.txt').read()\""
)


def add_library(world: World) -> Path:
    """Give the project the submodule vendor/lib, as a clone of the user has it."""
    library = world.home / "library"
    library.mkdir()
    (library / "amounts.py").write_text("X = 1\n", encoding="utf-8")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=Begin")):
        subprocess.run(["git", *words], cwd=library, env=world.environ, check=True)
    world.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/lib")
    world.git("commit", "--quiet", "--message=Add vendor/lib")
    return library


def events(world: World, kind: str) -> list[dict[str, object]]:
    lines = (world.run_folder() / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]


def check_merged(world: World) -> None:
    """Merge the run; the same command passes, and git finds nothing to complain of."""
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    world.git("merge", "--quiet", branch)
    subprocess.run(["sh", "-c", VERIFY], cwd=world.repository, env=world.environ, check=True)
    assert world.git("status", "--porcelain") == "?? task.md"
    assert world.git("fsck") == ""


def test_verify_commands_find_the_submodule(world: World) -> None:
    library = add_library(world)
    shutil.rmtree(library)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(VERIFY, whole=VERIFY)))
    result = world.autoroute(*RUN)
    assert result.code == 0, result.stderr
    check_merged(world)
    bodies = [json.dumps(request.body) for request in world.servers["anthropic"].requests]
    assert sum("Submodules are read-only: vendor/lib." in body for body in bodies) >= 5


def test_a_file_of_a_submodule_is_not_written_and_the_model_is_told(world: World) -> None:
    add_library(world)
    code = (scripts.write("X = 2\n", "vendor/lib/amounts.py"), scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(VERIFY, whole=VERIFY), code=code))
    result = world.autoroute(*RUN)
    assert result.code == 0, result.stderr
    [refused] = [event for event in events(world, "tool_ended") if event["is_error"]]
    assert "is in the submodule vendor/lib, which is read-only" in str(refused["text"])
    assert events(world, "submodules_restored") == []


def test_what_a_command_changes_in_a_submodule_is_undone_and_told_to_model_qa_and_user(world: World) -> None:
    add_library(world)
    change = ScriptedReply(calls=(scripts.call("bash", command="echo 'X = 2' > vendor/lib/amounts.py"),))
    code = (change, scripts.write(), scripts.DONE, scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(VERIFY, whole=VERIFY), code=code))
    result = world.autoroute(*RUN)
    assert result.code == 0, result.stderr
    [event] = events(world, "submodules_restored")
    assert event["changed"] == ["vendor/lib/amounts.py"]
    assert "submodules are read-only: changes there were undone: vendor/lib/amounts.py" in result.stdout + result.stderr
    bodies = [json.dumps(request.body) for request in world.servers["anthropic"].requests]
    assert any("Your commands changed submodules" in body for body in bodies)
    assert "Changes of these paths in them were undone" in bodies[-1]
    check_merged(world)


def test_a_missing_submodule_is_named_by_doctor_and_run(world: World) -> None:
    add_library(world)
    world.git("submodule", "--quiet", "deinit", "--force", "vendor/lib")
    shutil.rmtree(world.repository / ".git/modules")
    world.provide("anthropic", scripts.rules())
    words = "submodule vendor/lib: it is not initialized in your checkout, so the folder is empty in this run"
    mend = "git submodule update --init --recursive -- vendor/lib"
    doctor = world.autoroute("doctor", "--plan", "sonnet")
    assert f"{words} ({mend})" in " ".join(doctor.stdout.split())
    result = world.autoroute(*RUN)
    assert result.code == 0, result.stderr
    assert f"{words} ({mend})" in result.stderr
    bodies = [json.dumps(request.body) for request in world.servers["anthropic"].requests]
    assert sum("These submodules are missing, so their folders are empty: vendor/lib." in body for body in bodies) >= 5
