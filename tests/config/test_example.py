"""``config.example.toml`` holds every setting there is, with its default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from autoroute.config.settings import LayerSettings, PhaseSettings, PhasesSettings
from autoroute.providers.accounts import KEY_SOURCES, load_accounts
from autoroute.providers.builtin import load_profiles
from autoroute.providers.claude_profiles import ClaudeSettings, ProfileSettings
from autoroute.routing import Clocks, Limits, ProviderProfile, Quirks, RecoverySettings, SandboxSettings
from tests.config.desk import Desk

TEXT = (Path(__file__).parents[2] / "config.example.toml").read_text(encoding="utf-8")
WITHOUT_MARKS = re.sub(r"^#: ", "", TEXT, flags=re.MULTILINE)


def table(*path: str) -> dict[str, Any]:
    found: Any = tomllib.loads(WITHOUT_MARKS)
    for part in path:
        found = found[part]
    assert isinstance(found, dict)
    return found


def test_as_it_stands_it_changes_nothing(desk: Desk) -> None:
    without = desk.load().config
    desk.user(TEXT)
    with_it = desk.load().config
    assert (with_it.limits, with_it.clocks, with_it.providers) == (without.limits, without.clocks, without.providers)
    assert (with_it.phases, with_it.recovery, with_it.gates) == (without.phases, without.recovery, without.gates)
    assert with_it.sandbox == without.sandbox


def test_no_setting_is_missing() -> None:
    assert set(table()) == set(LayerSettings.model_fields)
    assert set(table("phases")) == set(PhasesSettings.model_fields)
    for phase in table("phases"):
        assert set(table("phases", phase)) == set(PhaseSettings.model_fields)
    assert table("limits") == Limits().model_dump()
    assert table("clocks") == Clocks().model_dump()
    assert set(table("recovery")) == set(RecoverySettings.model_fields)
    assert RecoverySettings(**table("recovery")) == RecoverySettings()
    assert set(table("sandbox")) == set(SandboxSettings.model_fields)
    assert SandboxSettings(**table("sandbox")) == SandboxSettings()
    claude = {key: value for key, value in table("claude").items() if key != "profiles"}
    assert set(table("claude")) == set(ClaudeSettings.model_fields)
    assert set(table("claude", "profiles", "work")) == set(ProfileSettings.model_fields)
    assert ClaudeSettings(**claude) == ClaudeSettings()


def test_its_provider_shows_every_key_of_a_provider_and_loads() -> None:
    acme = table("providers", "acme")
    # Logins are no user's to give: see test_profiles.
    assert set(acme) == set(ProviderProfile.model_fields) - {"name", "logins"} | {*KEY_SOURCES, "accounts"}
    assert acme["quirks"] == Quirks().model_dump()
    profiles = load_profiles({"acme": acme}, "config.toml")
    assert profiles["acme"].models["large"] == "acme-large-2026-10"
    assert [account.label for account in load_accounts({"acme": acme}, profiles, "")["acme"]] == ["default", "work"]


def test_every_setting_says_why() -> None:
    settings = [line for line in TEXT.splitlines() if re.match(r"(#: )?\w+ = ", line)]
    assert [
        line
        for line in settings
        if not re.search(r"\S  +# \S", line) and "_EXHAUSTED" not in line and "-2026" not in line
    ] == []
