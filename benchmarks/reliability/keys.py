"""Canary keys for five providers in faulted runs: is any of them found where it does not belong?

python benchmarks/reliability/keys.py [HOW_MANY] [SEED]

Each case is a new world: five loopback providers, each with a key from another source, and a repository with a file
that contains those keys in several forms. The task and the guidance quote them. Models read that file, print the
environment and inspect other processes; providers quote keys in replies and errors, and fail. After ``run``,
``resume``, ``show`` and ``doctor`` everything is searched for every key in every form: output, run folder, state,
cache, logs, temporary files, git objects made by the run, and what each provider received. The commands run in forks of
one warm process. The control runs the same cases with a redactor that knows no keys, and must find some.
"""

from __future__ import annotations

import base64
import json
import os
import pkgutil
import random
import string
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import tomli_w

sys.path.insert(0, str(Path(__file__).parents[2]))

import autoroute
from autoroute import redaction
from autoroute.cli import app
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import FREE_GET, Fault, ModelServer
from tests.forked_command import run_command

MODELS = {
    "anthropic": "anthropic/opus-4.5",
    "zai": "zai/glm-4.7",
    "openai": "openai/gpt-x",
    "openrouter": "openrouter/some/model",
    "deepseek": "deepseek/deepseek-chat",
}
BEGINNINGS = {
    "anthropic": "sk-ant-api03-",
    "zai": "",
    "openai": "sk-proj-",
    "openrouter": "sk-or-v1-",
    "deepseek": "sk-",
}
AT_ONCE = min(2, os.cpu_count() or 1)
_CRASHED = 99
_PIECE = 14
"""Characters of a key that must not occur together at these places."""

