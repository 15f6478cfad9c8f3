"""kill -9 at random moments of the demo's task: does every run go on to the same end, with nothing paid or done twice?

python benchmarks/kills.py [HOW_MANY] [SEED]
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from autoroute.demo.server import ModelServer
from autoroute.demo.story import make_project, story
from autoroute.events import ToolEnded, ToolStarted, TurnEnded
from autoroute.store.journal import read
from autoroute.workspace.git import users_git

VENDORS = {"anthropic": "ANTHROPIC_API_KEY", "zai": "ZAI_API_KEY"}
RUN = ("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.7", "--format", "plain")
AT_ONCE = os.cpu_count() or 1


@dataclass(frozen=True)
class Ended:
    """What a run came to: the commits by subject and tree, and how much was asked and done for it."""

    code: int
    began: bool
    commits: tuple[str, ...]
    turns: int
    answered: int
    calls_twice: int
    untouched: bool
    seconds: float
    output: str = field(default="", compare=False)


class Place:
    """A repository with the demo's task, a home, and two loopback providers."""

    def __init__(self, folder: Path, servers: dict[str, ModelServer]) -> None:
        self.project = folder / "project"
        self._servers = servers
        make_project(self.project, os.environ["PATH"])
        settings = {"providers": {name: {"base_url": f"{server.url}/{name}"} for name, server in servers.items()}}
        (folder / "config.toml").write_text(tomli_w.dumps(settings))
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "AUTOROUTE_CONFIG": str(folder / "config.toml"),
            "LANG": "C.UTF-8",
            **dict.fromkeys(VENDORS.values(), "a-key"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """``autoroute`` with these arguments."""
        return subprocess.Popen(
            [sys.executable, "-m", "autoroute", *arguments],
            cwd=self.project,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def look(self, code: int, seconds: float, output: str, head: str) -> Ended:
        """How the only run here ended."""
        git = users_git(self.project, self.environ)
        runs = self.project / ".autoroute/runs"
        journals = sorted(runs.glob("*/events.jsonl")) if runs.is_dir() else []
        events = [record.event for record in read(journals[-1])[0]] if journals else []
        branches = git.text("for-each-ref", "--format=%(refname)", "refs/heads/autoroute").split()
        commits = git.text("log", "--reverse", "--format=%s %T", f"main..{branches[-1]}") if branches else ""
        ended = Counter((event.turn, event.call) for event in events if isinstance(event, ToolEnded))
        started = Counter((event.turn, event.call) for event in events if isinstance(event, ToolStarted))
        return Ended(
            code=code,
            began=bool(events),
            commits=tuple(commits.splitlines()),
            turns=sum(isinstance(event, TurnEnded) for event in events),
            answered=sum(request.status == 200 for server in self._servers.values() for request in server.asked),
            calls_twice=sum(count > 1 for count in (ended | started).values()),
            untouched=git.text("rev-parse", "HEAD") == head and not git.text("status", "--porcelain"),
            seconds=seconds,
            output=output,
        )


@contextmanager
def place() -> Iterator[Place]:
    """A fresh place; its servers end with it."""
    with tempfile.TemporaryDirectory() as folder, ModelServer(story()) as first, ModelServer(story()) as second:
        yield Place(Path(folder), dict(zip(VENDORS, (first, second), strict=True)))


def go(kill_after: float | None) -> Ended:
    """A run, killed after so many seconds and resumed; one that was killed before it began is run again."""
    with place() as here:
        head = users_git(here.project, here.environ).text("rev-parse", "HEAD")
        started = time.monotonic()
        process = here.start(*RUN)
        try:
            output, _ = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            began = any((here.project / ".autoroute/runs").glob("*/events.jsonl"))
            process = here.start("resume", "--format", "plain") if began else here.start(*RUN)
            output, _ = process.communicate(timeout=300)
            if "was stopped before it began" in output:
                process = here.start(*RUN)
                output, _ = process.communicate(timeout=300)
        return here.look(process.returncode, time.monotonic() - started, output, head)


def complaints(ended: Ended, uncut: Ended) -> Sequence[str]:
    """What speaks against a run that was killed."""
    found = {
        f"exit code {ended.code}": ended.code != 0,
        f"{ended.turns} turns on record, not {uncut.turns}": ended.turns != uncut.turns,
        f"{ended.answered} turns answered, not {uncut.answered} or one more": ended.answered - uncut.answered > 1,
        f"{ended.calls_twice} calls ran twice": ended.calls_twice > 0,
        "other commits": ended.commits != uncut.commits,
        "the user's repository was touched": not ended.untouched,
    }
    return [words for words, true in found.items() if true]


def main() -> int:
    """Print what was found; 1 when anything speaks against any run."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    chance = random.Random(seed)
    uncut = go(None)
    moments = [chance.uniform(0, uncut.seconds * 1.2) for _ in range(many)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(go, moments))
    met = [(moment, one, complaints(one, uncut)) for moment, one in zip(moments, ended, strict=True)]
    bad = [case for case in met if case[2]]
    resumed = sum("goes on with" in one.output for one in ended)
    again = sum(one.answered > uncut.answered for one in ended)
    print(f"seed {seed}: an uncut run takes {uncut.seconds:.1f} s, {uncut.turns} turns, {len(uncut.commits)} commits")
    print(f"{many} kills: {resumed} runs resumed; the others had not begun, or were over")
    print(f"{many - len(bad)} ended approved with the same commits; {again} paid again for the turn in flight")
    for moment, one, found in bad:
        print(f"killed after {moment:.3f} s: {'; '.join(found)}\n{one.output[-1_000:]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
