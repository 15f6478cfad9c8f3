"""Hostile git configuration: does one of our git calls run it, in the user's repository or in the workspace?

python benchmarks/reliability/git.py [HOW_MANY] [SEED]

Each vector is a way to make git run a program. It is planted (a) in a downloaded repository whose ``.git/config`` is an
attacker's, (b) in the workspace, where a model may write anything, in its ``.git`` and in that of a folder in it, and
(c) in the variables of the user's environment, which give settings to every git.
The control is plain git in the same places: a vector that plain git does not run proves nothing.
"""

from __future__ import annotations

import os
import pty
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from autoroute.app.sandbox import strongest_here
from autoroute.demo.server import ModelServer
from autoroute.demo.story import make_project, story
from autoroute.errors import AutorouteError
from autoroute.workspace.clone import PrivateClone, plan_base
from autoroute.workspace.repository import Repository

ATTRIBUTES = "* filter=evil diff=evil merge=evil\n"
COMMIT = ("git", "commit", "--allow-empty", "--message=x")
ADD, STATUS, DIFF, FETCH = ("git", "add", "-A"), ("git", "status"), ("git", "diff"), ("git", "fetch", "origin")


@dataclass(frozen=True)
class Vector:
    """One attack: lines for ``.git/config``, files to create, and a control; ``{run}`` is a program that leaves a mark.

    autoroute rejects repositories with a vector that is ``refused``. ``--include-dirty`` runs those with ``adds`` on
    purpose, as ``git add`` does.
    """

    name: str
    config: str = ""
    files: dict[str, str] = field(default_factory=dict)
    control: Sequence[Sequence[str]] = (STATUS,)
    refused: bool = False
    adds: bool = False


def _hook(name: str, *control: Sequence[str]) -> Vector:
    return Vector(f"hook {name}", files={f".git/hooks/{name}": "#!/bin/sh\n{run}\n"}, control=control)


def _remote(url: str, *more: str) -> str:
    lines = "".join(f"\t{line}\n" for line in more)
    return f'[remote "origin"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n{lines}'


