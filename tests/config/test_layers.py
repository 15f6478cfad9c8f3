"""Layers of settings: their order, what each may set, and errors that name the source and what to do."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.errors import AutorouteError, ConfigError
from autoroute.routing import Phase, Secret
from tests.config.desk import Desk

LAYERS = ["user", "project", "task", "environment", "flag"]


def set_in(desk: Desk, layer: str, model: str) -> dict[str, dict[str, dict[str, str]]]:
    """Set the model of coding in one layer, and return the flags, which are empty for any other layer."""
    text = f'[phases.coding]\nmodel = "{model}"\n'
    match layer:
        case "user":
            desk.user(text)
        case "project":
            desk.project(text)
        case "task":
            desk.task(text)
        case "environment":
            desk.environ["AUTOROUTE_PHASES__CODING__MODEL"] = model
        case "flag":
            return {"phases": {"code": {"model": model}}}
    return {}


@pytest.mark.parametrize("winner", range(len(LAYERS)))
def test_later_layers_win(desk: Desk, winner: int) -> None:
    flags: dict[str, Any] = {}
    for number, layer in enumerate(LAYERS[: winner + 1]):
        flags = set_in(desk, layer, f"zai/acme-{number}") or flags
    config = desk.load(flags).config
    assert config.phases[Phase.CODING].primary.name == f"zai/acme-{winner}"
    place = {
        "user": str(desk.user_file),
        "project": "autoroute.toml",
        "task": "task.md",
        "environment": "AUTOROUTE_PHASES__CODING__MODEL",
        "flag": "--code",
    }[LAYERS[winner]]
    assert config.sources["phases.coding.model"] == place


def test_layers_merge_key_by_key(desk: Desk) -> None:
    desk.user('[phases.coding]\nmodel = "opus-4.5"\neffort = "high"\n[limits]\nmax_rounds = 2\n')
    desk.project('[phases.coding]\nmodel = "opus-4.6"\n[limits]\nmax_attempts = 1\n')
    config = desk.load().config
    route = config.phases[Phase.CODING].primary
    assert (route.model, route.effort) == ("claude-opus-4-6", "high")
    assert (config.limits.max_rounds, config.limits.max_attempts) == (2, 1)


def test_without_settings_every_phase_uses_sonnet(desk: Desk) -> None:
    config = desk.load().config
    assert {routing.primary.requested for routing in config.phases.values()} == {"sonnet"}
    assert set(config.sources.values()) == {"default"}


def test_spec_and_qa_follow_planning_and_coding_does_not(desk: Desk) -> None:
    phases = desk.load({"phases": {"plan": {"model": "opus-4.5", "effort": "high"}}}).config.phases
    assert {phase.value: routing.primary.requested for phase, routing in phases.items()} == {
        "spec": "opus-4.5",
        "planning": "opus-4.5",
        "coding": "sonnet",
        "qa": "opus-4.5",
    }
    assert phases[Phase.QA].primary.effort == "high"


def test_a_setting_of_qa_overrides_the_one_of_planning(desk: Desk) -> None:
    flags = {"phases": {"plan": {"model": "opus-4.5", "effort": "high"}, "qa": {"effort": "low"}}}
    phases = desk.load(flags).config.phases
    assert (phases[Phase.QA].primary.requested, phases[Phase.QA].primary.effort) == ("opus-4.5", "low")
    flags = {"phases": {"plan": {"model": "opus-4.5", "effort": "high"}, "qa": {"model": "glm-4.7"}}}
    assert desk.load(flags).config.phases[Phase.QA].primary.name == "zai/glm-4.7"


def test_one_task_file_may_use_several_providers(desk: Desk) -> None:
    desk.task(
        '[phases]\nspec = { model = "haiku" }\nplanning = { model = "opus-4.5" }\n'
        'code = { model = "glm-4.7", fallback = ["deepseek/deepseek-v4-pro"] }\nqa = { model = "gpt" }\n'
    )
    config = desk.load().config
    assert [routing.primary.provider for routing in config.phases.values()] == [
        "anthropic",
        "anthropic",
        "zai",
        "openai",
    ]
    assert [route.name for route in config.phases[Phase.CODING].fallbacks] == ["deepseek/deepseek-v4-pro"]
    assert set(config.providers) == {"anthropic", "zai", "openai", "deepseek"}


def test_each_provider_gets_its_own_key_only(desk: Desk) -> None:
    desk.environ |= {"ANTHROPIC_API_KEY": "canary-a", "ZAI_API_KEY": "canary-z", "OPENAI_API_KEY": "canary-o"}
    resolved = desk.load({"phases": {"plan": {"model": "opus-4.5"}, "code": {"model": "glm-4.7"}}})
    keys = {phase: resolved.credentials.find(routing.primary) for phase, routing in resolved.config.phases.items()}
    coder, planner = keys[Phase.CODING], keys[Phase.PLANNING]
    assert isinstance(coder, Secret)
    assert isinstance(planner, Secret)
    assert coder.reveal("https://api.z.ai/api/anthropic/v1/messages") == "canary-z"
    assert planner.reveal("https://api.anthropic.com/v1/messages") == "canary-a"
    with pytest.raises(ConfigError, match=r"belongs to https://api\.z\.ai:443"):
        coder.reveal("https://api.anthropic.com/v1/messages")
    assert "canary-" not in repr((resolved, keys))


def test_a_table_of_the_user_changes_a_built_in_provider_key_by_key(desk: Desk) -> None:
    desk.user(
        '[providers.zai]\nbase_url = "https://open.bigmodel.cn/api/anthropic"\n[phases.coding]\nmodel = "glm-4.7"'
    )
    profile = desk.load().config.providers["zai"]
    assert profile.host == "open.bigmodel.cn"
    assert (profile.title, profile.auth, profile.errors["1113"]) == ("Z.AI", "bearer", "Billing")


@pytest.mark.parametrize("place", ["project", "task"])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[providers.zai]\nbase_url = "https://evil.example"', "providers.zai.base_url"),
        ('[providers.new]\nwire = "openai-chat"\nbase_url = "https://evil.example"', "providers.new.wire"),
        ('[providers.zai]\nkey_env = ["GITHUB_TOKEN"]', "providers.zai.key_env"),
        ("[clocks]\nidle = 100000.0", "clocks.idle"),
    ],
)
def test_a_file_of_the_repository_cannot_redirect_a_key(desk: Desk, place: str, text: str, key: str) -> None:
    getattr(desk, place)(text)
    with pytest.raises(ConfigError) as caught:
        desk.load()
    assert key in caught.value.message
    assert ("autoroute.toml" if place == "project" else "task.md") in caught.value.message
    assert str(desk.user_file) in caught.value.hint


def test_a_repository_may_lower_limits_but_not_raise_them(desk: Desk) -> None:
    desk.user("[limits]\nmax_rounds = 2")
    desk.project("[limits]\nmax_rounds = 1")
    assert desk.load().config.limits.max_rounds == 1
    desk.project("[limits]\nmax_rounds = 3")
    with pytest.raises(ConfigError, match=r"autoroute\.toml: limits\.max_rounds = 3 exceeds your own limit of 2"):
        desk.load()


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("[phases.coding]\nmodle = 'x'", "phases.coding.modle: unknown setting", "did you mean model?"),
        ("[limits]\nrounds = 3", "limits.rounds: unknown setting", "max_rounds"),
        ("[phasez]\n", "phasez: unknown setting", "phases"),
        ("[limits]\nmax_rounds = 0", "limits.max_rounds should be greater than or equal to 1, not 0", ""),
        ("[limits]\nmax_rounds = 'three'", "limits.max_rounds should be a valid integer, not 'three'", ""),
        ("[phases.coding]\neffort = 'huge'", "phases.coding.effort", ""),
        ("[phases.coding]\nmodel = 3", "phases.coding.model should be a valid string, not 3", ""),
        ("phases = 3", "phases should be", ""),
        ("[phases.plan]\nmodel='opus'\n[phases.planning]\nmodel='opus'", "the same phase", ""),
        ("[phases.coding]\nmodel = 'opus-4.55'", "coding: unknown model 'opus-4.55'", "did you mean opus-4.5"),
        ("[phases.coding]\nmodel = 'zia/glm-4.7'", "unknown provider 'zia'", "did you mean zai"),
        ('[phases.coding]\nmodel = "glm\\u001b[31m"', "invalid model name", ""),
        ("a = 1\nb = = 2", "line 2", ""),
        ("[providers.zai]\nwire = 'gopher'", "providers.zai.wire", ""),
        (
            "[providers.acme]\nwire = 'openai-chat'",
            "providers.acme.base_url: required for a provider that is not built in",
            "",
        ),
        ("[providers.zai]\nbase_urls = 'x'", "providers.zai.base_urls: unknown key", ""),
        ("[providers.zai]\nbase_url = 'ftp://x'", "invalid URL 'ftp://x'", ""),
        ("[providers.zai]\nbase_url = 'http://api.z.ai'", "the key would be sent unencrypted", "https"),
        ("[providers.zai]\nbase_url = 'https://me:pw@api.z.ai'", "must not have a user, password", ""),
    ],
)
def test_an_invalid_setting_is_an_error_with_its_file_and_a_hint(desk: Desk, text: str, words: str, hint: str) -> None:
    desk.user(text)
    with pytest.raises(ConfigError) as caught:
        desk.load()
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert str(desk.user_file) in caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTOROUTE_FAST", "1"),
        ("AUTOROUTE_PHASES__CODING", "glm-4.7"),
        ("AUTOROUTE_PHASES__CODING__MODLE", "glm-4.7"),
        ("AUTOROUTE_PROVIDERS__ZAI__BASE_URL", "https://evil.example"),
        ("AUTOROUTE_LIMITS__MAX_ROUNDS", "many"),
    ],
)
def test_an_invalid_variable_is_an_error_that_names_it(desk: Desk, name: str, value: str) -> None:
    desk.environ[name] = value
    with pytest.raises(ConfigError, match=f"{name}"):
        desk.load()


def test_variables_can_hold_numbers_and_lists(desk: Desk) -> None:
    desk.environ |= {"AUTOROUTE_LIMITS__MAX_ROUNDS": "1", "AUTOROUTE_PHASES__QA__FALLBACK": "glm-4.7, openai/gpt-x"}
    config = desk.load().config
    assert config.limits.max_rounds == 1
    assert [route.name for route in config.phases[Phase.QA].fallbacks] == ["zai/glm-4.7", "openai/gpt-x"]


def test_a_settings_file_that_is_named_explicitly_must_exist(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="settings file not found"):
        desk.load(user_file=desk.folder / "none.toml")
    desk.environ["AUTOROUTE_CONFIG"] = str(desk.folder / "none.toml")
    with pytest.raises(ConfigError, match="settings file not found"):
        desk.load()


def test_a_huge_file_and_a_deeply_nested_one_are_refused(desk: Desk) -> None:
    desk.user("# " + "x" * 300_000)
    with pytest.raises(ConfigError, match=r"longer than 256 KiB"):
        desk.load()
    desk.user("a = " + "[" * 10_000 + "]" * 10_000)
    with pytest.raises(ConfigError, match="nested too deep"):
        desk.load()


def test_an_unsupported_effort_is_dropped_with_a_notice(desk: Desk) -> None:
    resolved = desk.load({"phases": {"code": {"model": "glm-4.7", "effort": "high"}}})
    assert resolved.config.phases[Phase.CODING].primary.effort == ""
    assert "coding: zai/glm-4.7 does not support effort 'high'; none is sent" in resolved.notices


def test_a_key_in_a_file_that_others_can_read_is_refused_with_the_chmod_to_run(desk: Desk) -> None:
    desk.user('[providers.zai]\napi_key = "canary"')
    desk.user_file.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        desk.load()
    assert caught.value.hint == f"chmod 600 {desk.user_file}"
    assert "canary" not in caught.value.message
    desk.user_file.chmod(0o600)
    assert desk.load().credentials.labels("zai") == ("default",)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_content_of_a_file_is_valid_or_raises_an_error_of_ours(desk: Desk, content: str | bytes) -> None:
    path: Path = desk.user_file
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with suppress(AutorouteError):
        desk.load()


@pytest.mark.parametrize(
    "key",
    [
        "sk-" + "ant-api03-Zq8vN1xR5tB7wK3mJ9pL2sD4fG6hY0cVbQ_aW-eR8tUoPiAsDfGhJkLzXcVbNm1234",
        "sk-" + "proj-Zq8vN1xR5tB7wK3mJ9pL2sD4fG6hY0cVbQ_aW-eR8tUoPiAsDfGhJkLzXcVbNm",
        "9f8e7d6c5b4a39281706f5e4d3c2b1a0.kLmNoPqRsTuVwXyZ",
        "gsk" + "_Wq3Zr8Tn5Lb1Vc7Xk9Jm2Hd4Gf6Ps0YaEuWq3Zr8Tn5Lb1Vc7Xk9",
    ],
)
@pytest.mark.parametrize("form", ["{}", "openrouter/{}", "zai/{}"])
def test_a_key_in_place_of_a_model_is_neither_shown_nor_used(desk: Desk, key: str, form: str) -> None:
    desk.environ = {"ZAI_API_KEY": key}
    with pytest.raises(ConfigError) as caught:
        desk.load(flags={"phases": {"coding": {"model": form.format(key)}}})
    assert caught.value.message == "--code: coding: this is a key, not a model"
    assert "autoroute login" in caught.value.hint


@pytest.mark.parametrize(
    "model", ["zai/glm-4.7", "openrouter/qwen/qwen3-coder-480b-a35b-instruct", "openai/ft:gpt-4.1:acme::B1x2Y3z4"]
)
def test_the_id_of_a_model_is_not_taken_for_a_key(desk: Desk, model: str) -> None:
    assert (
        desk.load(flags={"phases": {"coding": {"model": model}}}).config.phases[Phase.CODING].primary.requested == model
    )
