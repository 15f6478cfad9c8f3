"""The real command in forked processes in which something happens at an exact point; shared by the crash benchmarks.

A worker loads the program once; each run of ``autoroute`` is then a fork of it, which saves the start of Python. A
point is a call into the system that could be the last: a write, a sync, a rename, the start of git or of a command, a
check of a running process, a byte to or from a provider. Python's profiler counts them, so no line of the program is
replaced.
"""

from __future__ import annotations

import _posixsubprocess  # type: ignore[import-not-found, unused-ignore]
import builtins
import ctypes
import fcntl
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import tomli_w

sys.path.insert(0, str(Path(__file__).parents[2]))

from autoroute.app.sandbox import strongest_here
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import ModelServer
from autoroute.errors import WorkspaceError
from autoroute.events import Event, ToolEnded, ToolStarted, TurnEnded, VerifyEnded
from autoroute.store.journal import read_events
from autoroute.workspace.git import users_git
from tests.forked_command import run_command

RUN = ("run", "task.md", "--plan", "sonnet", "--no-probe", "--format", "plain")
RESUME = ("resume", "--no-probe", "--format", "plain")
EFFECTS = "effects.log"
"""Ignored by git, so that no checkpoint takes back what a command wrote there. It is gone when qa begins."""
_LOOK = f"cat {EFFECTS} 2>/dev/null; true"
"""A verify command, whose output is on record."""
_LAST_SUBTASKS = ("S2", "R2")
"""The last subtask of each round: what its verify command shows is all that the round's commands did."""
_SUBREAPER = 36
_PATIENCE = 60.0
_TOLD = 100
"""Results from one word on how far it is to the next, on standard error."""

KINDS: Mapping[str, frozenset[Any]] = {
    "write": frozenset((os.write, os.pwrite)),
    "sync": frozenset((os.fdatasync, os.fsync)),
    "rename": frozenset((os.rename, os.replace)),
    "open": frozenset((os.open, builtins.open)),
    "mkdir": frozenset((os.mkdir,)),
    "start": frozenset((_posixsubprocess.fork_exec,)),
    "wait": frozenset((os.waitpid,)),
}
"""Calls that some points are apart for."""
CALLS = frozenset(
    (
        *frozenset[Any]().union(*KINDS.values()),
        *(os.ftruncate, os.truncate, os.unlink, os.rmdir, os.fchmod, os.read, fcntl.flock),
    )
)
_LOOKS_AROUND = frozenset(("kill_marked", "weigh", "machine_memory"))
"""They open a file of each other process, and change nothing: these calls are not points."""
METHODS = frozenset((("poll", "poll"), ("socket", "connect"), ("socket", "send"), ("socket", "sendall")))
"""Type and name of those that are methods."""
_NAMES = frozenset(name for _, name in METHODS)

ROOMS_OF = {
    "autoroute.store.journal": "journal",
    "autoroute.workspace.git": "git",
    "autoroute.workspace.commands": "commands",
}
ROOMS = tuple(ROOMS_OF.values())
"""Where points are counted apart."""

Result = TypeVar("Result")


def is_point(function: Any) -> bool:
    """Return whether a call of a built-in function is a point."""
    if function in CALLS:
        return True
    # Names are compared first because that is faster than checking types, and this runs for every call.
    return function.__name__ in _NAMES and (type(function.__self__).__name__, function.__name__) in METHODS


class Points:
    """The points of a process, counted; an action runs just before one of them.

    They are counted by package, by kind of call, and by both (``commands:wait``); "" counts all. ``at`` is the number
    of the point among those of ``within``, from 1; None stands for each of them.
    """

    def __init__(self, strike: Callable[[], None] | None = None, at: int | None = 0, within: str = "") -> None:
        self.counts: Counter[str] = Counter()
        self._strike = strike
        self._at = at
        self._within = within

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        """Count one call; ``sys.setprofile`` calls this."""
        if event != "c_call" or not is_point(function):
            return
        rooms = _rooms(frame)
        if not rooms:
            return
        kinds = [kind for kind, calls in KINDS.items() if function in calls]
        names = {*rooms, *kinds, *(f"{room}:{kind}" for room in rooms if room for kind in kinds)}
        self.counts.update(names)
        if self._strike and self._within in names and self._at in (None, self.counts[self._within]):
            self._strike()


def _rooms(frame: FrameType | None) -> set[str]:
    """Return the packages in which a call is made, from the innermost frame outwards."""
    found = {""}
    while frame:
        if frame.f_code.co_name in _LOOKS_AROUND:
            return set()
        found.add(ROOMS_OF.get(frame.f_globals.get("__name__", ""), ""))
        frame = frame.f_back
    return found


