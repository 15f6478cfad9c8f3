"""Where a key may go: to the origin of its own provider, and into no other process, server, file or log."""

from __future__ import annotations

import inspect
import logging
import os
import random
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from autoroute import wire
from autoroute.claude.process_environment import base_environment
from autoroute.cli.app import _write_log
from autoroute.config import process
from autoroute.demo.script import Script
from autoroute.demo.server import FREE_GET, Fault, ModelServer
from autoroute.errors import AutorouteError, BadRequest, ConfigError
from autoroute.messages import Message, Request, Text
from autoroute.providers.accounts import load_accounts
from autoroute.providers.builtin import load_profiles
from autoroute.providers.credentials import Credentials
from autoroute.providers.key_store import KeyStore
from autoroute.redaction import Redactor
from autoroute.routing import Clocks, ProviderProfile, Route, Secret, origin
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.git import guarded_git, own_git, users_git
from tests.config.desk import Desk

PROFILES = load_profiles({}, "config.toml")
KEYED = {name: profile for name, profile in PROFILES.items() if profile.auth != "none"}
CANARY = "canary-0123456789abcdef"
ASKED = Request(model="model-1", system="", messages=(Message("user", (Text("hi"),)),))
CLOCKS = Clocks(connect=2.0, first_byte=5.0, idle=5.0, turn=10.0)


def route(profile: ProviderProfile) -> Route:
    return Route(provider=profile.name, model="model-1", requested="model-1", host=profile.host)


def at(profile: ProviderProfile, server: ModelServer) -> ProviderProfile:
    """The provider as a server here plays it, with its addresses of free requests."""
    return profile.model_copy(update={"base_url": f"{server.url}/{profile.name}/base"})


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(Script(())) as running:
        yield running


@pytest.mark.parametrize("owner", KEYED)
def test_no_provider_gets_the_key_of_another(server: ModelServer, owner: str) -> None:
    secret = Secret(CANARY, origin=origin(KEYED[owner].base_url), source="A_KEY")
    before = len(server.requests)
    for other in KEYED.values():
        profile = at(other, server)
        with (
            pytest.raises(ConfigError, match="A_KEY belongs to"),
            closing(wire.connect(profile, route(profile), secret, CLOCKS)) as model,
        ):
            list(model.ask(ASKED))
        with pytest.raises(ConfigError, match="A_KEY belongs to"):
            wire.fetch_json(profile, "models", route(profile), secret, CLOCKS)
    assert len(server.requests) == before


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_free_request_follows_no_redirect(auth: str, status: int) -> None:
    with ModelServer(Script(())) as other:
        moved = Fault("redirect", offers=FREE_GET, status=status, body=f"{other.url}/acme/models")
        with ModelServer(Script(()), faults=[moved]) as first:
            profile = at(PROFILES["openai"].model_copy(update={"auth": auth}), first)
            secret = Secret(CANARY, origin=origin(first.url), source="A_KEY")
            with pytest.raises(BadRequest, match="the key is not sent there"):
                wire.fetch_json(profile, "models", route(profile), secret, CLOCKS)
            assert [CANARY in str(request.headers) for request in first.requests] == [True]
    assert other.requests == []


def test_a_netrc_is_not_read(tmp_path: Path, server: ModelServer) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login someone password {CANARY}\n")
    program = (
        "import sys; from autoroute import wire; from autoroute.routing import *\n"
        "profile = ProviderProfile(name='acme', wire='openai-chat', base_url=sys.argv[1] + '/netrc', auth='none')\n"
        "wire.fetch_json(profile, 'models', Route('acme', 'm', 'm'), None, Clocks())"
    )
    environ = {"PATH": os.defpath, "HOME": str(tmp_path), "NETRC": str(tmp_path / ".netrc")}
    subprocess.run([sys.executable, "-c", program, server.url], env=environ, check=True)
    (asked,) = [request for request in server.requests if request.vendor == "netrc"]
    assert "authorization" not in asked.headers


