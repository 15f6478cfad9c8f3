"""Costs of tokens, comparison of the served model with the requested one, and refreshes of the catalog."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.errors import BadReply
from autoroute.messages import Usage
from autoroute.providers.builtin import load_profiles
from autoroute.providers.catalog import Catalog
from autoroute.providers.catalog_refresh import convert_listing, save_listing
from autoroute.providers.prices import Prices
from autoroute.providers.served_model import is_same_model
from autoroute.routing import Route

PROFILES = load_profiles(
    {
        "mine": {"like": "qwen", "base_url": "https://x.example"},
        "bedrock-us": {"like": "bedrock", "region": "us-east-1"},
    },
    "config.toml",
)
CATALOG = Catalog(PROFILES)
PRICES = Prices(CATALOG, PROFILES)
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
MILLION = 1_000_000
TODAY = date(2026, 11, 23)


def route(name: str) -> Route:
    provider, _, model = name.partition("/")
    return Route(provider=provider, model=model, requested=name)


@pytest.mark.parametrize(
    ("name", "usage", "usd"),
    [
        ("anthropic/claude-opus-4-5", Usage(input=MILLION, output=MILLION), 30.0),
        ("anthropic/claude-opus-4-5", Usage(cache_read=MILLION), 0.5),
        ("anthropic/claude-opus-4-5", Usage(cache_write=MILLION), 6.25),
        ("zai/glm-4.7", Usage(input=MILLION, output=MILLION), 2.8),
        ("mine/qwen3.8-max", Usage(input=MILLION, output=MILLION, cache_read=MILLION), 8.25),
        ("zai-coding-plan/glm-4.7", Usage(input=MILLION), 0.0),
        ("ollama/anything", Usage(input=MILLION), 0.0),
        ("openrouter/nobody/nothing", Usage(input=MILLION), None),
        ("anthropic/claude-next", Usage(input=MILLION), None),
    ],
)
def test_the_cost_of_tokens(name: str, usage: Usage, usd: float | None) -> None:
    cost = PRICES.cost(route(name), usage, AT)
    assert cost == (None if usd is None else pytest.approx(usd))


def test_the_version_names_the_price_tables() -> None:
    assert "models.toml 2026-11-23" in PRICES.version


@pytest.mark.parametrize("facts", CATALOG.models, ids=lambda facts: f"{facts.provider}/{facts.id}")
def test_every_listed_model_has_a_price(facts: object) -> None:
    name = f"{facts.provider}/{facts.id}"  # type: ignore[attr-defined]
    assert PRICES.cost(route(name), Usage(input=1000, output=1000), AT) is not None


@pytest.mark.parametrize(
    ("name", "served", "same"),
    [
        ("anthropic/claude-opus-4-5", "claude-opus-4-5", True),
        ("anthropic/claude-opus-4-5", "claude-opus-4-5-20251101", True),
        ("anthropic/claude-opus-4-5", "claude-opus-4-6", False),
        ("anthropic/claude-opus-4-5", "claude-opus-4-5-fast", False),
        ("anthropic/claude-opus-4-5", "anthropic.claude-opus-4-5", False),
        ("bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929", True),
        ("bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-6", False),
        ("bedrock-us/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929", True),
        ("vertex/claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929", True),
        ("fireworks/glm-4p7", "accounts/fireworks/models/glm-4p7", True),
        ("openai/gpt-5.4", "gpt-5.4-2026-03-05", True),
        ("openai/gpt-5.4", "gpt-5.4-mini", False),
        ("google/gemini-4-argon", "models/gemini-4-argon", True),
        ("zai/glm-4.7", "GLM-4.7", True),
        ("zai/glm-4.7", "glm-4.5-air", False),
        ("zai/glm-4.7", "", True),
        ("openrouter/qwen/qwen3-coder-plus", "qwen/qwen3-coder-plus-20260101", True),
        ("openrouter/qwen/qwen3-coder-plus", "qwen/qwen3-coder", False),
    ],
)
def test_dated_and_prefixed_names_are_the_same_model(name: str, served: str, same: bool) -> None:
    assert is_same_model(CATALOG, route(name), served) is same


LISTING = {
    "zai": {"models": {"glm-4.7": {"tool_call": True, "cost": {"input": 1, "output": 2}, "limit": {"context": 5, "output": 6}}}},
    "moonshotai": {"models": {"kimi-new": {"tool_call": False}, "x\x1b": {}, "bad": {"cost": {"input": -1, "output": 0}}}},
}  # fmt: skip


def test_a_refreshed_table_adds_models_and_changes_facts_but_no_alias(tmp_path: Path) -> None:
    save_listing(tmp_path / "cache/models.json", convert_listing(LISTING, list(PROFILES), TODAY))
    catalog = Catalog(PROFILES, tmp_path / "cache/models.json")
    facts = catalog.resolve("glm-4.7").facts
    assert facts is not None
    assert facts.price is not None
    assert (facts.context, facts.price.input) == (5, 1)
    assert [model.id for model in catalog.models if model.id == "bad" or "\x1b" in model.id] == []
    new = catalog.resolve("moonshot/kimi-new").facts
    assert new is not None
    assert not new.tools
    assert catalog.aliases == CATALOG.aliases


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"as_of": "2020-01-01", "models": {}}', '{"as_of": "x", "models": {}}', '{"as_of": "2027-01-01", "models": {"zai": {"glm-4.7": {"context": "many"}}}}', "[" * 10_000],
)  # fmt: skip
def test_a_refreshed_table_that_is_old_or_broken_changes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.json").write_text(text)
    assert Catalog(PROFILES, tmp_path / "models.json").models == CATALOG.models


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["zai", "models", "cost", "limit", "x"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_any_listing_becomes_a_table_or_a_bad_reply(data: object) -> None:
    try:
        table = convert_listing(data, list(PROFILES), TODAY)
    except BadReply:
        return
    json.dumps(table)
