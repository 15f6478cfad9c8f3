"""What commits leave out, as whole commands show it: ignored files stop a subtask, files of commands are named."""

from __future__ import annotations

import json
import subprocess

import pytest

from autoroute.demo.script import ScriptedReply
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, World

SANDBOXES = list(dict.fromkeys((SANDBOX, "off")))
VERIFY = "python3 -B -c 'from lib import util; util.greet()'"
UTIL = "def greet():\n    return 'hello'\n"


def run(world: World, sandbox: str = SANDBOX, *flags: str) -> tuple[int, str]:
    done = world.autoroute("run", "task.md", "--plan", "sonnet", "--on-limit", "stop", "--sandbox", sandbox, *flags)
    return done.code, done.stdout + done.stderr


def bash(command: str) -> ScriptedReply:
    return ScriptedReply(text="I run it.", calls=(scripts.call("bash", command=command),))


def events(world: World, kind: str) -> list[dict[str, object]]:
    lines = (world.run_folder() / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]


def results(world: World, tool: str) -> list[str]:
    return [str(event["text"]) for event in events(world, "tool_ended") if event["name"] == tool]


def committed(world: World) -> list[str]:
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    return world.git("diff", "--name-only", "--diff-filter=d", "--no-renames", "main", branch).splitlines()


def prompts(world: World) -> list[str]:
    return [json.dumps(request.body) for request in world.servers["anthropic"].requests]


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize("source", ["repository", "user", "autoroute", "nested"])
def test_a_written_file_that_git_does_not_take_is_no_approval(world: World, source: str, sandbox: str) -> None:
    folder, code = "lib", [scripts.write(), scripts.write(UTIL, "lib/util.py")]
    if source == "repository":
        (world.repository / ".gitignore").write_text("build/\nlib/\n", encoding="utf-8")
        world.git("add", ".gitignore")
        world.git("commit", "--quiet", "--message=Ignore")
        reason = "git ignores it: lib/, line 2 of .gitignore"
    elif source == "user":
        excludes = world.home / "xdg/git/ignore"
        excludes.parent.mkdir(parents=True)
        excludes.write_text("lib/\n", encoding="utf-8")
        reason = "git ignores it: lib/, a rule of the user's own"
    elif source == "autoroute":
        folder, code = "node_modules", [scripts.write(), scripts.write(UTIL, "node_modules/util.py")]
        reason = "git ignores it: node_modules/, a rule of autoroute"
    else:
        code.insert(1, bash("git init --quiet lib && git -C lib commit --quiet --allow-empty --message=x"))
        reason = "it is in a git repository of its own, lib/"
    verify = VERIFY.replace("lib", folder)
    world.environ["AUTOROUTE_VERIFY__BASELINE"] = "false"  # the plan does not name what the command imports
    world.provide(
        "anthropic", scripts.rules(plan=scripts.plan(verify, whole=verify), code=(*code, scripts.DONE, scripts.DONE))
    )
    exit_code, said = run(world, sandbox)
    assert exit_code == 11
    assert f"warning: this file is not part of the change ({reason})" in results(world, "write")[-1]
    assert "files that were written are left out of the commit" in said
    assert f"{folder}/util.py: {reason}" in said
    assert "try another model" not in said
    assert any("git does not take these files that you wrote" in prompt for prompt in prompts(world))