@dataclass(frozen=True)
class Passed:
    """A finished process of the command: its exit code (negative for a signal) and its output."""

    code: int
    output: str
    points: Mapping[str, int]
    """By room and kind, see ``Points``."""
    seconds: float


@dataclass(frozen=True)
class Ended:
    """The final state of a place."""

    commits: tuple[str, ...]
    turns: int
    answered: int
    calls_twice: int
    effects: tuple[tuple[str, int], ...]
    not_run_again: int
    fingerprint: str
    complaints: str


class Place:
    """A repository and a home in a folder, with one loopback provider that imitates every vendor."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.home = folder / "home"
        self._url = url
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "xdg"),
            "AUTOROUTE_CONFIG": str(self.home / "config.toml"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LANG": "C.UTF-8",
            "TMPDIR": str(folder),
            "ANTHROPIC_API_KEY": "a-key",
        }

    def make(self) -> None:
        """Create the repository, its first commit, the task, and settings that point to the provider."""
        self.project.mkdir(parents=True)
        self.home.mkdir()
        providers = {"anthropic": {"base_url": f"{self._url}/anthropic"}}
        settings = {"providers": providers, "sandbox": {"mode": strongest_here(os.environ)}}
        (self.home / "config.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
        (self.home / ".gitconfig").write_text("[user]\n\tname = A Developer\n\temail = dev@localhost\n", "utf-8")
        (self.project / "README").write_text("A project.\n", encoding="utf-8")
        (self.project / ".gitignore").write_text(f"{EFFECTS}\n", encoding="utf-8")
        for arguments in (("init", "--quiet", "--template=", "--initial-branch=main"), ("add", ".")):
            subprocess.run(["git", *arguments], cwd=self.project, env=self.environ, check=True)
        commit = ["git", "commit", "--quiet", "--message=Begin"]
        subprocess.run(commit, cwd=self.project, env=self.environ, check=True)
        (self.project / "task.md").write_text("# Greet the world\n\nWrite two greetings.\n", encoding="utf-8")

    @property
    def journal(self) -> Path | None:
        """The journal of the newest run; None if no run has started."""
        return max(self.project.glob(".autoroute/runs/*/events.jsonl"), default=None)

    def events(self) -> list[Event]:
        """Return the recorded events."""
        return read_events(self.journal) if self.journal else []

    def fingerprint(self) -> str:
        """Return a digest of everything of the user that a run must not change."""
        git = users_git(self.project, self.environ)
        refs = git.text("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        state = [ref for ref in refs if "/autoroute/" not in ref]
        for path in sorted(self.project.rglob("*")):
            place = path.relative_to(self.project)
            ours = (
                place.parts[0] == ".autoroute" or place.parts[:2] == (".git", "objects") or "autoroute" in place.parts
            )
            if path.is_file() and not ours:
                facts = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                state.append(f"{place} {digest} {facts.st_mode} {facts.st_mtime_ns}")
        return hashlib.sha256("\n".join(state).encode()).hexdigest()

    def look(self, answered: int) -> Ended:
        """Return how the only run here ended."""
        git, events = users_git(self.project, self.environ), self.events()
        branches = git.text("for-each-ref", "--format=%(refname)", "refs/heads/autoroute").split()
        commits = git.text("log", "--reverse", "--format=%s %T", f"main..{branches[-1]}") if branches else ""
        ended = Counter((event.turn, event.call) for event in events if isinstance(event, ToolEnded))
        started = Counter((event.turn, event.call) for event in events if isinstance(event, ToolStarted))
        texts = [event.text for event in events if isinstance(event, ToolEnded)]
        looks = {
            event.subtask: event.output
            for event in events
            if isinstance(event, VerifyEnded) and event.subtask in _LAST_SUBTASKS and _LOOK in event.command
        }
        effects = Counter(re.findall(r"^effect-\w+$", "".join(looks.values()), re.MULTILINE))
        try:
            complaints = git.text("fsck", "--no-dangling", "--no-progress")
        except WorkspaceError as error:
            complaints = error.message
        return Ended(
            commits=tuple(commits.splitlines()),
            turns=sum(isinstance(event, TurnEnded) for event in events),
            answered=answered,
            calls_twice=sum(count > 1 for count in (ended | started).values()),
            effects=tuple(sorted(effects.items())),
            not_run_again=sum("was not run again" in text for text in texts),
            fingerprint=self.fingerprint(),
            complaints=complaints,
        )

    def run(self, arguments: Sequence[str], prepare: Callable[[], Points | None] = lambda: None) -> Passed:
        """Run the command in a fork of this process. ``prepare`` is called there, and its points are counted."""
        return self.start(arguments, prepare)()

    def start(
        self, arguments: Sequence[str], prepare: Callable[[], Points | None] = lambda: None
    ) -> Callable[[], Passed]:
        """Start the command and return a function that waits for its end."""
        sys.stdout.flush()
        started, (mine, its) = time.monotonic(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(mine)
            self._run(arguments, prepare, its)
        os.close(its)
        return partial(self._finish, child, mine, started)

    def _finish(self, child: int, mine: int, started: float) -> Passed:
        with os.fdopen(mine, "rb") as pipe:
            output = pipe.read().decode("utf-8", "replace")
        _, status = os.waitpid(child, 0)
        counted = re.search(r"\npoints (.*)\n\Z", output)
        return Passed(
            code=os.waitstatus_to_exitcode(status),
            output=output[: counted.start()] if counted else output,
            points=json.loads(counted[1]) if counted else {},
            seconds=time.monotonic() - started,
        )

    def _run(self, arguments: Sequence[str], prepare: Callable[[], Points | None], output: int) -> NoReturn:
        """Run the command in this process, to its end."""
        from autoroute.cli.app import main

        points: Points | None = None

        def command() -> None:
            nonlocal points
            points = prepare()
            try:
                sys.setprofile(points)
                main()
            finally:
                sys.setprofile(None)

        sys.argv = ["autoroute", *arguments]
        streams = (os.open(os.devnull, os.O_RDONLY), output, output)
        code = run_command(command, cwd=self.project, environ=self.environ, streams=streams, crash_code=99)
        os.write(1, f"\npoints {json.dumps(points.counts if points else {})}\n".encode())
        os._exit(code)


class Worker:
    """A warm process that makes places, runs the command in them, and adopts the processes left running there."""

    def __init__(self, folder: Path, provider: Connection, url: str) -> None:
        self._folder = folder
        self._provider = provider
        self._template = Place(folder / "template", url)
        self._url = url
        self._numbers = 0
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self._template.make()

    def warm_up(self) -> None:
        """Load every module that the command loads, by running it once in this process."""
        from autoroute.cli.app import app

        before = dict(os.environ), Path.cwd(), os.dup(1), os.dup(2)
        with self.place() as place, tempfile.TemporaryFile() as output:
            os.chdir(place.project)
            os.environ.clear()
            os.environ.update(place.environ)
            for number in (1, 2):
                os.dup2(output.fileno(), number)
            try:
                app(RUN, standalone_mode=False)
            except SystemExit:
                pass
            finally:
                sys.stdout.flush()
                os.environ.update(before[0])
                os.chdir(before[1])
                for number, handle in ((1, before[2]), (2, before[3])):
                    os.dup2(handle, number)
                    os.close(handle)

    @contextmanager
    def place(self, root: Path | None = None) -> Iterator[Place]:
        """Yield a new place, with no requests counted at the provider."""
        self._numbers += 1
        place = Place((root or self._folder) / f"place-{self._numbers}", self._url)
        shutil.copytree(self._template.folder, place.folder, symlinks=True)
        self.answered()
        try:
            yield place
        finally:
            self.kill_leftovers()
            shutil.rmtree(place.folder, ignore_errors=True)

    def answered(self) -> int:
        """Return how many turns the provider answered since the last call."""
        self._provider.send("count")
        return int(self._provider.recv())

    def kill_leftovers(self) -> int:
        """Kill the processes that killed runs left behind; return how many there were."""
        found = 0
        while children := self._children():
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                found += 1
        return found

    def wait_for_leftovers(self) -> bool:
        """Wait for the remaining processes to end; return whether they did."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)
            except ChildProcessError:
                return True
        return False

    def _children(self) -> list[int]:
        children = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                children.append(int(path.parent.name))
        return children