EVIL = "http://127.0.0.1:9/evil"
OVER_A_PROVIDER = [
    f'base_url = "{EVIL}"',
    f'base_url = "{EVIL}"\nauth = "bearer"',
    'auth = "none"',
    'key_env = ["GITHUB_TOKEN"]',
    f'key_command = "curl {EVIL}"',
    f'key_command = ["curl", "{EVIL}"]',
    'api_key = "theirs"',
    'wire = "openai-chat"',
    'runner = "claude-code"',
    f'key_check = "{EVIL}"',
    f'model_list = "{EVIL}"',
    'region = "evil"',
    'resource = "evil"',
    'project = "evil"',
    'platform = "bedrock"',
    'like = "ollama"',
    f'headers = {{ x = "{EVIL}" }}',
    f'proxy = "{EVIL}"',
    'ca_file = "evil.pem"',
    "verify = false",
    'models = { "opus-4.5" = "evil" }',
    "[providers.NAME.accounts.evil]\nkey_env = ['GITHUB_TOKEN']",
    "[providers.NAME.quirks]\ncache_control = false",
    "[providers.NAME.errors]\n401 = 'Busy'",
]
ELSEWHERE = [
    f'[providers.evil]\nwire = "openai-chat"\nbase_url = "{EVIL}"\nkey_env = ["ANTHROPIC_API_KEY"]',
    f'[providers.evil]\nlike = "anthropic"\nbase_url = "{EVIL}"',
    f'[env]\nHTTPS_PROXY = "{EVIL}"',
    f'[environment]\nANTHROPIC_BASE_URL = "{EVIL}"',
    f'proxy = "{EVIL}"',
    f'https_proxy = "{EVIL}"',
    f'base_url = "{EVIL}"',
    'config = "evil.toml"',
    'include = ["evil.toml"]',
    "[clocks]\nfirst_byte = 100000.0",
    '[claude]\nbinary = "./evil"',
    f'[claude.profiles.evil]\nconfig_dir = "{EVIL}"',
    '[claude.profiles.evil]\ntoken_env = "GITHUB_TOKEN"',
    '[hooks]\nstart = "curl evil"',
    "[trust]\nthis = true",
    '[sandbox]\nmode = "off"',
]


@pytest.mark.parametrize("place", ["project", "task"])
@pytest.mark.parametrize("text", [*OVER_A_PROVIDER, *ELSEWHERE])
def test_no_hostile_file_of_a_repository_moves_a_key(tmp_path: Path, text: str, place: str) -> None:
    for folder in ("home/autoroute", "repository"):
        (tmp_path / folder).mkdir(parents=True)
    for name in PROFILES if text in OVER_A_PROVIDER else ["anthropic"]:
        table = text.replace("NAME", name) if "[" in text[:1] else f"[providers.{name}]\n{text}"
        desk = Desk(tmp_path, {"ANTHROPIC_API_KEY": CANARY})
        getattr(desk, place)(text if text in ELSEWHERE else table)
        with pytest.raises(ConfigError) as caught:
            desk.load()
        assert ("autoroute.toml" if place == "project" else "task.md") in caught.value.message


def test_what_else_lies_in_a_repository_is_not_read_as_settings(tmp_path: Path) -> None:
    for folder in ("home/autoroute", "repository/.autoroute"):
        (tmp_path / folder).mkdir(parents=True)
    desk = Desk(tmp_path, {"ANTHROPIC_API_KEY": CANARY})
    before = desk.load()
    for name in (".env", ".env.local", ".netrc", "config.toml", ".autoroute/config.toml", ".claude/settings.json"):
        path = tmp_path / "repository" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"ANTHROPIC_BASE_URL={EVIL}\nHTTPS_PROXY={EVIL}\nANTHROPIC_API_KEY=theirs\n")
    after = desk.load()
    assert (after.config, after.profiles) == (before.config, before.profiles)
    assert os.environ.get("ANTHROPIC_BASE_URL") != EVIL
    for name in KEYED:
        secret = after.credentials.find_for_account(name, "default")
        assert not isinstance(secret, Secret) or secret.reveal(PROFILES[name].base_url) == CANARY


