"""The built-in providers: every row is complete and valid, and the merge of a user's tables over them."""

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


def test_its_wire_exists(profile: ProviderProfile) -> None:
    assert profile.wire in WIRES


def test_its_url_is_encrypted_or_local(profile: ProviderProfile) -> None:
    assert profile.base_url.startswith("https://") or is_loopback(profile.base_url)


def test_it_names_the_variables_and_the_page_of_its_key(profile: ProviderProfile) -> None:
    assert bool(profile.key_env) == bool(profile.key_page) == (profile.auth != "none")
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in profile.key_env)


def test_its_error_codes_map_to_provider_errors(profile: ProviderProfile) -> None:
    for name in profile.errors.values():
        assert issubclass(getattr(errors, name), ProviderError)


def test_no_two_providers_share_a_variable() -> None:
    names = [name for profile in BUILTIN.values() for name in profile.key_env]
    assert len(names) == len(set(names))


def test_both_endpoints_of_zai_have_the_same_errors() -> None:
    assert BUILTIN["zai"].errors == BUILTIN["zai-coding-plan"].errors


def test_a_sibling_inherits_what_it_does_not_set() -> None:
    block = {"like": "zai", "title": "Z.AI at work", "key_env": ["WORK_KEY"]}
    made = load_profiles({"work": block}, "config.toml")["work"]
    assert (made.title, made.key_env, made.host, made.errors) == (
        "Z.AI at work",
        ("WORK_KEY",),
        "api.z.ai",
        BUILTIN["zai"].errors,
    )


@pytest.mark.parametrize(
    ("like", "message"), [("zia", "unknown provider 'zia'"), ("zai-coding-plan", "has a `like` of its own")]
)
def test_a_sibling_must_be_a_provider_without_a_sibling(like: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_profiles({"work": {"like": like}}, "config.toml")


@pytest.mark.parametrize("name", ["", "a/b", "a\x1bb"])
def test_a_provider_name_that_no_route_can_contain_is_rejected(name: str) -> None:
    with pytest.raises(ConfigError, match="invalid provider name"):
        load_profiles({name: {"wire": "openai-chat", "base_url": "https://x.example"}}, "config.toml")


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"])
def test_a_key_is_sent_unencrypted_only_to_this_machine(url: str) -> None:
    block = {"wire": "openai-chat", "base_url": url}
    assert load_profiles({"acme": block}, "config.toml")["acme"].base_url == url
    with pytest.raises(ConfigError, match="would be sent unencrypted"):
        load_profiles({"acme": {**block, "base_url": "http://127.0.0.1.evil.example/v1"}}, "config.toml")
