"""The model that each written name resolves to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.errors import ConfigError
from autoroute.providers.builtin import load_profiles
from autoroute.providers.catalog import Catalog, ModelFacts

PROFILES = load_profiles({}, "config.toml")
CATALOG = Catalog(PROFILES)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("opus-4.5", "anthropic/claude-opus-4-5"),
        ("claude-opus-4-5", "anthropic/claude-opus-4-5"),
        ("anthropic/opus-4.5", "anthropic/claude-opus-4-5"),
        ("glm-4.7", "zai/glm-4.7"),
        ("zai/glm-4.7", "zai/glm-4.7"),
        ("glm", "zai/glm-5.3"),
        ("zai-coding-plan/glm", "zai-coding-plan/glm-5.3"),
        ("openrouter/qwen/qwen3-coder-plus", "openrouter/qwen/qwen3-coder-plus"),
        ("openrouter/opus-4.5", "openrouter/opus-4.5"),
        ("ollama/qwen3-coder:30b", "ollama/qwen3-coder:30b"),
    ],
)
def test_a_written_name_resolves_to_its_model(written: str, name: str) -> None:
    resolved = CATALOG.resolve(written)
    assert f"{resolved.provider}/{resolved.id}" == name


@pytest.mark.parametrize("alias", list(CATALOG.aliases))
def test_every_alias_resolves_to_a_listed_model_of_a_built_in_provider(alias: str) -> None:
    resolved = CATALOG.resolve(alias)
    assert resolved.provider in PROFILES
    assert resolved.facts is not None


@pytest.mark.parametrize("facts", CATALOG.models, ids=lambda facts: f"{facts.provider}/{facts.id}")
def test_every_listed_model_resolves_to_itself(facts: ModelFacts) -> None:
    provider, id = facts.provider, facts.id
    assert provider in PROFILES
    assert CATALOG.resolve(f"{provider}/{id}").facts == facts
    assert "/" in id or CATALOG.resolve(id).id == id


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("opus-45", "did you mean opus-4.5"),
        ("glm4.7", "did you mean glm-4.7"),
        ("zai/", "zai/MODEL"),
        ("nobody/x", "known: anthropic"),
        ("", "write an alias, a model id, or provider/model"),
        ("two words", "write an alias"),
        ("x" * 500, "write an alias"),
    ],
)
def test_an_unknown_name_is_rejected_with_similar_names(written: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CATALOG.resolve(written)
    assert hint in caught.value.hint


def test_a_users_own_names_are_tried_first() -> None:
    blocks = {name: {"models": {"fast": f"{name}-fast"}} for name in ("zai", "openai")}
    catalog = Catalog(load_profiles(blocks, "config.toml"))
    assert catalog.resolve("zai/fast").id == "zai-fast"
    with pytest.raises(ConfigError) as caught:
        catalog.resolve("fast")
    assert caught.value.hint == "write zai/fast or openai/fast"
    mine = Catalog(load_profiles({"zai": {"models": {"opus-4.5": "glm-5.3"}}}, "config.toml"))
    assert mine.resolve("opus-4.5").id == "glm-5.3"


def test_a_sibling_has_the_same_models() -> None:
    catalog = Catalog(load_profiles({"glm-cn": {"like": "zai", "base_url": "https://x.example"}}, "config.toml"))
    assert catalog.resolve("glm-cn/glm").facts == CATALOG.resolve("glm").facts


@given(st.text(max_size=60))
def test_any_text_resolves_to_a_model_or_raises_a_config_error(written: str) -> None:
    try:
        resolved = CATALOG.resolve(written)
    except ConfigError:
        return
    assert resolved.id.isprintable()