def hostile_names() -> list[str]:
    """Variables that may hold a secret, by the names that vendors, clouds and people give them."""
    known = [name for profile in PROFILES.values() for name in profile.key_env]
    vendors = [
        *("AWS", "GCP", "AZURE", "GITHUB", "GITLAB", "NPM", "PYPI", "SLACK", "STRIPE", "TWILIO", "DOCKER", "CLAUDE"),
        *("ANTHROPIC", "OPENAI", "HF", "DD"),
    ]
    ends = [
        *("API_KEY", "TOKEN", "SECRET", "SECRET_ACCESS_KEY", "PASSWORD", "PAT", "CREDENTIALS", "SESSION", "AUTH"),
        "BASE_URL",
    ]
    others = [
        *("DATABASE_URL", "REDIS_URL", "MONGO_URI", "DSN", "SENTRY_DSN", "PGPASSWORD", "MYSQL_PWD", "KUBECONFIG"),
        *("SSH_AUTH_SOCK", "GPG_AGENT_INFO", "DOCKER_HOST", "VAULT_TOKEN", "BW_SESSION", "OP_SERVICE_ACCOUNT_TOKEN"),
        *("LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONSTARTUP", "NODE_OPTIONS", "BASH_ENV", "ENV", "PERL5OPT"),
        *("GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EXTERNAL_DIFF", "GIT_CONFIG_COUNT", "EDITOR", "PROMPT_COMMAND"),
        *("AUTOROUTE_CONFIG", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "my_secret", "X", "_", "lc_all"),
    ]
    return list(dict.fromkeys([*known, *(f"{vendor}_{end}" for vendor in vendors for end in ends), *others]))


