"""The environment of the process, whatever the shell contains, and the search for the ``claude`` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.claude.executable import find_executable, is_onboarded, login_command
from autoroute.claude.process_environment import (
    base_environment,
    conversation_environment,
    gateway_environment,
    login_environment,
)
from autoroute.errors import ConfigError, WorkspaceError
from autoroute.providers.builtin import load_profiles
from autoroute.providers.claude_profiles import ClaudeProfile
from autoroute.routing import Clocks, Secret, origin

PROFILES = load_profiles({"zai": {"runner": "claude-code"}, "anthropic": {"runner": "claude-code"}}, "test")
OWN = Path("/own")
SHELL = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "LC_ALL": "C",
    "HTTPS_PROXY": "http://proxy:3128",
    "ANTHROPIC_API_KEY": "canary-1",
    "ANTHROPIC_AUTH_TOKEN": "canary-2",
    "ANTHROPIC_BASE_URL": "https://elsewhere.example",
    "ANTHROPIC_MODEL": "glm-4.7",
    "ANTHROPIC_DEFAULT_OPUS_MODEL": "glm-4.7",
    "CLAUDE_CODE_OAUTH_TOKEN": "canary-3",
    "CLAUDE_CONFIG_DIR": "/home/me/.claude-other",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "CLAUDE_CODE_USE_VERTEX": "1",
    "ZAI_API_KEY": "canary-4",
    "AWS_SECRET_ACCESS_KEY": "canary-5",
    "NODE_OPTIONS": "--require /tmp/evil.js",
    "LD_PRELOAD": "/tmp/evil.so",
    "MY_TOKEN": "canary-6",
}
ACCOUNTS = {
    "the default login": (ClaudeProfile("default"), {}),
    "a folder": (
        ClaudeProfile("work", Path("/home/me/.claude-profiles/work")),
        {"CLAUDE_CONFIG_DIR": "/home/me/.claude-profiles/work"},
    ),
    "a token": (
        ClaudeProfile("ci", token_env="MY_TOKEN"),
        {"CLAUDE_CODE_OAUTH_TOKEN": "canary-6", "CLAUDE_CONFIG_DIR": "/own"},
    ),
    "a bearer token": (
        ClaudeProfile("auth-token", token_env="ANTHROPIC_AUTH_TOKEN", token_as="ANTHROPIC_AUTH_TOKEN"),
        {"ANTHROPIC_AUTH_TOKEN": "canary-2", "CLAUDE_CONFIG_DIR": "/own"},
    ),
}


def account_variables(environment: dict[str, str]) -> dict[str, str]:
    base = base_environment({})
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("ANTHROPIC_", "CLAUDE_")) and name not in base
    }


@pytest.mark.parametrize("name", list(ACCOUNTS))
def test_a_process_gets_its_own_login_and_no_other_account(name: str) -> None:
    login, expected = ACCOUNTS[name]
    made = login_environment(SHELL, login, OWN)
    assert account_variables(made) == expected
    canaries = {value for value in made.values() if "canary" in value}
    assert canaries <= set(expected.values())
    assert not {"NODE_OPTIONS", "LD_PRELOAD"} & set(made)
    assert (made["HTTPS_PROXY"], made["HOME"], made["LC_ALL"]) == ("http://proxy:3128", "/home/me", "C")


@pytest.mark.parametrize(("name", "variable", "other"), [
    ("zai", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
])  # fmt: skip
def test_a_gateway_gets_url_and_key_together_and_no_login(name: str, variable: str, other: str) -> None:
    profile = PROFILES[name]
    secret = Secret("the-key", origin=origin(profile.base_url), source="X")
    made = gateway_environment(SHELL, profile, "glm-4.7", secret, OWN)
    assert (made["ANTHROPIC_BASE_URL"], made[variable], made.get(other, "")) == (profile.base_url, "the-key", "")
    assert made["CLAUDE_CONFIG_DIR"] == "/own"
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in made
    assert {value for name, value in made.items() if name.endswith("_MODEL")} == {"glm-4.7"}
    assert not any("canary" in value for value in made.values())


def test_the_key_of_a_gateway_is_sent_only_to_its_own_url() -> None:
    secret = Secret("the-key", origin="https://other.example:443", source="X")
    with pytest.raises(ConfigError, match="belongs to"):
        gateway_environment(SHELL, PROFILES["zai"], "glm-4.7", secret, OWN)


def test_without_a_key_no_stored_login_is_sent_instead() -> None:
    made = gateway_environment(SHELL, PROFILES["zai"], "m", None, OWN)
    assert made["ANTHROPIC_AUTH_TOKEN"] == "none"


@given(st.dictionaries(st.from_regex(r"(ANTHROPIC|CLAUDE)_[A-Z_]{1,20}", fullmatch=True), st.text(), max_size=8))
def test_no_claude_variable_of_the_shell_is_passed_on(shell: dict[str, str]) -> None:
    made = login_environment(shell, ClaudeProfile("default"), OWN)
    assert made == login_environment({}, ClaudeProfile("default"), OWN)


def test_claude_code_does_not_retry_or_select_other_models() -> None:
    profile = PROFILES["claude"]
    made = conversation_environment({}, profile, Clocks(turn=60.0), Path("/cache"), 1234)
    assert (made["CLAUDE_CODE_MAX_RETRIES"], made["CLAUDE_CODE_NO_MODEL_FALLBACK"]) == ("0", "1")
    assert (made["API_TIMEOUT_MS"], made["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]) == ("60000", "1234")
    assert "ANTHROPIC_BASE_URL" not in made, "a login is sent where Claude Code sends it"


def program(folder: Path, name: str = "claude", code: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return path


def test_the_command_is_searched_on_the_path_and_in_the_install_folders(tmp_path: Path) -> None:
    home, own = tmp_path / "home", tmp_path / "own"
    environ = {"HOME": str(home), "PATH": "/nowhere"}
    with pytest.raises(ConfigError, match="claude command not found"):
        find_executable("", environ, own)
    local = program(home / ".local/bin")
    assert find_executable("", environ, own).path == local
    on_path = program(tmp_path / "bin")
    assert find_executable("", {**environ, "PATH": str(tmp_path / "bin")}, own).path == on_path
    named = program(tmp_path / "opt", "claude-next")
    assert find_executable(str(named), {**environ, "PATH": str(tmp_path / "bin")}, own).path == named
    with pytest.raises(ConfigError, match=r"claude\.binary: .* is not an executable file"):
        find_executable(str(tmp_path), environ, own)


def test_a_command_on_a_relative_path_of_a_repository_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    for path in (".", f".{os.pathsep}", ""):
        with pytest.raises(ConfigError, match="claude command not found"):
            find_executable("", {"HOME": str(tmp_path), "PATH": path}, tmp_path / "own")


STATUSES = {
    "logged in": (
        'print(\'{"loggedIn": true, "authMethod": "claude.ai", "planTier": "max_20x"}\')',
        (True, "plan", "max_20x"),
    ),
    "Console": ('print(\'{"loggedIn": true, "authMethod": "console"}\')', (True, "usage", "")),
    "not": ("print('{\"loggedIn\": false}'); raise SystemExit(1)", (False, "plan", "")),
    "no JSON": ("print('hello')", (False, "plan", "")),
    "no object": ("print('[]')", (False, "plan", "")),
    "hostile": ('print(\'{"loggedIn": "yes", "planTier": "\\\\u001b[2J", "email": 7}\')', (False, "plan", "")),
}


@pytest.mark.parametrize("name", list(STATUSES))
def test_the_state_of_a_login_is_what_claude_code_reports(tmp_path: Path, name: str) -> None:
    code, expected = STATUSES[name]
    (tmp_path / ".claude").mkdir()
    path = program(tmp_path / "bin", code=code)
    found = find_executable(str(path), {"HOME": str(tmp_path)}, tmp_path / "own").login_status(ClaudeProfile("default"))
    assert (found.logged_in, found.billing, found.plan) == expected
    assert bool(found.problem) == (name in ("no JSON", "no object"))


def test_claude_code_is_not_started_for_a_login_without_a_folder(tmp_path: Path) -> None:
    path = program(tmp_path / "bin", code="raise AssertionError('it was started')")
    found = find_executable(str(path), {"HOME": str(tmp_path)}, tmp_path / "own")
    for login in (ClaudeProfile("default"), ClaudeProfile("work", tmp_path / "work")):
        assert (found.login_status(login).logged_in, found.login_status(login).problem) == (False, "")


def test_an_unwritable_state_folder_is_an_error_with_its_path(tmp_path: Path) -> None:
    path = program(tmp_path / "bin")
    (tmp_path / ".claude").mkdir()
    (tmp_path / "own").write_text("")
    with pytest.raises(WorkspaceError, match=r"cannot create folder .*own"):
        find_executable(str(path), {"HOME": str(tmp_path)}, tmp_path / "own").login_status(ClaudeProfile("default"))


def test_the_first_start_is_complete_if_claude_codes_own_file_says_so(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    work = ClaudeProfile("work", tmp_path / "work")
    (tmp_path / "work").mkdir()
    assert not is_onboarded(work, environ)
    for text, expected in (("{", False), ("[]", False), ("{}", False), ('{"hasCompletedOnboarding": true}', True)):
        (tmp_path / "work/.claude.json").write_text(text)
        assert is_onboarded(work, environ) is expected
    assert not is_onboarded(ClaudeProfile("default"), environ)
    (tmp_path / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": True}))
    assert is_onboarded(ClaudeProfile("default"), environ)
    assert is_onboarded(ClaudeProfile("ci", token_env="X"), environ)


def test_the_command_to_log_in_again_is_exact() -> None:
    environ = {"HOME": "/home/me"}
    assert login_command(ClaudeProfile("default"), environ) == "claude auth login"
    assert login_command(ClaudeProfile("w", Path("/home/me/.claude-profiles/w")), environ) == (
        "CLAUDE_CONFIG_DIR=/home/me/.claude-profiles/w claude auth login"
    )
    assert login_command(ClaudeProfile("ci", token_env="CI_TOKEN"), environ) == (
        "claude setup-token, then set CI_TOKEN to the token that it prints"
    )


def test_the_copy_in_the_agent_sdks_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = program(tmp_path / "site/claude_agent_sdk/_bundled")
    (tmp_path / "site/claude_agent_sdk/__init__.py").write_text("raise AssertionError('it is not imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find_executable("", {"HOME": str(tmp_path), "PATH": "/nowhere"}, tmp_path / "own").path == bundled