VECTORS = (
    Vector("fsmonitor", "[core]\n\tfsmonitor = {run}\n"),
    Vector("filter clean", '[filter "evil"]\n\tclean = {run} pass\n', control=(ADD,), adds=True),
    Vector("filter smudge", '[filter "evil"]\n\tsmudge = {run} pass\n', control=(("git", "checkout", "-f", "side"),)),
    Vector("filter process", '[filter "evil"]\n\tprocess = {run}\n', control=(ADD,), adds=True),
    Vector("filter required", '[filter "evil"]\n\tclean = {run} pass\n\trequired = true\n', control=(ADD,), adds=True),
    Vector("diff.external", "[diff]\n\texternal = {run}\n", control=(DIFF,)),
    Vector("diff driver", '[diff "evil"]\n\tcommand = {run}\n', control=(DIFF,)),
    Vector("textconv", '[diff "evil"]\n\ttextconv = {run}\n\tcachetextconv = true\n', control=(DIFF,)),
    Vector("merge driver", '[merge "evil"]\n\tdriver = {run}\n', control=(ADD, COMMIT, ("git", "merge", "side"))),
    _hook("pre-commit", COMMIT),
    _hook("prepare-commit-msg", COMMIT),
    _hook("commit-msg", COMMIT),
    _hook("post-commit", COMMIT),
    _hook("post-checkout", ("git", "checkout", "-f", "side")),
    _hook("post-merge", ADD, COMMIT, ("git", "merge", "other")),
    _hook("pre-merge-commit", ADD, COMMIT, ("git", "merge", "other")),
    _hook("reference-transaction", ("git", "update-ref", "refs/heads/x", "HEAD")),
    _hook("post-index-change", ADD),
    _hook("pre-rebase", ADD, COMMIT, ("git", "rebase", "other")),
    _hook("post-rewrite", (*COMMIT, "--amend")),
    Vector(
        "core.hooksPath",
        "[core]\n\thooksPath = tools\n",
        {"tools/reference-transaction": "#!/bin/sh\n{run}\n", "tools/post-index-change": "#!/bin/sh\n{run}\n"},
        (ADD,),
    ),
    Vector("core.pager", "[core]\n\tpager = {run}\n", control=(("git", "-p", "log"),)),
    Vector("pager of a command", "[pager]\n\tdiff = {run}\n\tshow = {run}\n", control=(("git", "show"),)),
    Vector("core.editor", "[core]\n\teditor = {run}\n", control=(("git", "commit", "--allow-empty"),)),
    Vector(
        "sequence.editor", "[sequence]\n\teditor = {run}\n", control=(ADD, COMMIT, ("git", "rebase", "-i", "HEAD~1"))
    ),
    Vector("gpg.program", "[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = {run}\n", control=(COMMIT,)),
    Vector(
        "gpg.ssh.program",
        '[commit]\n\tgpgSign = true\n[gpg]\n\tformat = ssh\n[gpg "ssh"]\n\tprogram = {run}\n'
        "[user]\n\tsigningKey = a.txt\n",
        control=(COMMIT,),
    ),
    Vector("core.sshCommand", "[core]\n\tsshCommand = {run}\n" + _remote("ssh://127.0.0.1/x"), control=(FETCH,)),
    Vector("core.gitProxy", "[core]\n\tgitProxy = {run}\n" + _remote("git://127.0.0.1:9/x"), control=(FETCH,)),
    Vector(
        "credential.helper",
        "[credential]\n\thelper = {run}\n",
        control=(("git", "credential", "fill"),),
    ),
    Vector("core.askPass", "[core]\n\taskPass = {run}\n", control=(("git", "credential", "fill"),)),
    Vector("protocol ext", '[protocol "ext"]\n\tallow = always\n' + _remote("ext::{run} x"), control=(FETCH,)),
    Vector("remote uploadpack", _remote("{root}", "uploadpack = {run}"), control=(FETCH,)),
    Vector(
        "remote receivepack", _remote("{root}", "receivepack = {run}"), control=(("git", "push", "origin", "HEAD"),)
    ),
    Vector(
        "any path becomes a command",
        '[protocol "ext"]\n\tallow = always\n[url "ext::{run} "]\n\tinsteadOf = /\n',
        control=(("git", "fetch", "{root}"),),
    ),
    Vector(
        "core.alternateRefsCommand",
        "[core]\n\talternateRefsCommand = {run}\n",
        {".git/objects/info/alternates": "{other}/.git/objects\n"},
        (("git", "fetch", "{other}", "main"),),
    ),
    Vector("include.path", "[include]\n\tpath = ../settings\n", {"settings": "[core]\n\tfsmonitor = {run}\n"}),
    Vector(
        "includeIf",
        '[includeIf "gitdir:/"]\n\tpath = ../more\n',
        {"more": '[filter "evil"]\n\tclean = {run} pass\n'},
        (ADD,),
        adds=True,
    ),
    Vector(
        "config.worktree",
        "[extensions]\n\tworktreeConfig = true\n",
        {".git/config.worktree": "[core]\n\tfsmonitor = {run}\n"},
    ),
    Vector(
        "info/attributes",
        '[filter "third"]\n\tclean = {run} pass\n',
        {".git/info/attributes": "*.txt filter=third\n"},
        (ADD,),
        adds=True,
    ),
    Vector("alias", "[alias]\n\tst = !{run}\n", control=(("git", "st"),)),
    Vector("difftool", '[diff]\n\ttool = t\n[difftool "t"]\n\tcmd = {run}\n', control=(("git", "difftool", "-y"),)),
    Vector(
        "mergetool",
        '[merge]\n\ttool = t\n[mergetool "t"]\n\tcmd = {run}\n',
        control=(ADD, COMMIT, ("git", "merge", "side"), ("git", "mergetool", "-y")),
    ),
    Vector(
        "trailer",
        '[trailer "x"]\n\tkey = X\n\tifmissing = add\n\tcommand = {run}\n',
        control=(("git", "interpret-trailers", "--trailer", "x=1", "a.txt"),),
    ),
    Vector(
        "archive format",
        '[tar "evil"]\n\tcommand = {run}\n',
        {".git/info/attributes": "* export-subst\n"},
        (("git", "archive", "--format=evil", "HEAD"),),
    ),
    Vector(
        "submodule update",
        '[submodule "sub"]\n\turl = ./sub\n\tupdate = !{run}\n',
        control=(("git", "-C", "sub", "checkout", "-q", "HEAD~0"), ("git", "submodule", "update", "--force", "sub")),
    ),
    Vector("work tree of another place", "[core]\n\tworktree = {other}\n\tfsmonitor = {run}\n", refused=True),
    Vector(
        "what is missing is fetched",
        "[extensions]\n\tpartialClone = origin\n" + _remote("{root}", "uploadpack = {run}"),
        {".git/HEAD": "0123456789012345678901234567890123456789\n"},
        (("git", "log"),),
        refused=True,
    ),
    Vector(
        "a name with = in it",
        '[filter "a=b"]\n\tclean = {run} pass\n',
        {".git/info/attributes": "* filter=a=b\n"},
        (ADD,),
        refused=True,
    ),
)


