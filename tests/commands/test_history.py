from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import scripts
from tests.commands.conftest import World
from tests.render.hostile import residue
from tests.render.terminal import Terminal

RUN = ("run", "task.md", "--plan", "sonnet")


@pytest.fixture
def done(world: World) -> World:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN).code == 0
    return world


def test_runs_lists_the_runs_of_the_repository(done: World) -> None:
    result = done.autoroute("runs")
    assert result.code == 0
    assert "approved" in result.stdout
    assert "Greet the world" in result.stdout
    (listed,) = json.loads(done.autoroute("runs", "--json").stdout)
    assert listed["id"] == done.run_folder().name
    assert listed["state"] == "approved"


def test_runs_without_any_run_is_not_an_error(world: World) -> None:
    result = world.autoroute("runs")
    assert (result.code, result.stdout) == (0, "")
    assert "no runs" in result.stderr


def test_show_names_the_model_that_served_each_phase(done: World) -> None:
    shown = done.autoroute("show").stdout
    assert "anthropic/claude-sonnet-5-5 (requested as sonnet), served by claude-sonnet-5-5" in shown
    assert "passed  grep -q 'hello, world' hello.txt" in shown
    assert str(done.run_folder()) in shown
    assert json.loads(done.autoroute("show", "--json").stdout)["outcome"] == "approved"


def test_diff_prints_a_patch_that_applies(done: World) -> None:
    patch = done.autoroute("diff").stdout
    assert "+hello, world" in patch
    (done.home / "p").write_text(patch, encoding="utf-8")
    done.git("apply", "--check", str(done.home / "p"))


def test_merge_brings_the_commits_into_the_branch(done: World) -> None:
    result = done.autoroute("merge", done.run_folder().name[:12])
    assert result.code == 0, result.stderr
    assert (done.repository / "hello.txt").read_text() == "hello, world\n"
    assert done.git("merge-base", "--is-ancestor", f"autoroute/{done.run_folder().name}", "HEAD") == ""
    assert "is already merged into main" in done.autoroute("merge").stdout
    assert done.autoroute("discard", "latest", "--yes").code == 0
    assert done.git("branch", "--list", "autoroute/*") == ""


def test_discard_keeps_a_commit_that_the_run_did_not_create(done: World) -> None:
    name = done.run_folder().name
    done.git("checkout", "--quiet", f"autoroute/{name}")
    done.git("commit", "--quiet", "--allow-empty", "--message=Mine")
    done.git("checkout", "--quiet", "main")
    result = done.autoroute("discard", "latest", "--yes")
    assert result.code == 73
    assert f"git branch NAME autoroute/{name}" in " ".join(result.stderr.split())
    assert done.run_folder().exists()


def test_merge_warns_of_a_run_that_was_not_approved(world: World) -> None:
    world.provide("anthropic", scripts.rules(reviews=(scripts.review("rejected"),)))
    assert world.autoroute(*RUN).code == 10
    result = world.autoroute("merge")
    assert result.code == 0
    assert "not approved" in result.stderr


def test_a_merge_with_conflicts_changes_nothing(done: World) -> None:
    (done.repository / "hello.txt").write_text("mine\n")
    done.git("add", "hello.txt")
    done.git("commit", "--quiet", "--message=Mine")
    result = done.autoroute("merge")
    assert result.code == 73
    assert "conflicts with main in hello.txt; nothing was merged" in result.stderr
    assert (done.repository / "hello.txt").read_text() == "mine\n"


def test_discard_removes_branch_folder_and_workspace(world: World) -> None:
    world.provide("anthropic", scripts.rules(reviews=(scripts.review("rejected"),)))
    assert world.autoroute(*RUN).code == 10
    name = world.run_folder().name
    workspaces = world.home / "state/autoroute/workspaces"
    assert [path.name[:-9] for path in workspaces.iterdir()] == [name]

    asked = world.autoroute("discard", "latest")
    assert asked.code == 2
    assert f"autoroute discard {name} --yes" in asked.stderr
    assert world.run_folder().exists()

    assert world.autoroute("discard", "latest", "--yes").code == 0
    assert world.git("branch", "--list", "autoroute/*") == ""
    assert list(workspaces.glob("*")) == []
    assert list((world.repository / ".autoroute/runs").iterdir()) == []


def test_an_approved_run_leaves_no_workspace(done: World) -> None:
    assert list((done.home / "state/autoroute/workspaces").glob("*")) == []


def test_an_unknown_run_is_refused_with_a_similar_id(done: World) -> None:
    name = done.run_folder().name
    result = done.autoroute("show", name[:-1] + "x")
    assert result.code == 73
    assert name in result.stderr


