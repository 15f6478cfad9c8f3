"""What a set-up made, kept for the next run of the repository, which finds it by all that it depends on.

That is the repository, the commands, the programs and variables that they have, the place, and files of the commit:
those that installers read, if the commands are known installers and the result holds nothing of the project itself;
all of them otherwise. A model has no part in a result: it is kept before any could write a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoroute.errors import WorkspaceError
from autoroute.parsing import Unreadable, read_object
from autoroute.patterns import pattern
from autoroute.workspace.bounded_files import list_names, read_start
from autoroute.workspace.carried import is_installers_cache, recognize
from autoroute.workspace.foreign_installs import holds_built_project
from autoroute.workspace.layers import HOME, Layers, share
from autoroute.workspace.lock_files import list_setup_commands
from autoroute.workspace.removal import delete
from autoroute.workspace.rmtree import measure

_DESCRIBE_PROGRAMS = """
for name in python3 python node ruby php java go; do
    command -v $name && $name --version </dev/null 2>&1 | head -n 2
done
for name in pip uv poetry pdm pipenv npm pnpm yarn bun bundle composer cargo rustc mvn gradle cc; do
    file=$(command -v $name) && ls -lLn "$file"
done
uname -sm; getconf GNU_LIBC_VERSION
"""
_FORMAT = 1
_MAX_AGE_SECONDS = 7 * 24 * 3600
"""Requirements without fixed versions stand for newer packages after a while."""
_MAX_UNFINISHED_SECONDS = 24 * 3600
_ENTRY_FILE = "entry.json"
_INSTALLERS = (
    *("pip install", "pip3 install", "uv sync", "uv pip install", "uv venv", "poetry install", "pdm sync"),
    *("pdm install", "pipenv sync", "pipenv install", "npm ci", "npm install", "pnpm install", "yarn install"),
    *("bun install", "bundle install", "bundle config", "composer install", "python -m venv", "python -m pip install"),
)
"""Commands that read manifests and lock files, and of the project no more than it names in them."""
_MANIFESTS = pattern(
    r"(?:.*/)?(?:"
    r"pyproject\.toml|setup\.(?:py|cfg)|MANIFEST\.in|uv\.(?:lock|toml)|poetry\.(?:lock|toml)|pdm\.(?:lock|toml)"
    r"|Pipfile(?:\.lock)?|tox\.ini|environment\.ya?ml|pip\.conf|\.python-version|\.tool-versions|mise\.toml"
    r"|package(?:-lock)?\.json|npm-shrinkwrap\.json|pnpm-(?:lock|workspace)\.yaml|\.pnpmfile\.c?js|yarn\.lock"
    r"|\.yarnrc(?:\.yml)?|\.npmrc|\.nvmrc|\.node-version|bun\.lockb?|bunfig\.toml"
    r"|go\.(?:mod|sum|work|work\.sum)|Cargo\.(?:toml|lock)|rust-toolchain(?:\.toml)?|pom\.xml"
    r"|(?:build|settings)\.gradle(?:\.kts)?|gradle\.properties|gradlew|Gemfile(?:\.lock)?|[^/]*\.gemspec|\.ruby-version"
    r"|composer\.(?:json|lock)|[^/]*(?:require|constraint)[^/]*"
    r")|(?:.*/)?(?:patches|\.yarn|gradle|[^/]*(?:require|constraint)[^/]*)/.*"
)
"""The files of a commit that installers read."""
_OPERATORS = pattern(r"[;|&<>$`()\n\\]")
_SELF_CONTAINED = ("Python", "npm", "pnpm", "yarn", "Node packages", "Bundler", "Composer")
"""The labels of environments that hold packages alone; others hold what was built from the project."""
_OF_INSTALLS = pattern(r"(?:.*/)?(?:[^/]*\.egg-info|__pycache__|\.pnp\.[a-z.]+)")
"""What installers write beside an environment."""
_HOME_ENVIRONMENTS = (".cache/pypoetry/virtualenvs", ".local/share/virtualenvs", ".virtualenvs")
_GREP = "/usr/bin/grep"


@dataclass(frozen=True, slots=True)
class SetupTerms:
    """What the result of a set-up depends on, apart from the files of the commit and the programs.

    ``repository`` is its git folder. ``variables`` are those that the commands get besides the usual ones; a result
    that contains the value of one of the ``secrets`` among them is not kept. ``place`` is the path at which commands
    see the tree, None where that differs from run to run. ``owner`` is the user id that commands run as, if not ours.
    """

    run: str
    repository: Path
    commands: tuple[str, ...]
    variables: Mapping[str, str]
    secrets: tuple[str, ...] = ()
    place: Path | None = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class SetupResult:
    """One result on the disk: its folder, the run that made it, the repository, and when it was last used."""

    folder: Path
    run: str
    repository: str
    used: float

    @property
    def size(self) -> int:
        """Its size on the disk, in bytes."""
        return measure(self.folder)


def list_results(folder: Path) -> list[SetupResult]:
    """Return the results of all repositories, the one that was used last at the end."""
    found = []
    for name in list_names(folder):
        entry = folder / name / _ENTRY_FILE
        with suppress(OSError, Unreadable, KeyError):
            told = read_object(read_start(entry))
            used = entry.stat().st_mtime
            found.append(SetupResult(folder / name, str(told["run"]), str(told["repository"]), used))
    return sorted(found, key=lambda result: result.used)


class KeptResults:
    """The results of set-ups in ``folder``, as far as one run uses and makes them; see ``SetupResults``.

    ``list_files`` maps each path of the commit that the run begins from to its object. Results of more than
    ``max_bytes`` together are deleted, those first that were not used for the longest time.
    """

    def __init__(
        self,
        folder: Path,
        layers: Layers,
        terms: SetupTerms,
        list_files: Callable[[], Mapping[str, str]],
        max_bytes: int,
    ) -> None:
        self._folder = folder
        self._layers = layers
        self._terms = terms
        self._list_files = list_files
        self._max_bytes = max_bytes

    @property
    def described_by(self) -> str:
        """The command that describes the programs."""
        return _DESCRIBE_PROGRAMS

    def reuse(self, programs: str) -> str:
        """Give the workspace what the same set-up made in an earlier run; return that run, "" if there is none."""
        now = time.time()
        for key in self._keys(programs).values():
            folder = self._folder / key
            try:
                entry = read_object(read_start(folder / _ENTRY_FILE, 1024 * 1024))
                if now - entry["made_at"] > _MAX_AGE_SECONDS:
                    continue
                made, written = (
                    {path: folder / place for path, place in entry[name].items()} for name in ("made", "written")
                )
                moved_from = entry["tree"] if entry["tree"] != self._tree else ""
                self._layers.adopt(made, written, moved_from)
                os.utime(folder / _ENTRY_FILE)
                return str(entry["run"])
            except (OSError, Unreadable, KeyError, TypeError, AttributeError, WorkspaceError):
                continue  # deleted meanwhile, or never complete: the set-up runs
        return ""

    def keep(self, programs: str) -> None:
        """Keep what the set-up of this run made, if nothing of it depends on what a later run cannot know.

        Nothing is kept, and nothing is raised, where the disk does not allow it.
        """
        made, written = dict(self._layers.made), self._find_needed()
        if written is None or not made or not self._is_movable(made):
            return
        keys = self._keys(programs)
        key = keys.get("manifests") if self._is_free_of_project(made) else None
        unfinished = self._folder / f".{uuid.uuid4().hex}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.mkdir(mode=0o700)
            places = {}
            for number, (path, source) in enumerate({**made, **written}.items()):
                places[path] = f"{number}/{source.name}"
                (unfinished / str(number)).mkdir()
                share(source, unfinished / places[path])
            if self._contains_secret(unfinished):
                return
            entry = {
                "run": self._terms.run,
                "repository": str(self._terms.repository),
                "tree": self._tree,
                "made": {path: places[path] for path in made},
                "written": {path: places[path] for path in written},
            }
            (unfinished / _ENTRY_FILE).write_text(json.dumps({**entry, "made_at": time.time()}), "ascii")
            unfinished.rename(self._folder / (key or keys["files"]))
        except (OSError, WorkspaceError):
            return
        finally:
            with suppress(WorkspaceError):
                delete(unfinished)
        self._delete_old()

    @property
    def _tree(self) -> str:
        """The path at which commands see the tree."""
        return str(self._terms.place or self._layers.tree)

    def _keys(self, programs: str) -> dict[str, str]:
        """Return the names of the results that would fit, by what they depend on: all ``files``, or ``manifests``."""
        terms, files = self._terms, self._list_files()
        common = [
            *(_FORMAT, str(terms.repository), terms.commands, programs, sorted(terms.variables.items())),
            *(str(terms.place or ""), terms.owner),
        ]
        keys = {"files": _digest([*common, sorted(files.items())])}
        if self._are_installers(files):
            named = {word for command in terms.commands for word in re.split(r"[\s=]+", command)}
            read = [(path, name) for path, name in files.items() if path in named or _MANIFESTS.fullmatch(path)]
            keys["manifests"] = _digest([*common, sorted(read)])
        return keys

    def _are_installers(self, files: Mapping[str, str]) -> bool:
        """Return whether each command is one of which we know that it reads manifests and lock files alone."""
        proposed = list_setup_commands(self._layers.tree)
        return all(command in proposed or _is_installer(command, files) for command in self._terms.commands)

    def _find_needed(self) -> dict[str, Path] | None:
        """Return what was written over caches that later commands read; None if anything else of the user changed."""
        needed = {}
        for path, written in self._layers.written.items():
            if is_installers_cache(path):
                continue
            # As root, files in it may stand for content of the user's that is replaced later.
            if not path.startswith(f"{HOME}/") or self._layers.mode != "overlay" or os.geteuid() == 0:
                return None
            needed[path] = written
        return needed

    def _is_movable(self, made: Mapping[str, Path]) -> bool:
        """Return whether a run in another place could use this: nothing names paths that it does not have."""
        if self._terms.place is not None:
            return True
        if any(True for _ in _find_home_environments(made)):
            return False
        settings = [read_start(folder / "pyvenv.cfg") for folder in made.values()]
        return not any(str(self._layers.home) in text for text in settings)

    def _is_free_of_project(self, made: Mapping[str, Path]) -> bool:
        """Return whether this holds packages alone, and nothing that was copied or built from the project's files."""
        environments = [*_find_home_environments(made)]
        for path, source in made.items():
            if path == HOME or _OF_INSTALLS.fullmatch(path):
                continue
            found = recognize(path, [source])
            if found is None or not found.label.startswith(_SELF_CONTAINED):
                return False
            if found.is_python:
                environments.append(source)
        return not any(holds_built_project(folder) for folder in environments)

    def _contains_secret(self, folder: Path) -> bool:
        values = [value for value in self._terms.secrets if value]
        if not values:
            return False
        # Of grep's exit codes, 1 alone says that it read all and found none.
        command = [_GREP, "-rqsaF", "-f", "-", "--", str(folder)]
        done = subprocess.run(command, input="\n".join(values).encode(), check=False, env={"LC_ALL": "C"})
        return done.returncode != 1

    def _delete_old(self) -> None:
        left = self._max_bytes
        for result in reversed(list_results(self._folder)):
            left -= result.size
            if left < 0 or time.time() - result.used > _MAX_AGE_SECONDS:
                with suppress(WorkspaceError):
                    delete_result(result.folder)
        for name in list_names(self._folder):
            with suppress(OSError, WorkspaceError):
                if (
                    name.startswith(".")
                    and time.time() - (self._folder / name).stat().st_mtime > _MAX_UNFINISHED_SECONDS
                ):
                    delete(self._folder / name)  # autoroute was killed while it kept or deleted this


