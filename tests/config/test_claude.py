"""The settings ``[claude]``, and whether a model without a provider uses a login or an API key."""

from __future__ import annotations

import json
import sys

import pytest

from autoroute.errors import ConfigError
from autoroute.routing import Phase, Route, Secret
from tests.config.desk import Desk

OPUS = {"phases": {"plan": {"model": "opus-4.5"}}}


def planning(desk: Desk, model: str) -> tuple[str, str, str]:
    route = desk.load({"phases": {"plan": {"model": model}}}).config.phases[Phase.PLANNING].primary
    return route.name, route.account, route.runner


def test_a_model_without_a_provider_uses_a_login_if_there_is_one(desk: Desk) -> None:
    desk.ready = ["default"]
    assert planning(desk, "opus-4.5") == ("claude/claude-opus-4-5", "default", "claude-code")
    assert planning(desk, "claude-opus-4-5") == ("claude/claude-opus-4-5", "default", "claude-code")
    assert planning(desk, "anthropic/opus-4.5") == ("anthropic/claude-opus-4-5", "default", "native")
    assert planning(desk, "glm-4.7") == ("zai/glm-4.7", "default", "native")


@pytest.mark.parametrize("ready", [None, []])
def test_a_model_without_a_provider_uses_the_api_key_if_there_is_no_login(desk: Desk, ready: list[str] | None) -> None:
    desk.ready = ready
    assert planning(desk, "opus-4.5") == ("anthropic/claude-opus-4-5", "default", "native")
    assert planning(desk, "claude/opus-4.5")[0] == "claude/claude-opus-4-5"


def test_the_first_usable_login_is_chosen(desk: Desk) -> None:
    for name in ("alpha", "beta"):
        (desk.folder / "home/.claude-profiles" / name).mkdir(parents=True)
    desk.ready = ["beta", "alpha"]
    assert planning(desk, "opus-4.5")[1] == "alpha"
    desk.environ["AUTOROUTE_CLAUDE__ORDER"] = "beta"
    assert planning(desk, "opus-4.5")[1] == "beta"
    desk.ready = []
    assert planning(desk, "claude/opus-4.5")[1] == "beta", "preflight says what it lacks"


def test_settings_are_read_from_every_trusted_layer(desk: Desk) -> None:
    desk.ready = []
    desk.user('[claude]\nsession_threshold = 80.0\n[claude.profiles.ci]\ntoken_env = "CI_TOKEN"\n')
    desk.environ |= {"AUTOROUTE_CLAUDE__AUTO_SWITCH": "true", "AUTOROUTE_CLAUDE__WEEKLY_THRESHOLD": "90"}
    resolved = desk.load()
    assert (resolved.claude.auto_switch, resolved.claude.session_threshold, resolved.claude.weekly_threshold) == (
        True,
        80,
        90,
    )
    assert resolved.credentials.labels("claude") == ("default", "ci")
    assert [profile.label for profile in desk.opened[1]] == ["default", "ci"]


def test_a_key_command_does_not_get_the_token_of_a_login(desk: Desk) -> None:
    names = ["CI_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"]
    desk.environ |= {name: f"canary-{name}" for name in names}
    program = "import os; print('leak' if any('canary' in value for value in os.environ.values()) else 'none-at-all-0')"
    desk.user(
        f"[claude.profiles.ci]\ntoken_env = 'CI_TOKEN'\n[providers.zai]\n"
        f"key_command = {json.dumps([sys.executable, '-c', program])}\n"
    )
    credentials = desk.load().credentials
    found = credentials.find_for_account("zai", "default")
    assert isinstance(found, Secret)
    assert found.redact("none-at-all-0") == "[redacted]"
    assert all(credentials.redactor.contains_key(f"canary-{name}") for name in names)


