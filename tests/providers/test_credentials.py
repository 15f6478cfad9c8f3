"""The sources of keys, their order, and that no key is shown."""

from __future__ import annotations

import copy
import pickle
import stat
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from autoroute.errors import AutorouteError, ConfigError, ExitCode
from autoroute.providers.accounts import load_accounts
from autoroute.providers.builtin import load_profiles
from autoroute.providers.credentials import Credentials, MissingKey
from autoroute.providers.key_store import KeyStore, check_private
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


def test_the_sources_of_a_key_are_tried_in_order(tmp_path: Path) -> None:
    environ = {"MINE": "canary-mine", "ZAI_API_KEY": "canary-conventional"}
    table: dict[str, Any] = {
        "key_env": ["MINE"],
        "key_command": printing("canary-command"),
        "api_key": "canary-literal",
    }
    KeyStore(tmp_path).put("zai", "default", "canary-login")
    order = []
    for drop in ("key_env", "key_command", "login", "api_key", ""):
        found = credentials(tmp_path, environ, zai=table).find_for_account("zai", "default")
        assert isinstance(found, Secret)
        order.append(found.reveal(ZAI))
        table.pop(drop, None)
        if drop == "login":
            KeyStore(tmp_path).remove("zai", "default")
    assert order == ["canary-mine", "canary-command", "canary-login", "canary-literal", "canary-conventional"]


def test_the_first_variable_that_is_set_is_used(tmp_path: Path) -> None:
    both = {"ZAI_API_KEY": "canary-1", "ZHIPU_API_KEY": "canary-2"}
    assert source(credentials(tmp_path, both).find_for_account("zai", "default")) == "ZAI_API_KEY"
    assert (
        source(credentials(tmp_path, {**both, "ZAI_API_KEY": " "}).find_for_account("zai", "default"))
        == "ZHIPU_API_KEY"
    )


def test_a_missing_key_names_what_was_searched(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"ANTHROPIC_API_KEY": "canary-a"}).find_for_account("zai", "default")
    assert isinstance(found, MissingKey)
    assert (found.title, found.searched, found.variable) == ("Z.AI", ("ZAI_API_KEY", "ZHIPU_API_KEY"), "ZAI_API_KEY")


def test_a_provider_without_auth_needs_no_key(tmp_path: Path) -> None:
    assert credentials(tmp_path, {}).find_for_account("ollama", "default") is None


def test_accounts_keep_the_users_order_and_the_first_with_a_key_is_used(tmp_path: Path) -> None:
    accounts = {"work": {"key_env": ["WORK"]}, "home": {"key_env": ["HOME_KEY"]}}
    assert credentials(tmp_path, {}, zai={"accounts": accounts}).labels("zai") == ("work", "home")
    found = credentials(tmp_path, {"HOME_KEY": "canary-h", "ZAI_API_KEY": "canary"}, zai={"accounts": accounts})
    assert found.first_usable("zai") == "home"
    assert credentials(tmp_path, {}, zai={"accounts": accounts}).first_usable("zai") == "work"
    with_own = {"key_env": ["MINE"], "accounts": accounts}
    assert credentials(tmp_path, {}, zai=with_own).labels("zai") == ("default", "work", "home")


@pytest.mark.parametrize("value", ["canary key", "canaryé", "canary\x00"])
def test_an_invalid_key_is_rejected_without_showing_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="ZAI_API_KEY") as caught:
        credentials(tmp_path, {"ZAI_API_KEY": value}).find_for_account("zai", "default")
    assert "canary" not in str(caught.value)


def test_a_subscription_token_is_rejected_as_an_api_key_with_a_hint_for_its_use(tmp_path: Path) -> None:
    with pytest.raises(AutorouteError) as caught:
        credentials(tmp_path, {"ANTHROPIC_API_KEY": "sk-ant-oat01-canary"}).find_for_account("anthropic", "default")
    assert caught.value.exit_code == ExitCode.CREDENTIALS
    assert "canary" not in caught.value.message
    assert "claude/MODEL" in caught.value.hint


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (printing("canary", 3), "failed with exit code 3"),
        (printing(""), "printed 0 lines"),
        (printing("canary\ncanary"), "printed 2 lines"),
        (["/no/such/program"], "No such file or directory"),
    ],
)
def test_a_key_command_that_fails_is_named_without_its_output(tmp_path: Path, command: list[str], message: str) -> None:
    with pytest.raises(AutorouteError, match=message) as caught:
        credentials(tmp_path, {}, zai={"key_command": command}).find_for_account("zai", "default")
    assert caught.value.exit_code == ExitCode.CREDENTIALS
    assert "canary" not in caught.value.message + caught.value.hint


