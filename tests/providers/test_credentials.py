"""Where a key comes from, and that nobody sees it."""

from __future__ import annotations

import copy
import pickle

import pytest

from autoroute.errors import ConfigError
from autoroute.providers.credentials import MissingKey, find_key
from autoroute.providers.profiles import load_profiles
from autoroute.routing import Secret

PROFILES = load_profiles({}, "config.toml")


def test_the_first_variable_that_is_set_is_used() -> None:
    both = {"ZAI_API_KEY": "canary-1", "ZHIPU_API_KEY": "canary-2"}
    for environ, source in ((both, "ZAI_API_KEY"), ({**both, "ZAI_API_KEY": " "}, "ZHIPU_API_KEY")):
        key = find_key(PROFILES["zai"], environ)
        assert isinstance(key, Secret)
        assert key.source == source
        assert key.reveal("https://api.z.ai/x") == environ[source]


def test_a_missing_key_says_what_was_looked_at() -> None:
    key = find_key(PROFILES["zai"], {"ANTHROPIC_API_KEY": "canary-a"})
    assert key == MissingKey("zai", "Z.AI", ("ZAI_API_KEY", "ZHIPU_API_KEY"), PROFILES["zai"].key_page)


def test_a_provider_without_keys_needs_none() -> None:
    assert find_key(PROFILES["ollama"], {}) is None


@pytest.mark.parametrize("value", ["canary key", "canary\nkey", "canaryé", "canary\x00"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ConfigError, match="ZAI_API_KEY") as caught:
        find_key(PROFILES["zai"], {"ZAI_API_KEY": value})
    assert "canary" not in str(caught.value)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("canary", origin="https://api.z.ai:443", source="ZAI_API_KEY")
    assert "canary" not in f"{secret} {secret!r} {[secret]}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)


@pytest.mark.parametrize("url", ["https://api.z.ai.evil.example/", "http://api.z.ai/", "https://api.z.ai:444/"])
def test_a_secret_goes_to_its_own_origin_only(url: str) -> None:
    secret = Secret("canary", origin="https://api.z.ai:443", source="ZAI_API_KEY")
    assert secret.reveal("https://API.z.ai:443/v1") == "canary"
    with pytest.raises(ConfigError):
        secret.reveal(url)