@pytest.mark.parametrize(
    "text", ["auto_switch = true", 'binary = "./claude"', '[claude.profiles.x]\nconfig_dir = "/x"']
)
def test_a_repository_cannot_set_anything_of_claude(desk: Desk, text: str) -> None:
    desk.project(f"[claude]\n{text}\n")
    with pytest.raises(ConfigError, match=r"autoroute.toml: claude\..* may not be set"):
        desk.load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auto_switch = 1", r"config.toml: claude.auto_switch"),
        ("session_threshold = 0.0", r"config.toml: claude.session_threshold"),
        ("weekly_threshold = 101.0", r"config.toml: claude.weekly_threshold"),
        ("auto = true", r"claude.auto: unknown setting"),
        ("profiles.x.config_dir = 'relative'", r"config.toml: claude.profiles.x: relative is not an absolute path"),
        ("profiles.x = {}", r"config.toml: claude.profiles.x: set either config_dir or token_env"),
    ],
)
def test_an_invalid_setting_is_an_error_that_names_it(desk: Desk, text: str, said: str) -> None:
    desk.user(f"[claude]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        desk.load()


def test_the_claude_provider_cannot_have_accounts_with_keys(desk: Desk) -> None:
    desk.user('[providers.claude.accounts.work]\nkey_env = ["X"]\n')
    with pytest.raises(ConfigError, match="its accounts are logins") as caught:
        desk.load()
    assert caught.value.hint == "configure a login as [claude.profiles.NAME]"


def test_an_unknown_profile_in_the_order_is_a_notice_if_a_login_is_used(desk: Desk) -> None:
    desk.user('[claude]\norder = ["nobody"]\n')
    desk.ready = []
    assert desk.load({"phases": {"plan": {"model": "glm-4.7"}, "code": {"model": "glm-4.7"}}}).notices == ()
    assert (
        "claude.order: unknown Claude profile 'nobody'; profiles: default"
        in desk.load({"phases": {"plan": {"model": "claude/opus-4.5"}}}).notices
    )


def test_a_login_of_unknown_state_is_preferred_to_the_api_key(desk: Desk) -> None:
    desk.ready = []
    desk.unsure = ["default"]
    assert planning(desk, "opus-4.5")[0] == "claude/claude-opus-4-5"


def test_a_model_mapping_of_the_user_applies_to_logins_too(desk: Desk) -> None:
    desk.user('[providers.anthropic.models]\nbig = "claude-opus-4-5"\n')
    desk.ready = ["default"]
    assert planning(desk, "big")[0] == "claude/claude-opus-4-5"


def resume(desk: Desk, written: str, before: str, account: str = "default") -> tuple[str, str]:
    """Return the route of planning in a resumed run that had ``before``."""
    provider, _, model = before.partition("/")
    route = Route(provider, model, written, account=account)
    loaded = desk.load({"phases": {"plan": {"model": written}}}, before={Phase.PLANNING: route})
    primary = loaded.config.phases[Phase.PLANNING].primary
    return primary.name, primary.account


def test_a_resumed_run_keeps_its_login_unless_the_user_chose_or_allowed_another(desk: Desk) -> None:
    for name in ("alpha", "beta"):
        (desk.folder / "home/.claude-profiles" / name).mkdir(parents=True)
    opus = "claude/claude-opus-4-5"
    desk.ready = []
    assert resume(desk, "opus-4.5", opus, "alpha") == (opus, "alpha"), "no key"
    desk.ready = ["beta"]
    assert resume(desk, "opus-4.5", opus, "alpha") == (opus, "alpha"), "no other login"
    assert resume(desk, "claude/opus-4.5", opus, "alpha") == (opus, "alpha")
    desk.environ["AUTOROUTE_CLAUDE__ORDER"] = "beta"
    assert resume(desk, "opus-4.5", opus, "alpha") == (opus, "beta"), "the user has put it first"
    del desk.environ["AUTOROUTE_CLAUDE__ORDER"]
    desk.environ["AUTOROUTE_CLAUDE__AUTO_SWITCH"] = "true"
    assert resume(desk, "opus-4.5", opus, "alpha") == (opus, "beta"), "the user has allowed it"
    desk.ready = ["default"]
    by_key = "anthropic/claude-opus-4-5"
    assert resume(desk, "opus-4.5", by_key) == (by_key, "default"), "nor does a login take over from a key"


def test_fallbacks_and_other_models_of_a_resumed_run_keep_its_login(desk: Desk) -> None:
    (desk.folder / "home/.claude-profiles/alpha").mkdir(parents=True)
    (desk.folder / "home/.claude-profiles/beta").mkdir(parents=True)
    desk.ready = ["beta"]
    had = {Phase.PLANNING: Route("claude", "claude-opus-4-5", "opus-4.5", account="alpha")}
    flags = {"phases": {"plan": {"model": "claude/sonnet", "fallback": ["opus-4.5"]}}}
    routing = desk.load(flags, before=had).config.phases[Phase.PLANNING]
    assert [(route.name, route.account) for route in (routing.primary, *routing.fallbacks)] == [
        ("claude/claude-sonnet-5-5", "alpha"),
        ("claude/claude-opus-4-5", "alpha"),
    ]


def test_a_missing_login_of_a_resumed_run_is_an_error_unless_the_user_put_another_first(desk: Desk) -> None:
    (desk.folder / "home/.claude-profiles/beta").mkdir(parents=True)
    desk.ready = ["beta"]
    opus = "claude/claude-opus-4-5"
    with pytest.raises(ConfigError, match="the Claude Code profile 'token' of this run no longer exists") as caught:
        resume(desk, "opus-4.5", opus, "token")
    assert caught.value.hint == "restore it, or choose another one: autoroute profiles use beta"
    desk.environ["AUTOROUTE_CLAUDE__ORDER"] = "beta"
    assert resume(desk, "opus-4.5", opus, "token") == (opus, "beta")


def test_a_login_that_pays_per_token_replaces_another_only_with_allow_paid(desk: Desk) -> None:
    for name in ("alpha", "beta"):
        (desk.folder / "home/.claude-profiles" / name).mkdir(parents=True)
    opus = "claude/claude-opus-4-5"
    desk.ready, desk.paid = ["beta"], ["beta"]
    desk.environ["AUTOROUTE_CLAUDE__AUTO_SWITCH"] = "true"
    assert resume(desk, "opus-4.5", opus, "alpha")[1] != "beta"
    desk.environ["AUTOROUTE_RECOVERY__ALLOW_PAID"] = "true"
    assert resume(desk, "opus-4.5", opus, "alpha") == (opus, "beta")
