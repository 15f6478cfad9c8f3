from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from autoroute.events import Intent
from autoroute.messages import ToolCall
from autoroute.redaction import Redact
from autoroute.tools import _TOOLS, PreparedCall, ToolContext, ToolOutcome, open_toolbox
from autoroute.workspace import CommandResult


@dataclass
class Shell:
    """Answers every command with the same result, and keeps what it was asked."""

    result: CommandResult = field(default_factory=lambda: CommandResult(0, "hello\n", 0.1))
    asked: list[tuple[str, float, Path, Path]] = field(default_factory=list)

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        self.asked.append((command, timeout, cwd, log))
        return self.result

    def kill_leftovers(self) -> int:
        return 0


@dataclass
class Harness:
    """The tools at work in ``root``, with what a test wants to change of their context."""

    root: Path
    shell: Shell = field(default_factory=Shell)
    ripgrep: str | None = None
    ask: Callable[[str, tuple[str, ...]], str] = lambda question, options: "yes"
    check: Callable[[str, Any], list[str]] = lambda kind, artifact: []
    redact: Redact = str
    find_holders: Callable[[Sequence[str]], Callable[[str], bool]] = lambda words: lambda path: True

    @property
    def context(self) -> ToolContext:
        return ToolContext(
            root=self.root,
            commands=self.shell,
            logs=self.root.parent / "logs",
            command_timeout=60.0,
            ask=self.ask,
            check=self.check,
            ripgrep=self.ripgrep,
            redact=self.redact,
            find_holders=self.find_holders,
        )

    def prepare(self, name: str, arguments: str | dict[str, Any]) -> PreparedCall:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        return open_toolbox(tuple(_TOOLS), self.context).prepare(ToolCall("c1", name, text))

    def prepare_interrupted(self, name: str, arguments: str | dict[str, Any], intent: Intent | None) -> PreparedCall:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        return open_toolbox(tuple(_TOOLS), self.context).prepare_interrupted(ToolCall("c1", name, text), intent)

    def call(self, name: str, **arguments: Any) -> ToolOutcome:
        return self.prepare(name, arguments).run()

    def text(self, name: str, **arguments: Any) -> str:
        outcome = self.call(name, **arguments)
        assert not outcome.is_error, outcome.text
        return outcome.text

    def error(self, name: str, **arguments: Any) -> str:
        outcome = self.call(name, **arguments)
        assert outcome.is_error, outcome.text
        return outcome.text

    def put(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    root = tmp_path / "project"
    root.mkdir()
    return Harness(root)


@pytest.fixture(scope="session")
def ripgrep() -> str:
    found = shutil.which("rg")
    if found is None:
        pytest.skip("rg is not installed")
    return found


@pytest.fixture(params=["ours", "rg"])
def engine(request: pytest.FixtureRequest) -> str | None:
    """The path of ``rg``, and None for our own search."""
    if request.param == "ours":
        return None
    found: str = request.getfixturevalue("ripgrep")
    return found


@pytest.fixture
def search_harness(harness: Harness, engine: str | None) -> Harness:
    return replace(harness, ripgrep=engine)


@pytest.fixture
def project(search_harness: Harness) -> Harness:
    files: dict[str, str | bytes] = {
        ".gitignore": "*.log\n/build/\n!keep.log\n",
        ".github/ci.yml": "run: tests\n",
        ".git/config": "run: secret\n",
        "README.md": "Run the tests.\n",
        "build/out.py": "run()\n",
        "debug.log": "run\n",
        "keep.log": "run kept\n",
        "src/app.py": "def run():\n    return 1\n\n\ndef Run():\n    return 2\n",
        "src/app.ts": "run()\r\nend\r\n",
        "src/data/.gitignore": "*\n!.gitignore\n!*.csv\n",
        "src/data/a.csv": "run,1\n",
        "src/data/a.tmp": "run,1\n",
        "image.bin": b"run\nrun\0run\n",
        "latin.txt": b"run caf\xe9\n",
        "wide.txt": "run wide\n".encode("utf-16"),
        "-dash": "run dash\n",
    }
    for path, content in files.items():
        search_harness.put(path, content)
    outside = search_harness.root.parent / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("run secret\n")
    (search_harness.root / "link").symlink_to(outside)
    (search_harness.root / "link.py").symlink_to(outside / "secret.py")
    os.mkfifo(search_harness.root / "pipe")
    return search_harness