FORMS: Mapping[str, Callable[[str], str]] = {
    "raw": str,
    "reversed": lambda key: key[::-1],
    "hex": lambda key: key.encode().hex(),
    "HEX": lambda key: key.encode().hex().upper(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 after 1": lambda key: base64.b64encode(b"=" + key.encode()).decode(),
    "base64 after 2": lambda key: base64.b64encode(b"y=" + key.encode() + b"\n").decode(),
    "URL-safe base64": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "URL": lambda key: "".join(f"%{ord(letter):02X}" for letter in key),
    "JSON": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "C": lambda key: "".join(f"\\x{ord(letter):02x}" for letter in key),
}


@dataclass(frozen=True)
class Outcome:
    """The result of a case: the commands' exit codes, what was searched, and where a key was found."""

    codes: tuple[int, ...]
    requests: int
    files: int
    size: int
    found: tuple[str, ...]
    tracebacks: int = 0


@dataclass
class World:
    """A user's home and repository in a folder, with the five providers and the five keys of one case."""

    folder: Path
    chance: random.Random
    stack: ExitStack
    keys: dict[str, str] = field(default_factory=dict)
    servers: dict[str, ModelServer] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """The user's repository."""
        return self.folder / "project"

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.folder / "home"

    def make(self) -> None:
        """Create everything that exists before the first command."""
        for place in (self.home / "state", self.folder / "tmp", self.project):
            place.mkdir(parents=True)
        letters = string.ascii_letters + string.digits + "_-"
        self.keys = {name: begin + "".join(self.chance.choices(letters, k=60)) for name, begin in BEGINNINGS.items()}
        self._make_project()
        faults = [fault for name in MODELS for fault in self._faults(name)]
        for name in MODELS:
            mine = [fault for fault in faults if fault.vendor == name]
            headers = {"x-request-id": f"req-{self.keys[name]}", "server": self.keys[name]}
            server = ModelServer(self._script(name), keys={name: self.keys[name]}, faults=mine, headers=headers)
            self.servers[name] = self.stack.enter_context(server)
        self._configure()

    def _make_project(self) -> None:
        notes = [f"{form}: {write(key)}" for key in self.keys.values() for form, write in FORMS.items()]
        quoted = "\n".join(self.keys.values())
        (self.project / "leak.txt").write_text("\n".join(notes) + "\n")
        (self.project / "leak.json").write_text(json.dumps(self.keys, indent=1))
        (self.project / "AGENTS.md").write_text(f"Use these keys:\n{quoted}\n")
        title = self.chance.choice(list(self.keys.values()))
        (self.project / "task.md").write_text(f"# Greet the world {title}\n\nWrite hello.txt. Keys:\n\n{quoted}\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=Begin")

    def _configure(self) -> None:
        """Configure one key from each kind of source."""
        tables: dict[str, dict[str, Any]] = {
            name: {"base_url": f"{server.url}/{name}/base"} for name, server in self.servers.items()
        }
        tables["openai"]["key_command"] = ["cat", str(self.home / "openai-key")]
        tables["openrouter"]["api_key"] = self.keys["openrouter"]
        (self.home / "openai-key").write_text(self.keys["openai"] + "\n")
        state = self.home / "state/autoroute"
        state.mkdir()
        (state / "logins.json").write_text(json.dumps({"deepseek:default": "file"}))
        (state / "keys.json").write_text(json.dumps({"deepseek:default": self.keys["deepseek"]}))
        (state / "keys.json").chmod(0o600)
        config = self.home / "config.toml"
        settings = {
            "providers": tables,
            # No sandbox: it would hide the keys from the commands, and this benchmark is about what is shown of them.
            "sandbox": {"mode": "off"},
            "limits": {"max_retries": int(self.chance.random() < 0.2), "max_rounds": 2},
            "recovery": {"on_limit": "fallback", "max_wait": "3s", "allow_paid": True},
        }
        config.write_text(tomli_w.dumps(settings))
        config.chmod(0o600)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands; it contains two of the keys."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "xdg"),
            "AUTOROUTE_CONFIG": str(self.home / "config.toml"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LANG": "C.UTF-8",
            "ANTHROPIC_API_KEY": self.keys["anthropic"],
            "ZAI_API_KEY": self.keys["zai"],
        }

    def git(self, *arguments: str) -> bytes:
        """Return what git prints in the user's repository."""
        names = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
        who = {f"GIT_{name}": "bench@localhost" for name in names}
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), **who}
        command = ["git", *arguments]
        return subprocess.run(command, cwd=self.project, env=environ, capture_output=True, check=True).stdout

    def _script(self, vendor: str) -> Script:
        """Return models that search for keys everywhere, and quote the key of their own provider."""
        key, chance = self.keys[vendor], self.chance
        looks = [
            _call("read", path="leak.txt"),
            _call("read", path="leak.json"),
            _call("grep", pattern="raw|base64|sk-"),
            _call("find", glob=f"*{key}*"),
            _call("read", path=f"no-such-{key}"),
            _call(f"no-such-tool-{key}"),
        ]
        commands = [
            "cat leak.txt leak.json AGENTS.md",
            "printenv; cat /proc/self/environ | tr '\\0' '\\n'",
            "for p in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $p; done 2>/dev/null | grep -a KEY",
            "for n in 1 2 3 4 5 6 7 8 9 10; do cat leak.txt; done",
            "base64 leak.txt; od -An -tx1 leak.json; rev leak.txt",
            "python3 -c \"print(ascii(open('leak.json').read()))\"; false",
            'git log -p | head -200; git config --list; cat "$HOME/openai-key" "$HOME/config.toml"',
        ]
        runs = [_call("bash", command=chance.choice(commands)) for _ in range(3)]
        said = ScriptedReply(f"The key is {key}.", f"I think of {key[::-1]}.", tuple(chance.sample(looks, 3)))
        ran = ScriptedReply("Now I run something.", calls=tuple(runs))
        spec = _call(
            "submit_spec",
            title=f"Greet {key}",
            summary=f"It greets, with {key}.",
            requirements=["hello.txt greets"],
            acceptance=[{"id": "A1", "text": "hello.txt says hello"}],
            assumptions=[key.encode().hex()],
            out_of_scope=[],
        )
        subtask = {
            "id": "S1",
            "title": "Greet",
            "description": f"Write hello.txt, not {key}.",
            "files": ["hello.txt"],
            "depends_on": [],
            "acceptance": ["A1"],
            "verify": "cat leak.json; printenv; test -s hello.txt",
        }
        plan = _call("submit_plan", summary=f"One step: {key}", subtasks=[subtask], verify=["cat leak.txt; true"])
        review = _call(
            "submit_review",
            verdict="approved",
            summary=f"It greets: {key}",
            criteria=[{"id": "A1", "met": True, "evidence": f"hello.txt:1 {key}"}],
            issues=[],
        )
        write = ScriptedReply("I write it.", calls=(_call("write", path="hello.txt", content="hello\n"),))
        return Script(
            (
                Rule("submit_spec", "", (said, ScriptedReply(calls=(spec,)))),
                Rule("submit_plan", "", (said, ScriptedReply(calls=(plan,)))),
                Rule("edit", "", (said, ran, write, ScriptedReply(f"Done with {key}."))),
                Rule("submit_review", "", (ran, ScriptedReply(calls=(review,)))),
            )
        )

    def _faults(self, vendor: str) -> Iterator[Fault]:
        """Return up to two faults, most of which quote the key."""
        key = self.keys[vendor]
        page = {"Content-Type": "text/html"}
        words = {"error": {"message": f"key {key} is bad ({key[::-1]})", "type": key, "code": key}}
        elsewhere = f"http://127.0.0.1:9/{key}"
        several = [
            Fault("status", vendor=vendor, status=401, body=words),
            Fault("status", vendor=vendor, status=429, body=words, headers={"retry-after": "1", "x-request-id": key}),
            Fault("status", vendor=vendor, status=500, body=f"<html>{key}</html>", headers=page),
            Fault("status", vendor=vendor, status=400, body=json.dumps(words).replace("-", "\\u002d")),
            Fault("status", vendor=vendor, status=402, body=words),
            Fault("redirect", vendor=vendor, status=self.chance.choice([301, 302, 303, 307, 308]), body=elsewhere),
            Fault("drop", vendor=vendor),
            Fault("cut", vendor=vendor),
            Fault("garbage", vendor=vendor),
            Fault("error_event", vendor=vendor, body=words),
            Fault("status", offers=FREE_GET, vendor=vendor, status=403, body=words),
        ]
        yield from self.chance.sample(several, self.chance.choice([0, 1, 1, 2]))