def delete_result(folder: Path) -> None:
    """Delete a result; a run that begins to use it at that moment does its own set-up. Raises ``WorkspaceError``."""
    aside = folder.with_name(f".{uuid.uuid4().hex}")
    with suppress(OSError):
        folder.rename(aside)
    delete(aside)


def _is_installer(command: str, files: Mapping[str, str]) -> bool:
    """Return whether a command only installs: each of its parts, joined by ``&&``, is a known installer."""
    parts = command.split("&&")
    if any(_OPERATORS.search(part) for part in parts):
        return False
    return all(_installs(part, files) for part in parts)


def _installs(command: str, files: Mapping[str, str]) -> bool:
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    program = words[0] if words else ""
    if program in files:
        return False  # it is the repository's own
    name = re.sub(r"^python3(?:\.\d+)?$", "python", program.rpartition("/")[2])
    line = " ".join((name, *words[1:]))
    return any(line == known or line.startswith(f"{known} ") for known in _INSTALLERS)


def _find_home_environments(made: Mapping[str, Path]) -> Iterator[Path]:
    """Yield the environments of Python in a home folder that the set-up filled."""
    home = made.get(HOME)
    if home is None:
        return
    for parent in _HOME_ENVIRONMENTS:
        yield from (home / parent / name for name in list_names(home / parent))
    if (home / ".local/lib").is_dir():
        yield home / ".local"


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