class Place:
    """A folder with a repository, a home, and a folder for marks."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder, self.root, self.marks = folder, folder / "project", folder / "marks"
        shutil.copytree(template, folder, symlinks=True)
        self.marks.mkdir()
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_TERMINAL_PROMPT": "0", "TERM": "dumb"}

    def plant(self, vector: Vector, *roots: Path) -> None:
        """Plant the vector in these repositories."""
        filled = self._make_program(vector)
        for root in roots:
            with (root / ".git/config").open("a", encoding="utf-8") as config:
                config.write(filled(vector.config))
            self._make_files(vector, root, filled)

    def plant_in_variables(self, vector: Vector, variable: str) -> None:
        """Plant the vector's files in the user's repository, and its settings where ``variable`` leads git."""
        filled = self._make_program(vector)
        self._make_files(vector, self.root, filled)
        settings = self.root / ".git/named-by-a-variable"
        settings.write_text(filled(vector.config), "utf-8")
        if variable == "GIT_CONFIG_GLOBAL":
            with settings.open("a", encoding="utf-8") as file:
                file.write((self.folder / ".gitconfig").read_text("utf-8"))
            self.environ[variable] = str(settings)
            return
        listing = ["git", "config", "--file", str(settings), "--list", "-z", "--no-includes"]
        found = subprocess.run(listing, env=self.environ, capture_output=True, text=True, check=True).stdout
        entries = [entry.partition("\n") for entry in found.split("\0") if entry and not entry.startswith("include")]
        self.environ["GIT_CONFIG_COUNT"] = str(len(entries))
        for number, (key, _, value) in enumerate(entries):
            self.environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}

    def _make_program(self, vector: Vector) -> Callable[[str], str]:
        """Make the program of a vector; return the function that fills its path into a text."""
        program = self.folder / f"{vector.name.replace(' ', '-').replace('=', '-').replace('/', '-')}.sh"
        mark = self.marks / program.stem
        program.write_text(f'#!/bin/sh\n: > {mark}\n[ "$1" != pass ] || exec cat\n', "utf-8")
        program.chmod(0o755)

        def filled(text: str) -> str:
            return (
                text.replace("{run}", str(program))
                .replace("{root}", str(self.root))
                .replace("{other}", str(self.folder / "other"))
            )

        return filled

    def _make_files(self, vector: Vector, root: Path, filled: Callable[[str], str]) -> None:
        for name, text in vector.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if name.endswith("config") else "w", encoding="utf-8") as file:
                file.write(filled(text))
            path.chmod(0o755 if text.startswith("#!") else 0o644)

    def dirty(self) -> None:
        """Make uncommitted changes that git has to examine."""
        (self.root / "a.txt").write_text("mine\n", "utf-8")
        (self.root / "sub/inner.txt").write_text("other\n", "utf-8")
        for path in (self.root / "src/b.txt", self.root / "README"):
            os.utime(path, (1, 1))

    def fired(self) -> set[str]:
        """Return the marks that were left since the last call."""
        found = {path.name for path in self.marks.iterdir()}
        for name in found:
            (self.marks / name).unlink()
        return found


def make_template(folder: Path) -> None:
    """Create a repository with branches that merge and that conflict, one inside it, and one beside it."""
    project = folder / "project"
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def git(*arguments: str, cwd: Path = project) -> None:
        subprocess.run(["git", *arguments], cwd=cwd, env=environ, check=True, capture_output=True)

    def commit(message: str, cwd: Path = project) -> None:
        git("add", "-A", cwd=cwd)
        git("commit", "-qm", message, cwd=cwd)

    folder.mkdir()
    (folder / ".gitconfig").write_text("[user]\n\tname = A Developer\n\temail = dev@example.com\n", "utf-8")
    for root in (project, folder / "other", project / "sub"):
        root.mkdir()
        git("init", "-q", "--initial-branch=main", cwd=root)
    for root in (folder / "other", project / "sub"):
        (root / "inner.txt").write_text("inner\n", "utf-8")
        (root / ".gitattributes").write_text(ATTRIBUTES, "utf-8")
        commit("Begin", root)
    for name, text in {
        "a.txt": "one\n",
        "src/b.txt": "two\n",
        "README": "$Id$\n",
        ".gitattributes": ATTRIBUTES,
    }.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, "utf-8")
    (project / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n', "utf-8")
    commit("Begin")
    for branch, name, text in (("side", "a.txt", "theirs\n"), ("other", "new.txt", "new\n")):
        git("checkout", "-q", "-b", branch, "main")
        (project / name).write_text(text, "utf-8")
        commit(branch)
    git("checkout", "-q", "main")
    (project / "c.txt").write_text("c\n", "utf-8")
    commit("More")


def control(vector: Vector, place: Place) -> bool:
    """Return whether plain git runs the vector."""
    place.plant(vector, place.root)
    place.dirty()
    reader, writer = pty.openpty()
    try:
        for command in vector.control:
            filled = [
                part.replace("{root}", str(place.root)).replace("{other}", str(place.folder / "other"))
                for part in command
            ]
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    filled,
                    cwd=place.root,
                    env=place.environ,
                    input=b"protocol=http\nhost=127.0.0.1\n\n",
                    stdout=writer,
                    stderr=subprocess.DEVNULL,
                    timeout=20,
                    check=False,
                )
    finally:
        os.close(reader)
        os.close(writer)
    return bool(place.fired())


def users_calls(place: Place) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every git call of a run in the user's repository, in order."""
    found: list[Repository] = []
    yield "discover", lambda: found.append(Repository.discover(place.root, place.environ))
    if not found:
        return
    repository = found[0]
    clone = PrivateClone(repository, place.folder / "workspaces/r1", "r1", base=plan_base(repository))
    yield "find_dirty_paths", repository.find_dirty_paths
    yield "resolve_commit", lambda: repository.resolve_commit("other")
    yield "read_identity", repository.read_identity
    yield "read_excludes", repository.read_excludes
    yield "branch_tip", lambda: repository.branch_tip("side")
    yield "clone", clone.open
    yield from work(clone, place)
    yield "what a merge brings", lambda: repository.find_auto_executed("autoroute/r1")
    yield "delete_branch", lambda: repository.delete_branch("r1", [repository.branch_tip("autoroute/r1")])
    dirty = PrivateClone(
        repository, place.folder / "workspaces/r2", "r2", base=plan_base(repository), include_dirty=True
    )
    yield "clone with uncommitted changes", dirty.open