NAMES = hostile_names()
ENVIRON = {**{name: f"{CANARY}-{name}" for name in NAMES}, "PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def test_there_are_many_hostile_names() -> None:
    assert len(NAMES) >= 200


def test_a_command_inherits_none_of_them(tmp_path: Path) -> None:
    result = LocalCommands(ENVIRON).run("env", timeout=30, cwd=tmp_path, log=tmp_path / "log")
    assert CANARY not in result.output
    assert "HOME=/nonexistent" in result.output


@pytest.mark.parametrize(("kind", "allowed"), [("users", {"SSH_AUTH_SOCK"}), ("guarded", set()), ("own", set())])
def test_git_inherits_none_of_them(tmp_path: Path, kind: str, allowed: set[str]) -> None:
    """But for where the user's own signing agent is, in the one git that commits in their name."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    environ = {**ENVIRON, "GIT_CONFIG_COUNT": "0"}  # git itself reads it: settings of the user's own
    made = {
        "users": lambda: users_git(tmp_path, environ),
        "guarded": lambda: guarded_git(tmp_path, environ),
        "own": lambda: own_git(tmp_path / ".git", tmp_path, environ),
    }
    printed = made[kind]().run("-c", "alias.printed=!env", "printed").decode()
    assert {line.partition("=")[0] for line in printed.splitlines() if CANARY in line} == allowed
    assert "HOME=/nonexistent" in printed


def test_claude_code_inherits_none_of_them() -> None:
    assert CANARY not in str(base_environment(ENVIRON))


def test_a_key_command_gets_what_its_vault_needs_and_no_providers_key(tmp_path: Path) -> None:
    tables = {"zai": {"key_command": [sys.executable, "-c", "import os; print('.'.join(sorted(os.environ)))"]}}
    profiles = load_profiles(tables, "config.toml")
    found = Credentials(profiles, load_accounts(tables, profiles, "config.toml"), ENVIRON, KeyStore(tmp_path))
    secret = found.find_for_account("zai", "default")
    assert isinstance(secret, Secret)
    inherited = set(secret.reveal(profiles["zai"].base_url).split("."))
    keys = {name for profile in PROFILES.values() for name in profile.key_env}
    assert not inherited & {*keys, "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"}
    assert {"SSH_AUTH_SOCK", "VAULT_TOKEN", "OP_SERVICE_ACCOUNT_TOKEN", "BW_SESSION"} <= inherited


def test_credentials_teach_every_key_that_they_know_of(tmp_path: Path) -> None:
    chance = random.Random(1)
    keys = ["".join(chance.choices(string.ascii_letters, k=30)) for _ in range(7)]
    by_command, literal, in_vault, conventional, token, mine, cloud = keys
    tables: dict[str, Any] = {
        "zai": {"key_command": [sys.executable, "-c", f"print('{by_command}')"]},
        "openai": {"api_key": literal, "key_env": ["MINE"]},
    }
    environ = {
        "ANTHROPIC_API_KEY": conventional,
        "CLAUDE_CODE_OAUTH_TOKEN": token,
        "MINE": mine,
        "AWS_SECRET_ACCESS_KEY": cloud,
    }
    vault = KeyStore(tmp_path)
    (tmp_path / "keys.json").write_text(f'{{"deepseek:default": "{in_vault}"}}')
    (tmp_path / "keys.json").chmod(0o600)
    profiles = load_profiles(tables, "config.toml")
    credentials = Credentials(profiles, load_accounts(tables, profiles, "config.toml"), environ, vault)
    assert [credentials.redactor.contains_key(key) for key in keys] == [False, *[True] * 6]
    credentials.find_for_account("zai", "default")
    assert credentials.redactor.contains_key(by_command)


def test_no_log_of_a_library_has_the_key(server: ModelServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    profile = at(PROFILES["openai"], server)
    secret = Secret(CANARY, origin=origin(server.url), source="A_KEY")
    wire.fetch_json(profile, "models", route(profile), secret, CLOCKS)
    with suppress(AutorouteError), closing(wire.connect(profile, route(profile), secret, CLOCKS)) as model:
        list(model.ask(ASKED))
    assert "HTTP Request" in caplog.text
    assert CANARY not in caplog.text


def fail() -> None:
    local = f"local-{CANARY}"
    raise RuntimeError(f"{CANARY} is wrong, and so is {CANARY.encode().hex()}", len(local))


def test_the_log_of_a_bug_has_neither_keys_nor_variables() -> None:
    with pytest.raises(RuntimeError) as caught:
        fail()
    path = Path(_write_log(caught.value, Redactor([CANARY])))
    written = path.read_text()
    path.unlink()
    assert "[redacted] is wrong, and so is [redacted]" in written
    assert "Traceback" in written
    assert "local-canary" not in written


HOLDER = inspect.getsource(process) + "\nif {closed}:\n    harden_process()\nprint('ready', flush=True)\ninput()\n"
NOBODY = 65534


def look_into(process_id: int, name: str, user: int | None) -> bytes:
    """What another process of the same user can read of a process."""
    command = ["head", "-c", "4096", f"/proc/{process_id}/{name}"]
    return subprocess.run(command, capture_output=True, check=False, user=user, group=user, cwd="/").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
@pytest.mark.parametrize("closed", [True, False])
def test_another_process_of_the_same_user_reads_nothing(closed: bool) -> None:
    python: str | None = sys.executable
    user: int | None = None
    if os.geteuid() == 0:  # whom nothing is closed to
        python, user = shutil.which("python3", path="/usr/bin:/bin"), NOBODY
    if python is None:
        pytest.skip("there is no Python that another user may run")
    with subprocess.Popen(
        [python, "-c", HOLDER.format(closed=closed)],
        env={"A_KEY": CANARY},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=user,
        group=user,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        seen = look_into(holder.pid, "environ", user)
        maps = look_into(holder.pid, "maps", user)
        limits = Path(f"/proc/{holder.pid}/limits").read_text()
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
    assert (CANARY.encode() in seen, bool(maps)) == (not closed, not closed)
    if closed:
        (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core[4] == "0"


def test_help_closes_nothing_and_loads_nothing_for_it() -> None:
    program = (
        "import sys; sys.argv = ['autoroute', '--help']\nfrom autoroute.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('ctypes' in sys.modules, 'autoroute.messages' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_a_profile_of_the_users_own_binds_the_key_to_its_own_address() -> None:
    secret = Secret(CANARY, origin=origin("https://api.example.com/v1"), source="A_KEY")
    for url in (
        "http://api.example.com/v1",
        "https://api.example.com:8443/v1",
        "https://api.example.com.evil.test/v1",
        "https://api.example.com@evil.test/v1",
        "https://evil.test/api.example.com",
        "https://API.example.org/v1",
    ):
        with pytest.raises(ConfigError):
            secret.reveal(url)
    assert secret.reveal("https://API.EXAMPLE.COM:443/other") == CANARY
