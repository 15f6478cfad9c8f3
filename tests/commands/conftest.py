"""A user's world in a temporary folder: a home, a repository, keys, loopback providers, and the command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import autoroute
from autoroute.app.sandbox import strongest_here
from autoroute.demo.script import Script
from autoroute.demo.server import ModelServer
from tests.commands.oracle import assert_valid_request
from tests.warm import python

SANDBOX = strongest_here(os.environ)
"""The strongest sandbox of this machine. Most tests run their commands in it, as a user would."""
PACKAGE = Path(autoroute.__file__).parent
KEY_ENV = {
    "anthropic": "ANTHROPIC_API_KEY",
    "zai": "ZAI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "moonshot": "MOONSHOT_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
}


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str


@dataclass
class World:
    home: Path
    repository: Path
    servers: dict[str, ModelServer] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def provide(self, vendor: str, script: Script, **options: Any) -> ModelServer:
        """Start a loopback server that plays ``vendor`` with its own key, and point the user's settings to it."""
        key = f"canary-{vendor}-0123456789"
        options.setdefault("keys", {vendor: key})
        server = self.stack.enter_context(ModelServer(script, **options))
        self.servers[vendor] = server
        if vendor in KEY_ENV:
            self.environ[KEY_ENV[vendor]] = key
        self.configure({"providers": {name: {"base_url": f"{s.url}/{name}/base"} for name, s in self.servers.items()}})
        return server

    def configure(self, settings: Mapping[str, Any]) -> None:
        (self.home / "config.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")

    def task(self, text: str = "# Greet the world\n\nWrite a greeting.\n") -> None:
        (self.repository / "task.md").write_text(text, encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "autoroute", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command in a process of its own, for a test that sends it a signal while it runs."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.repository,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def autoroute(self, *arguments: str, stdin: str = "", cwd: Path | None = None) -> Result:
        """Run the command to its end."""
        words = self.command(*arguments)[1:]
        done = python().run(words, cwd=cwd or self.repository, env=self.environ, stdin=stdin)
        assert f'File "{PACKAGE}' not in done.stderr + done.stdout, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.repository, env=self.environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def fingerprint(self) -> dict[str, str]:
        """Return all that a run must not touch: files, index, HEAD, refs, stash, configuration, hooks."""
        refs = self.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        state = {"refs": "\n".join(ref for ref in refs if "/autoroute/" not in ref)}
        for path in sorted(self.repository.rglob("*")):
            place = path.relative_to(self.repository)
            ours = place.parts[0] == ".autoroute" or place.parts[:2] == (".git", "objects")
            if path.is_file() and not ours and "autoroute" not in place.parts:
                stat = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                state[str(place)] = f"{digest} {stat.st_mode} {stat.st_mtime_ns}"
        return state

    def run_folder(self) -> Path:
        (folder,) = (self.repository / ".autoroute/runs").iterdir()
        return folder


def wait_for(process: subprocess.Popen[str], kind: str, **fields: str) -> None:
    """Read the events of a ``--format jsonl`` run until one of this kind. The journal contains it by then."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == kind and fields.items() <= event.items():
            return
    raise AssertionError(f"no {kind}")


def make_world(folder: Path) -> World:
    """Make a repository with a task, and a home, in a folder."""
    home, repository = folder / "home", folder / "project"
    home.mkdir()
    repository.mkdir()
    environ = {
        # Commands find this python3 directly. A wrapper script that searches for one would double their time.
        "PATH": f"{Path(sys.executable).resolve().parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "xdg"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "AUTOROUTE_CONFIG": str(home / "config.toml"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "LANG": "C.UTF-8",
        "AUTOROUTE_SANDBOX__MODE": SANDBOX,
        "AUTOROUTE_SANDBOX__READABLE": f"{sys.prefix},{sys.base_prefix}",
        # A coverage run of the tests measures the command too.
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    }
    made = World(home, repository, environ=environ)
    made.configure({})
    (home / ".gitconfig").write_text("[user]\n\tname = A Developer\n\temail = dev@example.com\n", encoding="utf-8")
    made.git("init", "--quiet", "--initial-branch=main")
    (repository / "README").write_text("A project.\n", encoding="utf-8")
    made.git("add", "README")
    made.git("commit", "--quiet", "--message=Begin")
    made.task()
    return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    with made.stack:
        yield made
        for vendor, server in made.servers.items():
            assert server.violations == [], f"{vendor}: {server.violations}"
            for request in server.requests:
                if request.headers.get("user-agent", "").startswith("autoroute/"):
                    assert_valid_request(request)