def test_a_key_command_runs_once_and_without_a_shell(tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    program = f"open({str(mark)!r}, 'a').write('x'); print('canary-$HOME')"
    found = credentials(tmp_path, {}, zai={"key_command": [sys.executable, "-c", program]})
    for _ in range(2):
        key = found.find_for_account("zai", "default")
        assert isinstance(key, Secret)
        assert key.reveal(ZAI) == "canary-$HOME"
    assert mark.read_text() == "x"


def test_a_key_command_gets_no_provider_key(tmp_path: Path) -> None:
    keys = {"ANTHROPIC_API_KEY": "canary-a", "MINE": "canary-m", "PATH": "/usr/bin"}
    program = "import os; print('none' if not any('canary' in v for v in os.environ.values()) else 'leak')"
    tables = {"zai": {"key_command": [sys.executable, "-c", program]}, "openai": {"key_env": ["MINE"]}}
    found = credentials(tmp_path, keys, **tables).find_for_account("zai", "default")
    assert isinstance(found, Secret)
    assert found.reveal(ZAI) == "none"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"key_command": "op 'read"}, "providers.zai.key_command"),
        ({"accounts": {"work": {"key": "canary"}}}, "providers.zai.accounts.work.key: unknown key"),
        ({"accounts": "canary"}, "providers.zai.accounts"),
        ({"accounts": {"a:b": {}}}, "invalid account name"),
        ({"api_key": ["canary"]}, "providers.zai.api_key"),
    ],
)
def test_an_invalid_table_is_named_without_its_values(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        credentials(tmp_path, {}, zai=table)
    assert "canary" not in caught.value.message + caught.value.hint


def test_only_the_owner_can_read_a_stored_key(tmp_path: Path) -> None:
    key_store = KeyStore(tmp_path / "state")
    path = Path(key_store.put("zai", "work", "canary"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_store.get("zai", "work") == ("canary", str(path))
    assert key_store.get("zai", "default") is None
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        key_store.get("zai", "work")
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert key_store.remove("zai", "work")
    assert not key_store.remove("zai", "work")
    assert "canary" not in "".join(file.read_text() for file in (tmp_path / "state").iterdir())


def test_a_missing_file_is_private(tmp_path: Path) -> None:
    check_private(tmp_path / "none")


def test_a_secret_is_never_printed_pickled_or_copied(tmp_path: Path) -> None:
    found = credentials(tmp_path, {}, zai={"api_key": "canary"})
    secret = found.find_for_account("zai", "default")
    assert (
        "canary"
        not in f"{secret} {secret!r} {[secret]} {found!r} {load_accounts({'zai': {'api_key': 'canary'}}, load_profiles({}, ''), '')}"
    )
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)


@pytest.mark.parametrize("url", ["https://api.z.ai.evil.example/", "http://api.z.ai/", "https://api.z.ai:444/"])
def test_a_secret_is_sent_only_to_its_own_origin(url: str) -> None:
    secret = Secret("canary", origin="https://api.z.ai:443", source="ZAI_API_KEY")
    assert secret.reveal("https://API.z.ai:443/v1") == "canary"
    with pytest.raises(ConfigError):
        secret.reveal(url)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("url", ["http://me:{password}@proxy.test:8080", "me:{password}@proxy.test:8080"])
def test_the_password_of_a_proxy_is_redacted_in_what_the_proxy_answers(tmp_path: Path, name: str, url: str) -> None:
    password = "canary-p@ss/word"
    environ = {name: url.format(password=quote(password, safe=""))}
    answer = f"407 wrong: {password} in {environ[name]}, Basic {b64encode(f'me:{password}'.encode()).decode()}"
    redacted = credentials(tmp_path, environ).redactor.redact(answer)
    assert redacted.startswith("407 wrong: [redacted] in ")
    assert "canary" not in redacted
    assert b64encode(b"canary").decode()[:7] not in redacted
    assert credentials(tmp_path, {}).redactor.redact(answer) == answer  # the control
