"""What the process may know, whatever the shell holds, and where the program is looked for."""

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
    gateway_environment,
    login_environment,
    plain_environment,
    working_environment,
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


def of_an_account(environment: dict[str, str]) -> dict[str, str]:
    quiet = plain_environment({})
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("ANTHROPIC_", "CLAUDE_")) and name not in quiet
    }


@pytest.mark.parametrize("name", list(ACCOUNTS))
def test_a_login_is_the_only_account_of_its_process(name: str) -> None:
    login, expected = ACCOUNTS[name]
    made = login_environment(SHELL, login, OWN)
    assert of_an_account(made) == expected
    canaries = {value for value in made.values() if "canary" in value}
    assert canaries <= set(expected.values())
    assert not {"NODE_OPTIONS", "LD_PRELOAD"} & set(made)
    assert (made["HTTPS_PROXY"], made["HOME"], made["LC_ALL"]) == ("http://proxy:3128", "/home/me", "C")


@pytest.mark.parametrize(("name", "variable", "other"), [
    ("zai", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
])  # fmt: skip
def test_a_gateway_has_address_and_key_together_and_no_login(name: str, variable: str, other: str) -> None:
    profile = PROFILES[name]
    secret = Secret("the-key", origin=origin(profile.base_url), source="X")
    made = gateway_environment(SHELL, profile, "glm-4.7", secret, OWN)
    assert (made["ANTHROPIC_BASE_URL"], made[variable], made.get(other, "")) == (profile.base_url, "the-key", "")
    assert made["CLAUDE_CONFIG_DIR"] == "/own"
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in made
    assert {value for name, value in made.items() if name.endswith("_MODEL")} == {"glm-4.7"}
    assert not any("canary" in value for value in made.values())


def test_a_gateways_key_goes_to_its_own_address_alone() -> None:
    secret = Secret("the-key", origin="https://other.example:443", source="X")
    with pytest.raises(ConfigError, match="belongs to"):
        gateway_environment(SHELL, PROFILES["zai"], "glm-4.7", secret, OWN)


def test_without_a_key_no_stored_login_is_sent_in_its_place() -> None:
    made = gateway_environment(SHELL, PROFILES["zai"], "m", None, OWN)
    assert made["ANTHROPIC_AUTH_TOKEN"] == "none"


@given(st.dictionaries(st.from_regex(r"(ANTHROPIC|CLAUDE)_[A-Z_]{1,20}", fullmatch=True), st.text(), max_size=8))
def test_no_variable_of_these_names_comes_from_the_shell(shell: dict[str, str]) -> None:
    made = login_environment(shell, ClaudeProfile("default"), OWN)
    assert made == login_environment({}, ClaudeProfile("default"), OWN)


def test_retries_and_other_models_are_not_the_programs_to_decide() -> None:
    profile = PROFILES["claude"]
    made = working_environment({}, profile, Clocks(turn=60.0), Path("/cache"), 1234)
    assert (made["CLAUDE_CODE_MAX_RETRIES"], made["CLAUDE_CODE_NO_MODEL_FALLBACK"]) == ("0", "1")
    assert (made["API_TIMEOUT_MS"], made["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]) == ("60000", "1234")
    assert "ANTHROPIC_BASE_URL" not in made, "a login goes where the program sends it"


def program(folder: Path, name: str = "claude", words: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{words}")
    path.chmod(0o755)
    return path


def test_the_program_is_looked_for_where_it_may_be(tmp_path: Path) -> None:
    home, own = tmp_path / "home", tmp_path / "own"
    environ = {"HOME": str(home), "PATH": "/nowhere"}
    with pytest.raises(ConfigError, match="there is no claude command"):
        find_executable("", environ, own)
    local = program(home / ".local/bin")
    assert find_executable("", environ, own).path == local
    on_path = program(tmp_path / "bin")
    assert find_executable("", {**environ, "PATH": str(tmp_path / "bin")}, own).path == on_path
    named = program(tmp_path / "opt", "claude-next")
    assert find_executable(str(named), {**environ, "PATH": str(tmp_path / "bin")}, own).path == named
    with pytest.raises(ConfigError, match=r"claude\.binary: .* is no program"):
        find_executable(str(tmp_path), environ, own)


def test_what_a_repository_has_on_a_relative_path_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    for path in (".", f".{os.pathsep}", ""):
        with pytest.raises(ConfigError, match="there is no claude command"):
            find_executable("", {"HOME": str(tmp_path), "PATH": path}, tmp_path / "own")


STATUSES = {
    "logged in": (
        'print(\'{"loggedIn": true, "authMethod": "claude.ai", "planTier": "max_20x"}\')',
        (True, "plan", "max_20x"),
    ),
    "by Console": ('print(\'{"loggedIn": true, "authMethod": "console"}\')', (True, "usage", "")),
    "not": ("print('{\"loggedIn\": false}'); raise SystemExit(1)", (False, "plan", "")),
    "no JSON": ("print('hello')", (False, "plan", "")),
    "no object": ("print('[]')", (False, "plan", "")),
    "hostile": ('print(\'{"loggedIn": "yes", "planTier": "\\\\u001b[2J", "email": 7}\')', (False, "plan", "")),
}


@pytest.mark.parametrize("name", list(STATUSES))
def test_a_login_is_what_the_program_says_of_it(tmp_path: Path, name: str) -> None:
    words, expected = STATUSES[name]
    (tmp_path / ".claude").mkdir()
    path = program(tmp_path / "bin", words=words)
    found = find_executable(str(path), {"HOME": str(tmp_path)}, tmp_path / "own").status(ClaudeProfile("default"))
    assert (found.logged_in, found.billing, found.plan) == expected
    assert bool(found.complaint) == (name in ("no JSON", "no object"))


def test_where_nobody_ever_logged_in_the_program_is_not_asked(tmp_path: Path) -> None:
    path = program(tmp_path / "bin", words="raise AssertionError('it was started')")
    found = find_executable(str(path), {"HOME": str(tmp_path)}, tmp_path / "own")
    for login in (ClaudeProfile("default"), ClaudeProfile("work", tmp_path / "work")):
        assert (found.status(login).logged_in, found.status(login).complaint) == (False, "")


def test_a_state_folder_that_cannot_be_written_is_told_with_its_place(tmp_path: Path) -> None:
    path = program(tmp_path / "bin")
    (tmp_path / ".claude").mkdir()
    (tmp_path / "own").write_text("")
    with pytest.raises(WorkspaceError, match=r"own.* cannot be made"):
        find_executable(str(path), {"HOME": str(tmp_path)}, tmp_path / "own").status(ClaudeProfile("default"))


def test_a_first_start_is_one_mark_in_the_programs_own_file(tmp_path: Path) -> None:
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


def test_the_command_that_mends_a_login_is_the_exact_one() -> None:
    environ = {"HOME": "/home/me"}
    assert login_command(ClaudeProfile("default"), environ) == "claude auth login"
    assert login_command(ClaudeProfile("w", Path("/home/me/.claude-profiles/w")), environ) == (
        "CLAUDE_CONFIG_DIR=/home/me/.claude-profiles/w claude auth login"
    )
    assert login_command(ClaudeProfile("ci", token_env="CI_TOKEN"), environ) == (
        "claude setup-token, and put what it prints into CI_TOKEN"
    )


def test_the_package_that_brings_the_program_along_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = program(tmp_path / "site/claude_agent_sdk/_bundled")
    (tmp_path / "site/claude_agent_sdk/__init__.py").write_text("raise AssertionError('it is not imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find_executable("", {"HOME": str(tmp_path), "PATH": "/nowhere"}, tmp_path / "own").path == bundled