def test_a_model_that_changes_the_ignore_rule_or_moves_the_file_goes_on(world: World) -> None:
    (world.repository / ".gitignore").write_text("lib/\nout/\n", encoding="utf-8")
    world.git("add", ".gitignore")
    world.git("commit", "--quiet", "--message=Ignore")
    code = (
        scripts.write(),
        scripts.write(UTIL, "lib/util.py"),
        scripts.write("x", "out/note.txt"),
        scripts.DONE,
        ScriptedReply(calls=(scripts.call("edit", path=".gitignore", old="lib/\n", new=""),)),
        bash("rm out/note.txt"),
        scripts.DONE,
    )
    world.environ["AUTOROUTE_VERIFY__BASELINE"] = "false"  # the plan does not name what the command imports
    world.provide("anthropic", scripts.rules(plan=scripts.plan(VERIFY, whole=VERIFY), code=code))
    exit_code, said = run(world)
    assert exit_code == 0, said
    assert committed(world) == [".gitignore", "hello.txt", "lib/util.py"]


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_what_commands_leave_is_named_and_not_committed(world: World, sandbox: str) -> None:
    leave = "echo x > .coverage; mkdir -p htmlcov build/obj; echo y > htmlcov/a.html; echo z > build/obj/a.o"
    code = (bash(leave), bash("true"), scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    exit_code, said = run(world, sandbox)
    assert exit_code == 0, said
    assert committed(world) == ["hello.txt"]
    first, second = results(world, "bash")
    assert "[new files: .coverage, build/, htmlcov/. The commit leaves them out unless you git add," in first
    assert "new files" not in second
    [event] = events(world, "files_left_out")
    assert event["paths"] == [".coverage", "build/", "htmlcov/"]
    assert "left out of the commit, made by commands: .coverage, build/, htmlcov/" in said
    assert "not in the commit: .coverage, build, htmlcov" in said
    assert "htmlcov" in prompts(world)[-1]
    receipt = json.loads((world.run_folder() / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["left_behind"] == [".coverage", "build", "htmlcov"]


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_new_file_is_committed_if_it_was_added_named_renamed_or_written(world: World, sandbox: str) -> None:
    (world.repository / "old.py").write_text("def old():\n    return 'a function that moves'\n", encoding="utf-8")
    world.git("add", "old.py")
    world.git("commit", "--quiet", "--message=Old")
    code = (
        bash("printf 'hello, world\\n' > hello.txt"),
        bash("mkdir pkg && git mv old.py pkg/new.py && echo '# moved' >> pkg/new.py"),
        bash("cat > added.py <<'END'\nX = 1\nEND\ngit add added.py; echo x > 'left out.log'"),
        scripts.write("Y = 2\n", "draft.py"),
        bash("mv draft.py pkg/final.py"),
        scripts.DONE,
    )
    world.provide("anthropic", scripts.rules(code=code))
    exit_code, said = run(world, sandbox)
    assert exit_code == 0, said
    assert committed(world) == ["added.py", "hello.txt", "pkg/final.py", "pkg/new.py"]
    assert [text.partition("[new files")[2].partition(".log")[0] for text in results(world, "bash")] == [
        *("", ""),
        ": left out",
        "",
    ]


def test_a_left_out_file_is_committed_once_a_later_round_names_it(world: World) -> None:
    named = scripts.review("rejected", problem="data.json is missing")
    code = (bash("echo 1 > hello.txt; echo '{}' > made.db"), scripts.write(), scripts.DONE)
    repair = (bash("echo '{}' > made.db; git add made.db"), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code, repair=repair, reviews=(named, scripts.review())))
    exit_code, said = run(world)
    assert exit_code == 0, said
    assert committed(world) == ["hello.txt", "made.db"]
    assert [event["paths"] for event in events(world, "files_left_out")] == [["made.db"]]


def test_a_subtask_for_which_only_commands_made_files_is_told_so(world: World) -> None:
    code = (bash("echo X > other.txt"), scripts.DONE, bash("git add other.txt"), scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(None), code=code))
    exit_code, said = run(world)
    assert exit_code == 0, said
    assert committed(world) == ["other.txt"]
    assert any("Only new files that your commands made differ from before" in prompt for prompt in prompts(world))


def test_a_repository_that_a_command_makes_is_named(world: World) -> None:
    code = (bash("git init --quiet inner && echo x > inner/file"), bash("true"), scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    exit_code, said = run(world)
    assert exit_code == 0, said
    first, second = results(world, "bash")
    assert "[new git repositories: inner/. Nothing that belongs to them is part of the change.]" in first
    assert "git repositories" not in second
    assert committed(world) == ["hello.txt"]
    subprocess.run(["git", "fsck"], cwd=world.repository, env=world.environ, check=True, capture_output=True)
