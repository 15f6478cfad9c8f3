"""The built-in providers: every row is complete, and fits the words that other rooms use."""

from __future__ import annotations

import re

import pytest

from autoroute import errors
from autoroute.errors import ConfigError, ProviderError
from autoroute.providers.builtin import is_loopback, load_profiles
from autoroute.routing import ProviderProfile
from autoroute.wire import WIRES

BUILTIN = load_profiles({}, "config.toml")


@pytest.fixture(params=list(BUILTIN))
def profile(request: pytest.FixtureRequest) -> ProviderProfile:
    return BUILTIN[request.param]


def test_it_speaks_a_wire_that_exists(profile: ProviderProfile) -> None:
    assert profile.wire in WIRES


def test_it_is_reached_safely(profile: ProviderProfile) -> None:
    assert profile.base_url.startswith("https://") or is_loopback(profile.base_url)


def test_it_says_where_its_key_comes_from(profile: ProviderProfile) -> None:
    assert bool(profile.key_env) == bool(profile.key_page) == (profile.auth != "none")
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in profile.key_env)


def test_its_own_error_codes_lead_to_errors_of_the_tree(profile: ProviderProfile) -> None:
    for name in profile.errors.values():
        assert issubclass(getattr(errors, name), ProviderError)


def test_no_two_providers_share_a_variable() -> None:
    names = [name for profile in BUILTIN.values() for name in profile.key_env]
    assert len(names) == len(set(names))


def test_both_endpoints_of_zai_speak_of_errors_alike() -> None:
    assert BUILTIN["zai"].errors == BUILTIN["zai-coding-plan"].errors


def test_a_sibling_takes_over_what_it_does_not_say() -> None:
    block = {"like": "zai", "title": "Z.AI at work", "key_env": ["WORK_KEY"]}
    made = load_profiles({"work": block}, "config.toml")["work"]
    assert (made.title, made.key_env, made.host, made.errors) == (
        "Z.AI at work",
        ("WORK_KEY",),
        "api.z.ai",
        BUILTIN["zai"].errors,
    )


@pytest.mark.parametrize(
    ("like", "words"), [("zia", "there is no provider 'zia'"), ("zai-coding-plan", "is itself like")]
)
def test_a_sibling_of_nobody(like: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_profiles({"work": {"like": like}}, "config.toml")


@pytest.mark.parametrize("name", ["", "a/b", "a\x1bb"])
def test_a_name_that_no_route_could_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a provider"):
        load_profiles({name: {"wire": "openai-chat", "base_url": "https://x.example"}}, "config.toml")


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"])
def test_a_key_may_go_in_the_clear_to_this_machine_only(url: str) -> None:
    block = {"wire": "openai-chat", "base_url": url}
    assert load_profiles({"acme": block}, "config.toml")["acme"].base_url == url
    with pytest.raises(ConfigError, match="in the clear"):
        load_profiles({"acme": {**block, "base_url": "http://127.0.0.1.evil.example/v1"}}, "config.toml")