def models_calls(vector: Vector, place: Place) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every git call of a run in the workspace after a model has planted the vector."""
    repository = Repository.discover(place.root, place.environ)
    clone = PrivateClone(repository, place.folder / "workspaces/r1", "r1", base=plan_base(repository))
    clone.open()
    shutil.rmtree(clone.root / "sub")
    shutil.copytree(place.root / "sub", clone.root / "sub")
    shutil.copytree(place.root / "sub", clone.root / "nested")
    place.plant(vector, clone.root, clone.root / "sub", clone.root / "nested")
    yield from work(clone, place)


def work(clone: PrivateClone, place: Place) -> Iterator[tuple[str, Callable[[], object]]]:
    """Do what a run does in its workspace, and with its result."""
    trees: list[str] = []
    yield "first snapshot", lambda: trees.append(clone.snapshot())
    (clone.root / "a.txt").write_text("changed\n", "utf-8")
    (clone.root / "made.txt").write_text("made\n", "utf-8")
    yield "snapshot", lambda: trees.append(clone.snapshot())
    yield "changes", lambda: clone.compare(trees[-1])
    yield "pending", lambda: clone.pending_diff(10_000)
    yield "leaks", lambda: clone.find_secrets(trees[-1])
    yield "commit", lambda: clone.commit(trees[-1], "Change", "Because.", {"Autoroute-Run": "r1"})
    yield "head_tree", clone.head_tree
    yield "what runs unasked", clone.find_auto_executed
    yield "diff", lambda: clone.diff(10_000)
    yield "listing", lambda: clone.list_files(100)
    yield "digest", lambda: clone.pack_files(10_000)
    yield "guidance", clone.read_guidance
    (clone.root / "made.txt").unlink()
    yield "restore", lambda: clone.restore(trees[-1])
    yield "restore to the beginning", lambda: clone.restore(trees[0])
    yield "open again", lambda: clone.open(clone._tip())
    yield "deliver", lambda: clone.publish(place.folder / "changes.patch")
    yield "deliver again", lambda: clone.publish(place.folder / "changes.patch")
    yield "remove", clone.remove


@dataclass
class Count:
    """The calls that were made, by place, and those that ran a vector."""

    calls: Counter[str] = field(default_factory=Counter)
    marks: list[str] = field(default_factory=list)
    on_purpose: int = 0
    errors: list[str] = field(default_factory=list)

    def take(self, where: str, vector: Vector, calls: Iterator[tuple[str, Callable[[], object]]], place: Place) -> None:
        """Make the calls, and check for marks after each of them."""
        for name, call in calls:
            self.calls[where] += 1
            for inner in place.folder.rglob("inner.txt"):
                os.utime(inner, (self.calls.total(), 1))  # git examines it again
            try:
                call()
            except AutorouteError as error:
                expected = (vector.refused and name == "discover") or (vector.adds and "uncommitted" in name)
                if not expected:
                    self.errors.append(f"{vector.name}: {where}: {name}: {error.message}")
            if place.fired():
                if vector.adds and name == "clone with uncommitted changes":
                    self.on_purpose += 1
                else:
                    self.marks.append(f"{vector.name}: {where}: {name}")


def bins(vectors: Sequence[Vector]) -> list[list[Vector]]:
    """Group the vectors into as few repositories as possible: those with the same settings are kept apart."""
    made: list[tuple[set[str], list[Vector]]] = []
    for vector in vectors:
        lines, section = set(vector.files), ""
        for line in vector.config.splitlines():
            section = line if line.startswith("[") else section
            lines.add(section + line.partition("=")[0])
        for taken, bin in made:
            if not taken & lines and not any(one.refused for one in (vector, *bin)):
                taken |= lines
                bin.append(vector)
                break
        else:
            made.append((lines, [vector]))
    return [bin for _, bin in made]


def commands(vectors: Sequence[Vector], folder: Path, server: ModelServer, count: Count) -> None:
    """Run the whole command line in a repository with these vectors, up to a discarded run."""
    project = folder / "project"
    make_project(project, os.environ["PATH"])
    shutil.copytree(folder.parent / "template/project/sub", project / "sub")
    (project / ".git/info").mkdir(exist_ok=True)
    (project / ".git/info/attributes").write_text(ATTRIBUTES, "utf-8")
    place = Place.__new__(Place)
    place.folder, place.root, place.marks = folder, project, folder / "marks"
    place.marks.mkdir()
    for vector in vectors:
        place.plant(vector, project)
    for path in project.glob("*.md"):
        os.utime(path, (1, 1))
    names = ("anthropic", "zai")
    (folder / "config.toml").write_text(
        tomli_w.dumps(
            {
                "providers": {name: {"base_url": f"{server.url}/{name}"} for name in names},
                "sandbox": {"mode": strongest_here(os.environ)},
            }
        ),
        "utf-8",
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "AUTOROUTE_CONFIG": str(folder / "config.toml"),
        "LANG": "C.UTF-8",
        "ANTHROPIC_API_KEY": "a-key",
        "ZAI_API_KEY": "a-key",
    }
    run = ("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.7", "--format", "plain")
    wanted = {"run --until planning": 13, "resume": 0, "diff": 0, "show": 0, "runs": 0, "doctor": 0, "discard": 0}
    for name, command in {
        "doctor": ("doctor",),
        "run --until planning": (*run, "--until", "planning"),
        "resume": ("resume", "--format", "plain"),
        "runs": ("runs",),
        "show": ("show",),
        "diff": ("diff",),
        "discard": ("discard", "latest", "--yes"),
    }.items():
        done = subprocess.run(
            [sys.executable, "-m", "autoroute", *command],
            cwd=project,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        count.calls["commands"] += len(vectors)
        refused = any(vector.refused for vector in vectors)
        if done.returncode != wanted[name] and not refused:
            count.errors.append(f"{[v.name for v in vectors]}: {name}: exit {done.returncode}: {done.stderr[-500:]}")
        count.marks += [f"{mark}: commands: {name}" for mark in place.fired()]


def main() -> int:
    """Print the figures; return 1 if a call ran a vector, or plain git does not run one."""
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    chance = random.Random(seed)
    many = int(sys.argv[1]) if len(sys.argv) > 1 else len(VECTORS)
    vectors = sorted(chance.sample(VECTORS, min(many, len(VECTORS))), key=VECTORS.index)
    count, blind = Count(), []
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        make_template(base / "template")
        for number, vector in enumerate(vectors):
            if not control(vector, Place(base / f"control-{number}", base / "template")):
                blind.append(vector.name)
            place = Place(base / f"user-{number}", base / "template")
            place.plant(vector, place.root)
            place.dirty()
            count.take("the user's repository", vector, users_calls(place), place)
            for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_COUNT"):
                place = Place(base / f"{variable}-{number}", base / "template")
                place.plant_in_variables(vector, variable)
                place.dirty()
                count.take(variable, vector, users_calls(place), place)
            place = Place(base / f"model-{number}", base / "template")
            count.take("the workspace", vector, models_calls(vector, place), place)
        for number, bin in enumerate(bins(vectors)):
            folder = base / f"commands-{number}"
            folder.mkdir()
            with ModelServer(story()) as server:
                commands(bin, folder, server, count)
    print(f"{len(vectors)} vectors; plain git fires {len(vectors) - len(blind)} of them")
    for where, calls in count.calls.items():
        marks = sum(f": {where}: " in mark for mark in count.marks)
        print(f"{where:<22} {calls:>5} calls of ours, {marks} fired")
    print(f"--include-dirty, which stores files as `git add` does, ran the user's filters in {count.on_purpose} cases")
    for line in (*(f"blind: {name}" for name in blind), *(f"FIRED: {mark}" for mark in count.marks), *count.errors):
        print(line)
    return 1 if blind or count.marks or count.errors else 0


if __name__ == "__main__":
    sys.exit(main())
