from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autoroute.workspace.clone import PrivateClone, plan_base
from autoroute.workspace.repository import Repository

_TESTS = itertools.count(100)


@dataclass(frozen=True)
class Nap:
    """A time to sleep that nobody else's ``sleep`` names, so that tests side by side do not take each other's for theirs."""

    seconds: str

    def runs(self) -> bool:
        """Whether a process with these seconds in its command line exists, in any session and under any user."""
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit() and self.seconds.encode() in (process / "cmdline").read_bytes():
                    return True
        return False


@pytest.fixture
def nap() -> Nap:
    return Nap(f"60.{os.getpid()}{next(_TESTS)}1")


def dig(top: Path) -> None:
    """Make more folders in each other than calls are, and with a longer path than a system takes."""
    handle = os.open(top, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("deep", dir_fd=handle)
        below = os.open("deep", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


@dataclass
class Place:
    """A user's home and repository, and the folder that workspaces go to."""

    folder: Path
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.root, env=self.environ, capture_output=True, text=True, check=True
        )
        return done.stdout.rstrip("\n")

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def repository(self, root: Path | None = None) -> Repository:
        return Repository.discover(root or self.root, self.environ)

    def clone(self, run: str = "r1", *, base: str | None = None, include_dirty: bool = False) -> PrivateClone:
        clone = self.plan(run, base=base, include_dirty=include_dirty)
        clone.open()
        return clone

    def plan(self, run: str = "r1", *, base: str | None = None, include_dirty: bool = False) -> PrivateClone:
        folder = self.folder / "workspaces" / run
        repository = self.repository()
        commit = plan_base(repository, base or "", include_dirty=include_dirty)
        return PrivateClone(repository, folder, run, base=commit, include_dirty=include_dirty)

    def fingerprint(self) -> dict[str, str]:
        """All that is the user's: files with their times, and everything in .git but objects and our branches."""
        state = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_file() and not name.startswith(".git/objects") and "autoroute" not in name:
                state[name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.lstat().st_mtime_ns}"
        return state


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home, root = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    root.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = A Developer\n\temail = dev@example.com\n", encoding="utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    made = Place(tmp_path, root, environ)
    made.git("init", "--quiet")
    made.git("symbolic-ref", "HEAD", "refs/heads/main")
    made.write("a.txt", "one\n")
    made.write("src/b.txt", "two\n")
    made.commit("Begin")
    return made
