"""``autoroute profiles``: the list, the order of use, and logins that Claude Code handles itself."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoroute.errors import LimitReached
from autoroute.providers.cooldowns import Cooldowns
from autoroute.routing import Route
from tests.claude import fake_claude
from tests.commands.conftest import World

TOKEN = "sk-ant-oat01-canary"


@pytest.fixture
def profiles(world: World, tmp_path: Path) -> World:
    """A home with three profiles, of which one is logged in, and a double of the ``claude`` command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    code = Path(fake_claude.__file__).read_text(encoding="utf-8").partition("\n")[2]
    (folder / "claude").write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    (folder / "claude").chmod(0o755)
    world.environ["PATH"] = f"{folder}:{world.environ['PATH']}"
    for name in ("home", "work"):
        (world.home / ".claude-profiles" / name).mkdir(parents=True)
    login = {"claudeAiOauth": {"accessToken": TOKEN, "subscriptionType": "max"}}
    (world.home / ".claude-profiles/work/.credentials.json").write_text(json.dumps(login))
    return world


def names(world: World) -> list[str]:
    return [row["profile"] for row in json.loads(world.autoroute("profiles", "list", "--json").stdout)]


def test_without_a_subcommand_the_profiles_and_their_logins_are_listed(profiles: World) -> None:
    done = profiles.autoroute("profiles")
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines() == [
        f" 1  default        not logged in; log in: autoroute profiles login default  ({profiles.home}/.claude)",
        f" 2  home           not logged in; log in: autoroute profiles login home  ({profiles.home}/.claude-profiles/home)",
        f" 3  work           logged in, max  ({profiles.home}/.claude-profiles/work)",
    ]
    assert TOKEN not in done.stdout + done.stderr


def test_limits_are_listed_with_their_reset(profiles: World) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    cooldowns = Cooldowns(profiles.home / "state/autoroute/cooldowns", now)
    ahead = now() + timedelta(hours=3)
    for model, whole in (("claude-opus-4-5", False), ("claude-sonnet-5-5", True)):
        route = Route("claude", model, model, host="api.anthropic.com", account="work")
        cooldowns.record(route, LimitReached("spent", retry_at=ahead, limit="week", whole_account=whole))
    cooldowns.record(Route("zai", "glm-4.7", "glm", account="work"), LimitReached("other", retry_at=ahead))
    profiles.environ["TZ"] = "UTC"
    lines = profiles.autoroute("profiles").stdout.splitlines()
    assert lines[3:] == [
        f"                   limited until {ahead:%Y-%m-%d %H:%M} UTC (all models): spent",
        f"                   limited until {ahead:%Y-%m-%d %H:%M} UTC (claude-opus-4-5): spent",
    ]


def test_use_and_order_put_profiles_first_and_change_no_file_of_claude(profiles: World) -> None:
    before = {path: path.read_bytes() for path in profiles.home.rglob("*") if path.is_file() and ".claude" in str(path)}
    assert profiles.autoroute("profiles", "use", "work").stdout == "order: work, default, home\n"
    assert names(profiles) == ["work", "default", "home"]
    assert profiles.autoroute("profiles", "order", "home", "work").stdout == "order: home, work, default\n"
    assert names(profiles) == ["home", "work", "default"]
    assert {path: path.read_bytes() for path in before} == before
    profiles.configure({"claude": {"order": ["default"]}})
    done = profiles.autoroute("profiles", "use", "work")
    assert "the order setting in [claude] overrides this order: default" in done.stderr


@pytest.mark.parametrize("arguments", [("use", "wrok"), ("order", "work", "wrok"), ("logout", "wrok")])
def test_an_unknown_profile_is_rejected_with_similar_names(profiles: World, arguments: tuple[str, ...]) -> None:
    done = profiles.autoroute("profiles", *arguments)
    assert done.code == 78
    assert done.stderr.splitlines() == [
        "error: unknown Claude profile 'wrok'",
        "hint: did you mean work?",
    ]


def test_without_the_claude_command_the_profiles_are_still_listed(profiles: World) -> None:
    profiles.environ["PATH"] = "/usr/bin:/bin"
    done = profiles.autoroute("profiles")
    assert done.code == 78
    assert len(done.stdout.splitlines()) == 3
    assert "hint: install it: npm install -g @anthropic-ai/claude-code" in done.stderr


def typed(world: World, text: str, *arguments: str) -> tuple[int, str]:
    """Run a command at a terminal and type the text; return the exit code and all output."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        world.command("profiles", *arguments), cwd=world.repository, env=world.environ,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, text.encode())
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other end of the terminal is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    return running.wait(60), seen.decode()


@pytest.mark.parametrize(
    ("name", "folder"), [("home", ".claude-profiles/home"), ("new", ".claude-profiles/new"), ("default", ".claude")]
)
def test_a_login_runs_claude_code_on_the_terminal(profiles: World, name: str, folder: str) -> None:
    code, seen = typed(profiles, "sk-ant-oat01-new\n", "login", name)
    assert code == 0, seen
    assert f"paste the code for {profiles.home / folder}" in seen
    assert "sk-ant-oat01-new" in (profiles.home / folder / ".credentials.json").read_text()
    row = next(
        row for row in json.loads(profiles.autoroute("profiles", "list", "--json").stdout) if row["profile"] == name
    )
    assert row["logged_in"] is True
    code, _ = typed(profiles, "", "logout", name)
    assert code == 0
    assert not (profiles.home / folder / ".credentials.json").exists()


def test_a_login_needs_a_terminal(profiles: World) -> None:
    done = profiles.autoroute("profiles", "login", "home", stdin="sk-ant-oat01-new\n")
    assert (done.code, done.stdout) == (2, "")
    assert "in CI, set CLAUDE_CODE_OAUTH_TOKEN" in done.stderr
    assert not (profiles.home / ".claude-profiles/home/.credentials.json").exists()


def test_a_token_in_a_variable_cannot_be_logged_in_or_out(profiles: World) -> None:
    profiles.environ["CLAUDE_CODE_OAUTH_TOKEN"] = TOKEN
    assert names(profiles)[0] == "token"
    login, logout = profiles.autoroute("profiles", "login", "token"), profiles.autoroute("profiles", "logout", "token")
    assert (login.code, logout.code) == (2, 2)
    assert "hint: create a new token: claude setup-token" in login.stderr
    assert "hint: unset CLAUDE_CODE_OAUTH_TOKEN" in logout.stderr


@pytest.mark.parametrize("name", ["../x", ".hidden", "a\nb"])
def test_a_name_that_is_a_path_creates_no_profile(profiles: World, name: str) -> None:
    code, seen = typed(profiles, "", "login", name)
    assert code == 2, seen
    assert "invalid profile name" in seen


def test_claude_code_takes_no_key(profiles: World) -> None:
    done = profiles.autoroute("login", "claude", stdin="sk-ant-oat01-x\n")
    assert done.code == 2
    assert "hint: use autoroute profiles login" in done.stderr
    refused = profiles.autoroute("login", "anthropic", "--unproved", stdin="sk-ant-oat01-x\n")
    assert refused.code == 77
    assert "claude/MODEL" in refused.stderr