@pytest.mark.parametrize("command", ["runs", "show", "diff", "merge"])
def test_outside_a_repository_every_command_says_so(world: World, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    result = world.autoroute(command, cwd=folder)
    assert result.code == 73
    assert "not a git repository" in result.stderr


def test_a_dry_run_shows_where_each_value_came_from_and_sends_no_paid_request(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    (world.repository / "autoroute.toml").write_text('[phases.coding]\nmodel = "glm-4.7"\n')
    world.environ["AUTOROUTE_PHASES__QA__MODEL"] = "haiku"
    result = world.autoroute(*RUN, "--dry-run")
    assert result.code == 0, result.stderr
    spec, planning, coding, qa = result.stdout.splitlines()[:4]
    assert spec.endswith("key from ANTHROPIC_API_KEY; --plan (follows planning)")
    assert planning.endswith("--plan")
    assert "zai/glm-4.7" in coding
    assert coding.endswith("key from ZAI_API_KEY; autoroute.toml")
    assert qa.endswith("AUTOROUTE_PHASES__QA__MODEL")
    assert "not tested yet" in result.stdout
    assert "based on defaults (no earlier runs here)" in result.stdout
    # Only free requests, which check the keys.
    assert {request.method for server in world.servers.values() for request in server.requests} == {"GET"}
    assert not (world.repository / ".autoroute").exists()


def test_escape_sequences_of_models_are_shown_and_not_sent_to_the_terminal(world: World) -> None:
    hostile = "\x1b]0;owned\x07\u202e\U000e0041\x9b2J\nfolder /elsewhere"
    world.provide(
        "anthropic",
        scripts.rules(
            plan=scripts.plan(verify="true # \x1b]0;owned\x07\u202e"),
            repair=(scripts.write(hostile), scripts.DONE),
            reviews=(scripts.review("rejected", problem=hostile),),
        ),
    )
    ran = world.autoroute(*RUN)
    assert ran.code == 10
    world.git("branch", "\u202etxt")
    world.git("checkout", "--quiet", "\u202etxt")
    shown = [world.autoroute(*command) for command in (("runs",), ("show",), ("merge",), ("diff",))]
    *said, patch = (result.stdout for result in shown)
    assert residue(ran.stdout + ran.stderr + "".join(said) + "".join(result.stderr for result in shown)) == []
    assert "\n    folder /elsewhere\n" in said[1]
    assert "\x1b]0;owned\x07" in patch  # a patch is bytes
    for command in ("runs", "show"):
        assert world.autoroute(command, "--json").stdout.isascii()


def test_a_patch_on_a_terminal_is_clean_whatever_its_size(tmp_path: Path) -> None:
    code = (
        "import sys; from autoroute.render.patch import show_patch; show_patch(sys.argv[1].encode() * int(sys.argv[2]))"
    )
    for lines in (1, 20_000):
        with Terminal(24, 80) as terminal:
            subprocess.run(
                [sys.executable, "-c", code, "+a \x1b]0;owned\x07 b\n", str(lines)], stdout=terminal.file, check=True
            )
        assert terminal.text.count("a \\x1b]0;owned\\x07 b") == lines
        assert residue(terminal.written.decode()) == []


@pytest.fixture
def auto_executed(world: World) -> World:
    """A world with a run whose change touches an auto-executed file."""
    script = scripts.rules(code=(scripts.write(), scripts.write("print('hi')\n", "conftest.py"), scripts.DONE))
    world.provide("anthropic", script)
    result = world.autoroute(*RUN)
    assert result.code == 0
    assert (
        "these files run automatically after a merge or checkout:\n  conftest.py (runs with the tests)\n"
        in result.stdout
    )
    return world


def test_auto_executed_files_are_named_to_qa_and_in_the_receipt(auto_executed: World) -> None:
    assert json.loads(auto_executed.autoroute("show", "--json").stdout)["auto_executed"] == {
        "conftest.py": "runs with the tests"
    }
    assert "runs automatically: conftest.py (runs with the tests)" in auto_executed.autoroute("show").stdout
    asked = [json.dumps(request.body) for request in auto_executed.servers["anthropic"].turns]
    assert any("submit_review" in body and "conftest.py (runs with the tests)" in body for body in asked)


def test_merge_asks_before_it_brings_in_an_auto_executed_file(auto_executed: World) -> None:
    head = auto_executed.git("rev-parse", "HEAD")
    refused = auto_executed.autoroute("merge")
    assert refused.code == 13
    assert "  conftest.py (runs with the tests)" in refused.stderr
    assert f"autoroute merge {auto_executed.run_folder().name} --yes" in refused.stderr
    assert auto_executed.git("rev-parse", "HEAD") == head
    assert auto_executed.autoroute("merge", "--yes").code == 0
    assert (auto_executed.repository / "conftest.py").exists()


def test_a_path_cannot_forge_a_row_of_the_question(auto_executed: World) -> None:
    folder = auto_executed.repository / "a\n  Makefile (runs never)"
    branch = f"autoroute/{auto_executed.run_folder().name}"
    auto_executed.git("checkout", "--quiet", branch)
    folder.mkdir()
    (folder / "conftest.py").write_text("")
    auto_executed.git("add", ".")
    auto_executed.git("commit", "--quiet", "--message=Forge")
    auto_executed.git("checkout", "--quiet", "main")
    rows = [line for line in auto_executed.autoroute("merge").stderr.splitlines() if line.startswith("  ")]
    assert rows == [
        "  a Makefile (runs never)/conftest.py (runs with the tests)",
        "  conftest.py (runs with the tests)",
    ]


TOKEN = "gh" + "p_" + "Zk4qT9vB2mXw7Lr5NcYh8PsDf3GjKa6RtUe1"


def test_a_secret_is_returned_to_the_model_and_not_committed(world: World) -> None:
    code = (scripts.write(f"hello, world {TOKEN}\n"), scripts.DONE, scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    result = world.autoroute(*RUN)
    assert result.code == 0
    assert "the files hold a secret: hello.txt:1: a GitHub token" in result.stdout + result.stderr
    asked = [json.dumps(request.body) for request in world.servers["anthropic"].turns]
    assert any("hello.txt:1: a GitHub token" in body for body in asked)
    assert TOKEN not in world.git("log", "--all", "-p") + result.stdout + result.stderr


def test_a_tool_call_with_a_redacted_key_is_not_run(world: World) -> None:
    key = "canary-anthropic-0123456789"
    code = (scripts.write(f"hello, world {key}\n"), scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    assert world.autoroute(*RUN).code == 0
    asked = [json.dumps(request.body) for request in world.servers["anthropic"].turns]
    assert any("not executed: this call contains one of the user's keys" in body for body in asked)
    change = world.git("log", "--all", "-p")
    assert "hello, world" in change
    assert "[redacted]" not in change
    assert key not in change


def test_a_remaining_secret_stops_the_run_until_the_user_accepts_it(world: World) -> None:
    code = (scripts.write(f"hello, world {TOKEN}\n"), scripts.DONE, scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    result = world.autoroute(*RUN)
    assert result.code == 11
    assert "hello.txt:1: a GitHub token" in result.stderr
    assert TOKEN not in result.stderr + result.stdout
    assert world.git("branch", "--list", "autoroute/*") == ""
    resumed = world.autoroute("resume", "--accept-secrets")
    assert resumed.code == 0, resumed.stderr
    assert TOKEN in world.git("log", "--all", "-p")


def test_a_run_continues_after_the_user_removed_the_secret(world: World) -> None:
    code = (scripts.write(f"hello, world {TOKEN}\n"), scripts.DONE, scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    assert world.autoroute(*RUN).code == 11
    (tree,) = (world.home / "state/autoroute/workspaces").glob("*/tree")
    (tree / "hello.txt").write_text("hello, world\n")
    resumed = world.autoroute("resume")
    assert resumed.code == 0, resumed.stderr
    assert TOKEN not in world.git("log", "--all", "-p")


def test_a_secret_in_uncommitted_files_is_accepted_with_the_suggested_command(world: World) -> None:
    (world.repository / ".env").write_text(f"TOKEN={TOKEN}\n")
    config = world.home / "other settings.toml"
    world.provide("anthropic", scripts.rules())
    (world.home / "config.toml").rename(config)
    named = ("--config", str(config))
    result = world.autoroute(*RUN, "--include-dirty", *named)
    assert result.code == 73
    assert "in your own uncommitted files" in result.stderr
    assert TOKEN not in result.stderr + result.stdout + world.git("log", "--all", "-p")
    command = f"autoroute resume {world.run_folder().name} --config '{config}' --accept-secrets"
    assert f"if it is not a secret: {command}; otherwise " in " ".join(result.stderr.split())
    resumed = world.autoroute("resume", *named, "--accept-secrets")
    assert resumed.code == 0, resumed.stderr
    assert TOKEN in world.git("log", "--all", "-p")


@pytest.mark.parametrize("journal", ["/dev/zero", "a pipe"])
def test_a_run_folder_from_the_repository_does_not_block_a_command(done: World, journal: str) -> None:
    planted = done.repository / ".autoroute/runs/99999999-000000-planted"
    planted.mkdir()
    if journal == "a pipe":
        os.mkfifo(planted / "events.jsonl")
    else:
        (planted / "events.jsonl").symlink_to(journal)
    listed = json.loads(done.autoroute("runs", "--json").stdout)
    assert [run["state"] for run in listed] == ["unreadable", "approved"]
    for command in ("show", "resume"):
        result = done.autoroute(command)
        assert result.code == 73
        assert "events.jsonl cannot be read: it is " in result.stderr
    assert done.autoroute(*RUN, "--dry-run").code == 0
