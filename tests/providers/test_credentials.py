"""Where a key comes from, in which order, and that nobody sees it."""

from __future__ import annotations

import copy
import pickle
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoroute.errors import AutorouteError, ConfigError, ExitCode
from autoroute.providers.accounts import load_accounts
from autoroute.providers.builtin import load_profiles
from autoroute.providers.credentials import Credentials, KeyStore, MissingKey, check_private
from autoroute.routing import Secret

ZAI = "https://api.z.ai/x"


def credentials(folder: Path, environ: Mapping[str, str], **tables: Any) -> Credentials:
    profiles = load_profiles(tables, "config.toml")
    accounts = load_accounts(tables, profiles, "config.toml")
    return Credentials(profiles, accounts, environ, KeyStore(folder))


def printing(text: str, code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({code})"]


def source(found: Secret | MissingKey | None) -> str:
    assert isinstance(found, Secret)
    return found.source


def test_sources_in_order(tmp_path: Path) -> None:
    environ = {"MINE": "canary-mine", "ZAI_API_KEY": "canary-conventional"}
    table: dict[str, Any] = {
        "key_env": ["MINE"],
        "key_command": printing("canary-command"),
        "api_key": "canary-literal",
    }
    KeyStore(tmp_path).put("zai", "default", "canary-login")
    order = []
    for drop in ("key_env", "key_command", "login", "api_key", ""):
        found = credentials(tmp_path, environ, zai=table).of_account("zai", "default")
        assert isinstance(found, Secret)
        order.append(found.reveal(ZAI))
        table.pop(drop, None)
        if drop == "login":
            KeyStore(tmp_path).remove("zai", "default")
    assert order == ["canary-mine", "canary-command", "canary-login", "canary-literal", "canary-conventional"]


def test_the_first_variable_that_is_set_is_used(tmp_path: Path) -> None:
    both = {"ZAI_API_KEY": "canary-1", "ZHIPU_API_KEY": "canary-2"}
    assert source(credentials(tmp_path, both).of_account("zai", "default")) == "ZAI_API_KEY"
    assert source(credentials(tmp_path, {**both, "ZAI_API_KEY": " "}).of_account("zai", "default")) == "ZHIPU_API_KEY"


def test_a_missing_key_says_what_was_looked_at(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"ANTHROPIC_API_KEY": "canary-a"}).of_account("zai", "default")
    assert isinstance(found, MissingKey)
    assert (found.title, found.looked_at, found.variable) == ("Z.AI", ("ZAI_API_KEY", "ZHIPU_API_KEY"), "ZAI_API_KEY")


def test_a_provider_without_keys_needs_none(tmp_path: Path) -> None:
    assert credentials(tmp_path, {}).of_account("ollama", "default") is None


def test_accounts_in_the_users_order_the_first_with_a_key_is_used(tmp_path: Path) -> None:
    accounts = {"work": {"key_env": ["WORK"]}, "home": {"key_env": ["HOME_KEY"]}}
    assert credentials(tmp_path, {}, zai={"accounts": accounts}).labels("zai") == ("work", "home")
    found = credentials(tmp_path, {"HOME_KEY": "canary-h", "ZAI_API_KEY": "canary"}, zai={"accounts": accounts})
    assert found.first("zai") == "home"
    assert credentials(tmp_path, {}, zai={"accounts": accounts}).first("zai") == "work"
    with_own = {"key_env": ["MINE"], "accounts": accounts}
    assert credentials(tmp_path, {}, zai=with_own).labels("zai") == ("default", "work", "home")