def share(
    work: Callable[[Worker, Sequence[Any]], Iterable[Result]], cases: Sequence[Any], at_once: int = 2
) -> list[Result]:
    """Return what ``work`` yields for these cases, in several warm processes with a provider each.

    Raises ``SystemExit`` if one of them fails.
    """
    context = multiprocessing.get_context("fork")
    started = []
    for number in range(at_once):
        asking, answering = context.Pipe()
        mine, its = context.Pipe()
        provider = context.Process(target=_provide, args=(answering,))
        provider.start()
        process = context.Process(target=_work, args=(its, asking, work, cases[number::at_once]))
        process.start()
        its.close()
        started.append((process, mine, provider, asking))
    # Read from whichever worker has output: one that is not read blocks once its pipe is full.
    results, talking = list[Result](), [mine for _, mine, _, _ in started]
    while talking:
        for heard in wait(talking):
            assert isinstance(heard, Connection)
            if (result := heard.recv()) is None:
                talking.remove(heard)
                continue
            results.append(result)
            if len(results) % _TOLD == 0:
                print(f"{len(results)} results of {len(cases)} cases so far", file=sys.stderr, flush=True)
    for process, _, provider, asking in started:
        process.join()
        asking.send("end")
        provider.join()
        if process.exitcode:
            raise SystemExit("a worker failed")
    return results


