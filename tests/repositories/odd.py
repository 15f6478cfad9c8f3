"""Repositories that are unlike most: how each is built, what a run changes in it, and what tells that it worked."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoroute.demo.script import ScriptedCall
from tests.commands.conftest import World
from tests.commands.scripts import GREETING, VERIFY, call

LONG_AGO = 1_600_000_000
"""The time of files that were there before, in seconds: git takes no such file for changed since it was added."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A repository, and a change to it.

    ``build`` makes it out of a plain one. ``verify`` is the command of the plan, ``steps`` are the calls of the coding
    model, and ``changed`` are the paths that differ in the commit. The run begins in ``folder`` of the repository. What
    the user does between the run and its merge is ``meanwhile``; ``folders`` are other places that a run must not
    touch.
    """

    build: Callable[[World], None]
    verify: str
    steps: tuple[ScriptedCall, ...]
    changed: tuple[str, ...]
    flags: tuple[str, ...]
    folder: str
    meanwhile: Callable[[World], None] | None
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the row, in words."""
        return self.build.__name__.replace("_", " ")


ROWS: list[Odd] = []
"""All odd repositories, in the order of their modules."""
LAYERS = "default", "landlock", "off"
WRITE_GREETING = call("write", path=GREETING, content="hello, world\n")


def odd(
    verify: str = VERIFY,
    *,
    steps: tuple[ScriptedCall, ...] = (WRITE_GREETING,),
    changed: tuple[str, ...] = (GREETING,),
    flags: tuple[str, ...] = (),
    folder: str = "",
    meanwhile: Callable[[World], None] | None = None,
    layers: tuple[str, ...] = ("default",),
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Return a decorator that adds a row: the function builds the repository, and its name names the row."""

    def register(build: Callable[[World], None]) -> Callable[[World], None]:
        ROWS.append(Odd(build, verify, steps, changed, flags, folder, meanwhile, layers))
        return build

    return register


def edit(path: str, old: str, new: str) -> ScriptedCall:
    return call("edit", path=path, old=old, new=new)


def bash(command: str) -> ScriptedCall:
    return call("bash", command=command)


def put(world: World, files: Mapping[str, str | bytes], *, mode: int = 0o644) -> None:
    """Write files into the checkout, as if long ago."""
    for name, content in files.items():
        path = world.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        os.utime(path, (LONG_AGO, LONG_AGO))


def commit(
    world: World, files: Mapping[str, str | bytes] | None = None, message: str = "Change", mode: int = 0o644
) -> None:
    """Commit everything in the checkout that git does not ignore, ``files`` among it."""
    put(world, files or {}, mode=mode)
    world.git("add", "--all")
    world.git("commit", "--quiet", "--allow-empty", f"--message={message}")


def start_over(world: World, *options: str) -> None:
    """Replace the repository by an empty one, of ``git init`` with these options."""
    shutil.rmtree(world.repository)
    world.repository.mkdir(parents=True)
    world.git("init", "--quiet", "--initial-branch=main", *options)


def move(world: World, place: Path) -> None:
    """Move the repository to another path, where the user works in it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    world.repository.rename(place)
    world.repository = place


def configure(world: World, **settings: str) -> None:
    """Set options of the repository; a word with ``__`` is a name with a dot."""
    for name, value in settings.items():
        world.git("config", name.replace("__", "."), value)


def another(world: World, place: Path, files: Mapping[str, str | bytes]) -> Path:
    """Make another repository of the user, with one commit, and return its folder."""
    place.mkdir(parents=True)
    other = World(world.home, place, environ=world.environ)
    other.git("init", "--quiet", "--initial-branch=main")
    commit(other, files, "Begin")
    return place


def files_of(top: Path, *, times: bool = False) -> dict[str, tuple[object, ...]]:
    """Return kind, permissions and content of everything below ``top``, without git's folders and autoroute's.

    With ``times``, the time of the last change too.
    """
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name not in (".git", ".autoroute")]
        for name in (*folders, *files):
            path = Path(folder, name)
            facts = path.lstat()
            moment = (facts.st_mtime_ns,) if times and not stat.S_ISDIR(facts.st_mode) else ()
            found[str(path.relative_to(top))] = (facts.st_mode, _content(path, facts), *moment)
    return found


def state_of_git(world: World) -> dict[str, object]:
    """Return what git keeps of the user's that no run may touch: index, HEAD, refs, configuration, hooks and stash."""
    own, common = world.git("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir").splitlines()
    refs = world.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    kept: dict[str, object] = {"refs": [ref for ref in refs if "refs/heads/autoroute/" not in ref]}
    for folder in {Path(own), Path(common)}:
        for name in ("index", "HEAD", "config", "config.worktree", "hooks", "info", "logs/HEAD", "logs/refs/stash"):
            path = folder / name
            if path.is_dir():
                kept[str(path)] = files_of(path, times=True)
            elif path.exists():
                kept[str(path)] = (path.read_bytes(), path.stat().st_mtime_ns)
    return kept


def resolve(world: World, name: str) -> str:
    """Return the commit that a name stands for, "" if there is none."""
    command = ("git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    done = subprocess.run(command, cwd=world.repository, env=world.environ, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def empty_tree(world: World) -> str:
    """Return the tree without files, in the repository's kind of hash."""
    return world.git("hash-object", "-t", "tree", os.devnull)


def index_flags(world: World) -> dict[str, str]:
    """Map each path in the index to its letter: ``S`` skips the work tree, a small one is assumed unchanged."""
    entries = _run(world, "git", "ls-files", "-v", "-z").split(b"\0")
    return {os.fsdecode(entry[2:]): chr(entry[0]) for entry in entries if entry}


def status_of(world: World) -> list[bytes]:
    """Return what ``git status`` lists."""
    return _run(world, "git", "--no-optional-locks", "status", "--porcelain", "-z").split(b"\0")[:-1]


def paths_between(world: World, before: str, after: str) -> list[str]:
    """Return the paths that differ between two commits; ``before`` may be the empty tree."""
    names = _run(world, "git", "diff-tree", "-r", "--no-renames", "--name-only", "-z", before, after).split(b"\0")[:-1]
    return sorted(map(os.fsdecode, names))


def tree_of_patch(world: World, base: str, patch: Path, index: Path) -> str:
    """Return the tree that a patch makes of the tree ``base``."""
    environ = {**world.environ, "GIT_INDEX_FILE": str(index)}
    for command in (("read-tree", base), ("apply", "--cached", "--whitespace=nowarn", str(patch)), ("write-tree",)):
        done = subprocess.run(
            ["git", *command], cwd=world.repository, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()


def _run(world: World, *command: str) -> bytes:
    return subprocess.run(command, cwd=world.repository, env=world.environ, capture_output=True, check=True).stdout


def _content(path: Path, facts: os.stat_result) -> bytes | None:
    if stat.S_ISLNK(facts.st_mode):
        return os.fsencode(path.readlink())
    return path.read_bytes() if stat.S_ISREG(facts.st_mode) else None