@pytest.mark.parametrize("value", ["canary key", "canaryé", "canary\x00"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="ZAI_API_KEY") as caught:
        credentials(tmp_path, {"ZAI_API_KEY": value}).of_account("zai", "default")
    assert "canary" not in str(caught.value)


def test_a_subscription_token_is_no_api_key_and_the_way_to_use_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(AutorouteError) as caught:
        credentials(tmp_path, {"ANTHROPIC_API_KEY": "sk-ant-oat01-canary"}).of_account("anthropic", "default")
    assert caught.value.exit_code == ExitCode.CREDENTIALS
    assert "canary" not in caught.value.message
    assert "claude/MODEL" in caught.value.hint


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (printing("canary", 3), "ended with exit code 3"),
        (printing(""), "printed 0 lines"),
        (printing("canary\ncanary"), "printed 2 lines"),
        (["/no/such/program"], "No such file or directory"),
    ],
)
def test_a_command_that_gives_no_key_is_named_and_its_output_is_not(
    tmp_path: Path, command: list[str], words: str
) -> None:
    with pytest.raises(AutorouteError, match=words) as caught:
        credentials(tmp_path, {}, zai={"key_command": command}).of_account("zai", "default")
    assert caught.value.exit_code == ExitCode.CREDENTIALS
    assert "canary" not in caught.value.message + caught.value.hint


def test_a_command_is_run_without_a_shell_and_once(tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    program = f"open({str(mark)!r}, 'a').write('x'); print('canary-$HOME')"
    found = credentials(tmp_path, {}, zai={"key_command": [sys.executable, "-c", program]})
    for _ in range(2):
        key = found.of_account("zai", "default")
        assert isinstance(key, Secret)
        assert key.reveal(ZAI) == "canary-$HOME"
    assert mark.read_text() == "x"


def test_a_command_gets_no_key_of_anybody(tmp_path: Path) -> None:
    keys = {"ANTHROPIC_API_KEY": "canary-a", "MINE": "canary-m", "PATH": "/usr/bin"}
    program = "import os; print('none' if not any('canary' in v for v in os.environ.values()) else 'leak')"
    tables = {"zai": {"key_command": [sys.executable, "-c", program]}, "openai": {"key_env": ["MINE"]}}
    found = credentials(tmp_path, keys, **tables).of_account("zai", "default")
    assert isinstance(found, Secret)
    assert found.reveal(ZAI) == "none"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"key_command": "op 'read"}, "providers.zai.key_command"),
        ({"accounts": {"work": {"key": "canary"}}}, "providers.zai.accounts.work.key: no such key"),
        ({"accounts": "canary"}, "providers.zai.accounts"),
        ({"accounts": {"a:b": {}}}, "is no name for an account"),
        ({"api_key": ["canary"]}, "providers.zai.api_key"),
    ],
)
def test_bad_tables_are_named_without_their_values(tmp_path: Path, table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        credentials(tmp_path, {}, zai=table)
    assert "canary" not in caught.value.message + caught.value.hint


def test_what_login_stores_only_its_owner_can_read(tmp_path: Path) -> None:
    vault = KeyStore(tmp_path / "state")
    place = Path(vault.put("zai", "work", "canary"))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert vault.get("zai", "work") == ("canary", str(place))
    assert vault.get("zai", "default") is None
    place.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        vault.get("zai", "work")
    assert caught.value.hint == f"chmod 600 {place}"
    place.chmod(0o600)
    assert vault.remove("zai", "work")
    assert not vault.remove("zai", "work")
    assert "canary" not in "".join(path.read_text() for path in (tmp_path / "state").iterdir())


def test_a_file_that_is_not_there_is_private(tmp_path: Path) -> None:
    check_private(tmp_path / "none")


def test_a_secret_shows_itself_to_nobody(tmp_path: Path) -> None:
    found = credentials(tmp_path, {}, zai={"api_key": "canary"})
    secret = found.of_account("zai", "default")
    assert (
        "canary"
        not in f"{secret} {secret!r} {[secret]} {found!r} {load_accounts({'zai': {'api_key': 'canary'}}, load_profiles({}, ''), '')}"
    )
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)


@pytest.mark.parametrize("url", ["https://api.z.ai.evil.example/", "http://api.z.ai/", "https://api.z.ai:444/"])
def test_a_secret_goes_to_its_own_origin_only(url: str) -> None:
    secret = Secret("canary", origin="https://api.z.ai:443", source="ZAI_API_KEY")
    assert secret.reveal("https://API.z.ai:443/v1") == "canary"
    with pytest.raises(ConfigError):
        secret.reveal(url)