def _work(
    results: Connection,
    provider: Connection,
    work: Callable[[Worker, Sequence[Any]], Iterable[Any]],
    cases: Sequence[Any],
) -> None:
    try:
        with tempfile.TemporaryDirectory() as folder:
            worker = Worker(Path(folder), provider, provider.recv())
            worker.warm_up()
            for result in work(worker, cases):
                results.send(result)
    finally:
        results.send(None)


def _provide(questions: Connection) -> None:
    """Serve a provider in its own process, so that the processes that fork have no threads."""
    with ModelServer(story()) as server:
        questions.send(server.url)
        while questions.recv() != "end":
            asked = sum(request.status == 200 for request in server.turns)
            server.requests.clear()
            questions.send(asked)


def story() -> Script:
    """Return a script of two subtasks and a rejection; each command leaves a mark that no checkpoint undoes."""
    return Script(
        (
            Rule("submit_spec", "", (_SPEC,)),
            Rule("submit_plan", "", (_PLAN,)),
            Rule("edit", "The change was rejected", (_edit("three", "Three"), _DONE)),
            Rule("edit", "Your subtask, 1 of 2", (_write("one", "hello\n"), _edit("one", "hello", "Hello"), _DONE)),
            Rule("edit", "Your subtask, 2 of 2", (_write("two", "hello\n", "three", "3\n"), _DONE)),
            Rule("submit_review", "Round 1 of", (_review("rejected"),)),
            Rule("submit_review", "", (_review("approved"),)),
        )
    )


def _call(name: str, **arguments: Any) -> ScriptedCall:
    return ScriptedCall(name, json.dumps(arguments))


def _effect(name: str) -> ScriptedCall:
    return _call("bash", command=f"echo effect-{name} >> {EFFECTS}")


def _write(*pairs: str) -> ScriptedReply:
    files = [
        _call("write", path=f"{path}.txt", content=text) for path, text in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return ScriptedReply(text="I write.", calls=(*files, _effect(pairs[0])))


def _edit(name: str, text: str, new: str = "") -> ScriptedReply:
    change = (
        _call("edit", path=f"{name}.txt", old=text, new=new)
        if new
        else _call("write", path=f"{name}.txt", content=text)
    )
    return ScriptedReply(text="I change it.", calls=(_effect(f"before_{name}"), change, _effect(f"after_{name}")))


def _review(verdict: str) -> ScriptedReply:
    met = verdict == "approved"
    problem = {"severity": "major", "file": "three.txt", "problem": "It greets no one.", "fix": "Greet."}
    content: Mapping[str, Any] = {
        "verdict": verdict,
        "summary": "It greets." if met else "three.txt greets no one.",
        "criteria": [{"id": "A1", "met": met, "evidence": "the files"}],
        "issues": [] if met else [problem],
    }
    return ScriptedReply(calls=(_call("submit_review", **content),))


_SPEC = ScriptedReply(
    thinking="Small and clear.",
    calls=(
        _call("read", path="README"),
        _call("find", glob="*"),
        _call(
            "submit_spec",
            title="Greet the world",
            summary="Files that greet.",
            requirements=["there are greetings"],
            acceptance=[{"id": "A1", "text": "the files greet"}],
            assumptions=[],
            out_of_scope=[],
        ),
    ),
)
_PLAN = ScriptedReply(
    calls=(
        _call(
            "submit_plan",
            summary="Two steps.",
            subtasks=[
                {
                    "id": f"S{number}",
                    "title": f"Write greeting {number}",
                    "description": "Write it.",
                    "files": [f"{name}.txt"],
                    "depends_on": [],
                    "acceptance": ["A1"],
                    "verify": f"test -s {name}.txt && {{ {_LOOK}; }}",
                }
                for number, name in enumerate(("one", "two"), start=1)
            ],
            verify=[_LOOK],
        ),
    ),
)
_DONE = ScriptedReply(text="Done.")