def _call(name: str, **arguments: Any) -> ScriptedCall:
    return ScriptedCall(name, json.dumps(arguments))


def run_autoroute(world: World, number: int, redacts: bool, *arguments: str) -> int:
    """Run ``autoroute`` in a fork of this process, with its output in files; return the exit code."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            if not redacts:
                redaction._MIN_KEY_CHARACTERS = sys.maxsize  # then every value is too short to be a key
            sys.argv = ["autoroute", *arguments]
            streams = [os.open(os.devnull, os.O_RDONLY)]
            for name in (f"stdout-{number}", f"stderr-{number}"):
                streams.append(os.open(world.folder / name, os.O_WRONLY | os.O_CREAT, 0o600))
            os._exit(
                run_command(app.main, cwd=world.project, environ=world.environ, streams=streams, crash_code=_CRASHED)
            )
        finally:
            os._exit(_CRASHED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def play(case: tuple[int, bool]) -> Outcome:
    """Play one case by its seed, with or without redaction."""
    seed, redacts = case
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="keys-") as folder, ExitStack() as stack:
        world = World(Path(folder), chance, stack)
        world.make()
        vendors = chance.sample(list(MODELS), len(MODELS))
        *routes, last = [MODELS[name] for name in vendors]
        shown = ("--format", chance.choice(["plain", "jsonl", "live"]))
        phases = ("spec", "plan", "code", "qa")
        flags = [word for phase, route in zip(phases, routes, strict=True) for word in (f"--{phase}", route)]
        fallbacks = [word for phase in phases for word in ("--fallback", f"{phase}={last}")]
        commands = [("run", "task.md", *flags, *fallbacks, "--no-probe", *shown), ("resume", *shown), ("show",)]
        if seed % 4 == 0:
            commands += [("show", "--json"), ("runs",), ("doctor", "--json", *flags)]
        codes: list[int] = []
        for number, command in enumerate(commands):
            if command[0] != "resume" or codes[0] not in (0, 2):
                codes.append(run_autoroute(world, number, redacts, *command))
        return search(world, tuple(codes))


def search(world: World, codes: tuple[int, ...]) -> Outcome:
    """Search everything that exists for every key."""
    needles = {}
    for vendor, key in world.keys.items():
        for form, write in FORMS.items():
            # The ends of the base64 text also encode what is next to the key.
            written = write(key)[4:-4] if "base64" in form else write(key)
            needles[written.encode()] = f"{vendor}'s key ({form})"
        own = key.removeprefix(BEGINNINGS[vendor])
        for at in range(0, len(own) - _PIECE, _PIECE):
            needles[own[at : at + _PIECE].encode()] = f"{vendor}'s key (a piece)"
    found: list[str] = []
    size = files = requests = tracebacks = 0

    def look(place: str, data: bytes) -> None:
        nonlocal size
        size += len(data)
        names = {name for needle, name in needles.items() if needle in data}
        found.extend(f"{name} in {place}" for name in sorted(names))

    own_files = {world.home / "config.toml", world.home / "openai-key", world.home / "state/autoroute/keys.json"}
    brought = {"leak.txt", "leak.json", "AGENTS.md", "task.md"}
    for path in sorted(world.folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path in own_files:
            continue
        name = str(path.relative_to(world.folder))
        in_tree = path.parent == world.project or path.parent.name == "tree"
        if path.name in brought and in_tree:
            continue
        files += 1
        data = path.read_bytes()
        tracebacks += b"Traceback" in data
        look(name, name.encode() + b"\0" + data)
    new = world.git("rev-list", "--all", "--not", "main", "--objects").split(b"\n")
    for line in filter(None, new):
        kind = world.git("cat-file", "-t", line.split()[0].decode()).strip().decode()
        look(f"git {kind} {line.decode()}", world.git("cat-file", kind, line.split()[0].decode()))
    look("the names of branches", world.git("for-each-ref"))
    for vendor, server in world.servers.items():
        for request in server.requests:
            requests += 1
            headers = dict(request.headers)
            for name in ("authorization", "x-api-key"):
                if headers.get(name, "").removeprefix("Bearer ") == world.keys[vendor]:
                    del headers[name]
            look(f"headers to {vendor}", json.dumps(headers).encode())
            look(f"path to {vendor}", request.path.encode())
            look(f"a body to {vendor}", request.raw)
    return Outcome(codes, requests, files, size, tuple(found), tracebacks)


def main() -> int:
    """Print the findings; return 1 if a key is where it does not belong, or if the control finds none."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    controls = max(1, many // 20)
    cases = [(seed + number, True) for number in range(many)] + [(seed + number, False) for number in range(controls)]
    started = time.monotonic()
    warm()
    with get_context("fork").Pool(AT_ONCE) as pool:
        outcomes = pool.map(play, cases, chunksize=1)
    seconds = time.monotonic() - started
    protected, bare = outcomes[:many], outcomes[many:]
    found = Counter(place for one in protected for place in one.found)
    exits = Counter(one.codes[0] for one in protected)
    tracebacks = sum(one.tracebacks for one in protected)
    print(f"seed {seed}: {many} runs with canary keys for {len(MODELS)} providers in {seconds:.0f} s")
    print(f"exit codes of the runs: {', '.join(f'{code}: {count}' for code, count in sorted(exits.items()))}")
    print(
        f"searched {sum(one.requests for one in protected)} requests and {sum(one.files for one in protected)} files, "
        f"{sum(one.size for one in protected) / 1e6:.0f} MB, for {len(MODELS)} keys in {len(FORMS)} forms"
    )
    print(f"keys found outside the user's own config: {sum(found.values())}; tracebacks: {tracebacks}")
    print(
        f"control without redaction: {sum(bool(one.found) for one in bare)} of {controls} runs show keys, "
        f"in {sum(len(one.found) for one in bare)} places"
    )
    for place, count in found.most_common(40):
        print(f"FOUND {count} times: {place}")
    blind = not all(one.found for one in bare)
    return 1 if found or tracebacks or blind or {1, _CRASHED} & set(exits) else 0


def warm() -> None:
    """Load every module that the commands would load."""
    for module in pkgutil.walk_packages(autoroute.__path__, "autoroute."):
        if not module.name.startswith(("autoroute.__main__", "autoroute.wire.platforms", "autoroute.demo.project")):
            import_module(module.name)


if __name__ == "__main__":
    sys.exit(main())
