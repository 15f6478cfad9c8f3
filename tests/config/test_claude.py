"""``[claude]``, and which way a bare Claude model goes."""

from __future__ import annotations

import pytest

from autoroute.errors import ConfigError
from autoroute.routing import Phase
from tests.config.desk import Desk

OPUS = {"phases": {"plan": {"model": "opus-4.5"}}}


def planning(desk: Desk, model: str) -> tuple[str, str, str]:
    route = desk.load({"phases": {"plan": {"model": model}}}).config.phases[Phase.PLANNING].primary
    return route.name, route.account, route.runner


def test_a_bare_model_goes_by_a_login_where_there_is_one(desk: Desk) -> None:
    desk.ready = ["default"]
    assert planning(desk, "opus-4.5") == ("claude/claude-opus-4-5", "default", "claude-code")
    assert planning(desk, "claude-opus-4-5") == ("claude/claude-opus-4-5", "default", "claude-code")
    assert planning(desk, "anthropic/opus-4.5") == ("anthropic/claude-opus-4-5", "default", "native")
    assert planning(desk, "glm-4.7") == ("zai/glm-4.7", "default", "native")


@pytest.mark.parametrize("ready", [None, []])
def test_else_it_goes_by_key(desk: Desk, ready: list[str] | None) -> None:
    desk.ready = ready
    assert planning(desk, "opus-4.5") == ("anthropic/claude-opus-4-5", "default", "native")
    assert planning(desk, "claude/opus-4.5")[0] == "claude/claude-opus-4-5"


def test_the_first_login_that_is_good_begins(desk: Desk) -> None:
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
    settled = desk.load()
    assert (settled.claude.auto_switch, settled.claude.session_threshold, settled.claude.weekly_threshold) == (
        True,
        80,
        90,
    )
    assert settled.credentials.labels("claude") == ("default", "ci")
    assert [profile.label for profile in desk.opened[1]] == ["default", "ci"]


@pytest.mark.parametrize(
    "text", ["auto_switch = true", 'binary = "./claude"', '[claude.profiles.x]\nconfig_dir = "/x"']
)
def test_a_repository_has_no_say_in_it(desk: Desk, text: str) -> None:
    desk.project(f"[claude]\n{text}\n")
    with pytest.raises(ConfigError, match=r"autoroute.toml: claude\..* may not be set"):
        desk.load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auto_switch = 1", r"config.toml: claude.auto_switch"),
        ("session_threshold = 0.0", r"config.toml: claude.session_threshold"),
        ("weekly_threshold = 101.0", r"config.toml: claude.weekly_threshold"),
        ("auto = true", r"claude.auto: no such setting"),
        ('order = ["nobody"]', r"claude.order: there is no Claude profile 'nobody'"),
    ],
)
def test_what_is_no_setting_is_told_with_its_place(desk: Desk, text: str, said: str) -> None:
    desk.user(f"[claude]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        desk.load()
