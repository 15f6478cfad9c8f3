"""The Claude profiles that are found, their order, and that none of their files is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoroute.errors import ConfigError
from autoroute.providers.builtin import load_profiles
from autoroute.providers.claude_profiles import (
    ClaudeProfile,
    ClaudeSettings,
    discover_profiles,
    read_order,
    unknown_order_warnings,
    write_order,
)

TOKEN = "sk-ant-oat01-canary"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("beta", "alpha", ".hidden"):
        (tmp_path / "home/.claude-profiles" / name).mkdir(parents=True)
    (tmp_path / "home/.claude-profiles/a-file").write_text("")
    return tmp_path / "home"


def found(home: Path, settings: dict[str, Any] | None = None, **environ: str) -> list[ClaudeProfile]:
    made = ClaudeSettings.model_validate(settings or {})
    return list(discover_profiles(made, {"HOME": str(home), **environ}, home / "order.json"))


def labels(home: Path, settings: dict[str, Any] | None = None, **environ: str) -> list[str]:
    return [profile.label for profile in found(home, settings, **environ)]


def test_the_default_login_comes_first_then_the_profiles_by_name(home: Path) -> None:
    assert labels(home) == ["default", "alpha", "beta"]
    default, alpha, _ = found(home)
    assert default.config_dir is None, "CLAUDE_CONFIG_DIR stays unset: with it Claude Code would use another folder"
    assert alpha.config_dir == home / ".claude-profiles/alpha"


def test_tokens_and_folders_of_the_environment_come_before_the_default_login(home: Path, tmp_path: Path) -> None:
    profiles = found(
        home,
        CLAUDE_CODE_OAUTH_TOKEN=TOKEN,
        ANTHROPIC_AUTH_TOKEN=TOKEN,
        CLAUDE_CONFIG_DIR=str(tmp_path / ".claude-x"),
    )
    assert [profile.label for profile in profiles] == ["token", "auth-token", "claude-x", "default", "alpha", "beta"]
    assert [profile.token_as for profile in profiles[:2]] == ["CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"]
    assert TOKEN not in repr(profiles)


@pytest.mark.parametrize(
    "environ",
    [
        {"ANTHROPIC_AUTH_TOKEN": "a-key-of-zai"},
        {"ANTHROPIC_AUTH_TOKEN": "sk-ant-api03-a-key-that-pays"},
        {"ANTHROPIC_AUTH_TOKEN": TOKEN, "ANTHROPIC_BASE_URL": "https://api.z.ai/api/anthropic"},
        {"ANTHROPIC_AUTH_TOKEN": TOKEN, "ANTHROPIC_BASE_URL": "http://[broken"},
    ],
)
def test_a_token_of_a_gateway_is_not_a_claude_profile(home: Path, environ: dict[str, str]) -> None:
    assert labels(home, None, **environ) == ["default", "alpha", "beta"]


def test_a_folder_that_is_named_twice_is_one_profile(home: Path) -> None:
    alpha = str(home / ".claude-profiles/alpha")
    assert labels(home, CLAUDE_CONFIG_DIR=alpha) == ["alpha", "default", "beta"]
    assert labels(home, {"profiles": {"mine": {"config_dir": alpha}}}) == ["default", "mine", "beta"]
    assert labels(home, CLAUDE_CONFIG_DIR=str(home / ".claude")) == ["claude", "alpha", "beta"]


def test_configured_profiles_follow_and_order_comes_before_all(home: Path) -> None:
    settings: dict[str, Any] = {"profiles": {"ci": {"token_env": "CI_TOKEN"}, "beta": {"config_dir": "/srv/beta"}}}
    assert labels(home, settings) == ["default", "alpha", "beta-2", "ci", "beta"]
    assert labels(home, {**settings, "order": ["ci", "alpha"]}) == ["ci", "alpha", "default", "beta-2", "beta"]


def test_the_stored_order_applies_unless_the_settings_have_one(home: Path) -> None:
    write_order(home / "order.json", ["beta", "gone", "default"])
    assert labels(home) == ["beta", "default", "alpha"]
    assert labels(home, {"order": ["alpha"]}) == ["alpha", "default", "beta"]
    assert (home / "order.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '["a", 1]', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_an_unreadable_order_file_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "order.json").write_text(text, encoding="utf-8")
    assert read_order(tmp_path / "order.json") in ([], ["a"])


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"x": {}}, "set either config_dir or token_env"),
        ({"x": {"config_dir": "/a", "token_env": "B"}}, "set either config_dir or token_env"),
        ({"x": {"config_dir": "relative"}}, "is not an absolute path"),
        ({"a:b": {"token_env": "B"}}, "invalid profile name"),
        ({".a": {"token_env": "B"}}, "invalid profile name"),
    ],
)
def test_an_invalid_profile_table_is_rejected(profiles: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClaudeSettings.model_validate({"profiles": profiles})


def test_an_unknown_name_in_the_order_is_only_a_warning(home: Path) -> None:
    settings = ClaudeSettings.model_validate({"order": ["token", "beta"]})
    profiles = discover_profiles(settings, {"HOME": str(home)}, home / "order.json")
    assert [profile.label for profile in profiles] == ["beta", "default", "alpha"]
    (warning,) = unknown_order_warnings(settings, profiles)
    assert warning == "claude.order: unknown Claude profile 'token'; profiles: beta, default, alpha"


def test_an_unreadable_home_has_only_the_default_profile(tmp_path: Path) -> None:
    assert labels(tmp_path / "nowhere") == ["default"]


def test_no_file_of_a_profile_is_opened(home: Path) -> None:
    secret = home / ".claude-profiles/alpha/.credentials.json"
    secret.write_text("{}")
    secret.chmod(0o000)
    before = secret.stat()
    assert labels(home) == ["default", "alpha", "beta"]
    assert secret.stat().st_atime_ns == before.st_atime_ns


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        (
            "claude",
            {"base_url": "https://gateway.example"},
            "logins of Claude Code are sent only to https://api.anthropic.com",
        ),
        ("claude", {"runner": "native"}, "claude/ uses the logins of Claude Code, not a key"),
        ("claude", {"auth": "bearer", "key_env": ["X"]}, "claude/ uses the logins of Claude Code, not a key"),
        ("openai", {"runner": "claude-code"}, "requires the wire anthropic-messages, which openai does not use"),
        ("zai", {"logins": True}, "only a built-in provider can have logins"),
        ("zai", {"runner": "codex"}, "providers.zai.runner"),
    ],
)
def test_an_invalid_runner_is_rejected_with_its_key(name: str, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_profiles({name: table}, "config.toml")


def test_the_coding_plan_has_another_endpoint_for_claude_code() -> None:
    native = load_profiles({}, "c")["zai-coding-plan"]
    run = load_profiles({"zai-coding-plan": {"runner": "claude-code"}}, "c")["zai-coding-plan"]
    assert (native.wire, native.runner) == ("openai-chat", "native")
    assert (run.wire, run.base_url, run.billing) == ("anthropic-messages", "https://api.z.ai/api/anthropic", "plan")
    own = load_profiles({"zai-coding-plan": {"runner": "claude-code", "base_url": "http://127.0.0.1:1/x"}}, "c")
    assert own["zai-coding-plan"].base_url == "http://127.0.0.1:1/x"


def test_a_runner_is_not_inherited_from_a_sibling() -> None:
    profiles = load_profiles({"zai": {"runner": "claude-code"}}, "c")
    assert profiles["zai"].runner == "claude-code"
    assert {profiles[name].runner for name in ("zai-cn", "zai-coding-plan")} == {"native"}


def test_a_local_server_may_stand_in_for_the_vendor() -> None:
    profiles = load_profiles({"claude": {"base_url": "http://127.0.0.1:8080/claude"}}, "c")
    assert profiles["claude"].logins
