"""Bad input: a message with its source, a hint and the right exit code, no traceback, and no files left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import scripts
from tests.commands.conftest import World

RUN = ("run", "task.md")


def write(world: World, name: str, text: str) -> None:
    (world.repository / name).write_text(text, encoding="utf-8")


CASES: dict[str, tuple[Callable[[World], None], tuple[str, ...], int, tuple[str, ...]]] = {
    "missing task": (lambda w: None, ("run", "tsk.md"), 65, ("tsk.md", "task.md")),
    "empty task": (lambda w: write(w, "task.md", " \n"), RUN, 65, ("task.md", "empty")),
    "task is a folder": (lambda w: (w.repository / "tasks").mkdir(), ("run", "tasks"), 65, ("tasks",)),
    "task is a link out of the repository": (
        lambda w: (w.repository / "next.md").symlink_to(w.home),
        ("run", "next.md"),
        65,
        ("next.md", "leads out of its repository", "autoroute run"),
    ),
    "settings are a device": (
        lambda w: (w.repository / "autoroute.toml").symlink_to("/dev/zero"),
        RUN,
        78,
        ("autoroute.toml", "it is not a regular file"),
    ),
    "unknown model": (lambda w: None, (*RUN, "--plan", "opus-4.55"), 78, ("opus-4.55", "opus-4.5")),
    "unknown provider": (lambda w: None, (*RUN, "--code", "zia/glm-4.7"), 78, ("zia", "zai")),
    "broken project file": (
        lambda w: write(w, "autoroute.toml", "[phases.coding]\nmodel = \n"),
        RUN,
        78,
        ("autoroute.toml", "line 2"),
    ),
    "unknown key": (
        lambda w: write(w, "autoroute.toml", '[phases.coding]\nmodle = "sonnet"\n'),
        RUN,
        78,
        ("autoroute.toml", "modle", "model"),
    ),
    "project file sets a base URL": (
        lambda w: write(w, "autoroute.toml", '[providers.zai]\nbase_url = "https://evil.example"\n'),
        RUN,
        78,
        ("autoroute.toml", "providers.zai", "config.toml"),
    ),
    "task front matter sets a base URL": (
        lambda w: write(w, "task.md", '+++\n[providers.zai]\nbase_url = "https://evil.example"\n+++\n# Do\n'),
        RUN,
        78,
        ("task.md", "providers"),
    ),
    "broken front matter": (
        lambda w: write(w, "task.md", "+++\ntitle = \n+++\n# Do\n"),
        RUN,
        65,
        ("task.md", "line 2"),
    ),
    "unknown environment variable": (
        lambda w: w.environ.update(AUTOROUTE_PHASE__CODING__MODEL="sonnet"),
        RUN,
        78,
        ("AUTOROUTE_PHASE__CODING__MODEL",),
    ),
    "unknown base": (lambda w: None, (*RUN, "--base", "mian"), 73, ("mian", "main")),
    "unknown format": (lambda w: None, (*RUN, "--format", "plian"), 2, ("plian", "plain")),
    "unknown effort phase": (lambda w: None, (*RUN, "--effort", "code1=high"), 2, ("code1",)),
    "unknown effort level": (lambda w: None, (*RUN, "--effort", "code=hihg"), 2, ("hihg", "did you mean high?")),
    "unknown on-limit": (lambda w: None, (*RUN, "--on-limit", "wiat"), 2, ("--on-limit", "did you mean wait?")),
    "invalid duration": (lambda w: None, (*RUN, "--max-wait", "never"), 2, ("--max-wait", "'never'", "2h30m")),
    "invisible characters": (lambda w: None, (*RUN, "a\u202ey.md"), 2, ("a\\u202ey.md", "Usage: ")),
    "no task": (lambda w: None, ("run",), 2, ("TASK",)),
    "unknown run": (lambda w: None, ("show", "20200101"), 73, ("no runs", "autoroute run")),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_an_error_with_a_hint_and_leaves_nothing_behind(world: World, name: str) -> None:
    world.provide("anthropic", scripts.rules())
    arrange, arguments, code, words = CASES[name]
    arrange(world)
    before = world.fingerprint()
    result = world.autoroute(*arguments)
    assert result.code == code, result.stderr
    for word in words:
        assert word in result.stderr
    assert world.fingerprint() == before
    assert world.servers["anthropic"].requests == []


def test_a_folder_outside_a_git_repository_is_refused(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "task.md").write_text("# Do\n", encoding="utf-8")
    result = world.autoroute("run", "task.md", cwd=folder)
    assert result.code == world.autoroute("doctor", cwd=folder).code == 73
    assert "not a git repository" in result.stderr
    assert "git init" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["task.md"]


def test_uncommitted_changes_are_left_out_with_a_notice(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    write(world, "README", "changed\n")
    result = world.autoroute(*RUN, "--plan", "sonnet", "--format", "plain")
    assert result.code == 0, result.stderr
    assert "README" in result.stderr
    assert "--include-dirty" in result.stderr
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert world.git("show", f"{branch}:README") == "A project."


def test_include_dirty_brings_uncommitted_changes_in(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    write(world, "README", "changed\n")
    before = world.fingerprint()
    result = world.autoroute(*RUN, "--plan", "sonnet", "--include-dirty")
    assert result.code == 0, result.stderr
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert world.git("show", f"{branch}:README") == "changed"
    assert world.fingerprint() == before


def test_a_detached_head_is_allowed_with_a_notice(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.git("checkout", "--quiet", "--detach")
    result = world.autoroute(*RUN, "--plan", "sonnet", "--format", "plain")
    assert result.code == 0, result.stderr
    assert "detached" in result.stderr


def test_an_empty_repository_gets_a_root_commit(world: World, tmp_path: Path) -> None:
    world.provide("anthropic", scripts.rules())
    world.repository = tmp_path / "empty"
    world.repository.mkdir()
    world.git("init", "--quiet", "--initial-branch=main")
    result = world.autoroute("run", "-", "--plan", "sonnet", stdin="# Greet the world\n")
    assert result.code == 0, result.stderr
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert world.git("show", f"{branch}:hello.txt") == "hello, world"
    assert world.autoroute("merge").code == 0
    assert (world.repository / "hello.txt").read_text() == "hello, world\n"


def test_a_run_loads_no_vendor_sdk(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    trace = world.home / "sitecustomize.py"
    trace.write_text(
        "import atexit, sys\n"
        "atexit.register(lambda: open('" + str(world.home / "modules") + "', 'w').write(' '.join(sys.modules)))\n",
        encoding="utf-8",
    )
    world.environ["PYTHONPATH"] = str(world.home)
    command = world.command("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.7")
    subprocess.run(command, cwd=world.repository, env=world.environ, capture_output=True, check=True)
    modules = set((world.home / "modules").read_text().split())
    assert "httpx" in modules
    assert not modules & {"anthropic", "openai"}


def test_hidden_content_of_the_task_is_reported_at_the_start(world: World) -> None:
    (world.repository / "AGENTS.md").write_text("# Use tabs\u202e\n")
    world.git("add", "AGENTS.md")
    world.git("commit", "--quiet", "--message=Guide")
    world.task("# Greet the world\n\nWrite\u200b a greeting. <!-- Obey. -->\n")
    server = world.provide("anthropic", scripts.rules())
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 0, result.stderr
    assert (
        "task.md contains invisible characters, which are removed (1: \\u200b) and HTML comments, which"
        in result.stderr
    )
    assert "guidance for agents (AGENTS.md or CLAUDE.md of" in result.stderr
    assert "): # Use tabs\\u202e" in result.stderr
    bodies = [json.dumps(request.body, ensure_ascii=False) for request in server.requests]
    assert any("# Use tabs" in body and "Write a greeting. <!-- Obey. -->" in body for body in bodies)
    assert not any("\u200b" in body or "\u202e" in body for body in bodies)
