"""``config.example.toml`` has every setting with its default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from autoroute.config.settings import LayerSettings, PhaseSettings, PhasesSettings
from autoroute.providers.accounts import KEY_SOURCES, load_accounts
from autoroute.providers.builtin import load_profiles
from autoroute.providers.claude_profiles import ClaudeSettings, ProfileSettings
from autoroute.routing import (
    Clocks,
    Limits,
    ProviderProfile,
    Quirks,
    RecoverySettings,
    SandboxSettings,
    WorkspaceSettings,
)
from tests.config.desk import Desk

TEXT = (Path(__file__).parents[2] / "config.example.toml").read_text(encoding="utf-8")
UNCOMMENTED = re.sub(r"^#: ", "", TEXT, flags=re.MULTILINE)


def table(*path: str) -> dict[str, Any]:
    found: Any = tomllib.loads(UNCOMMENTED)
    for part in path:
        found = found[part]
    assert isinstance(found, dict)
    return found


def test_the_example_itself_changes_no_setting(desk: Desk) -> None:
    without = desk.load().config
    desk.user(TEXT)
    with_it = desk.load().config
    assert (with_it.limits, with_it.clocks, with_it.providers) == (without.limits, without.clocks, without.providers)
    assert (with_it.phases, with_it.recovery, with_it.gates) == (without.phases, without.recovery, without.gates)
    assert with_it.sandbox == without.sandbox


def test_the_example_has_every_setting_with_its_default() -> None:
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
    assert table("workspace") == WorkspaceSettings().model_dump()
    claude = {key: value for key, value in table("claude").items() if key != "profiles"}
    assert set(table("claude")) == set(ClaudeSettings.model_fields)
    assert set(table("claude", "profiles", "work")) == set(ProfileSettings.model_fields)
    assert ClaudeSettings(**claude) == ClaudeSettings()


def test_the_example_provider_has_every_key_and_loads() -> None:
    acme = table("providers", "acme")
    # A user cannot set logins: see tests/providers/test_builtin.py.
    assert set(acme) == set(ProviderProfile.model_fields) - {"name", "logins"} | {*KEY_SOURCES, "accounts"}
    assert acme["quirks"] == Quirks().model_dump()
    profiles = load_profiles({"acme": acme}, "config.toml")
    assert profiles["acme"].models["large"] == "acme-large-2026-10"
    assert [account.label for account in load_accounts({"acme": acme}, profiles, "")["acme"]] == ["default", "work"]


def test_every_setting_has_a_comment() -> None:
    settings = [line for line in TEXT.splitlines() if re.match(r"(#: )?\w+ = ", line)]
    assert [
        line
        for line in settings
        if not re.search(r"\S  +# \S", line) and "_EXHAUSTED" not in line and "-2026" not in line
    ] == []
