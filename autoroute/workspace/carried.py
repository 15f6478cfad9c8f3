"""Finding what commands are to have beside the files of a commit: environments in the checkout, and caches of tools.

An environment is an ignored folder that is one by what it contains, because a name says little: ``env`` may hold keys.
Of a cache, only the folder of what was downloaded counts, never the settings beside it, which hold tokens.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoroute.text import join_first
from autoroute.workspace.beneath import is_free_of_links
from autoroute.workspace.bounded_files import list_names, read_start
from autoroute.workspace.repository import Repository

_MAX_FOUND = 200
"""Environments of one checkout: each is mounted for every command."""
_MAX_FILE_BYTES = 64 * 1024
_MAX_SHOWN = 8
CACHE = "cache"
"""The label of a cache."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A folder of the user that commands find at ``path``: relative to the tree, or to the home folder after ``~/``.

    ``label`` says what it is, for people and models: ``Python 3.11``, ``pnpm``, ``Cargo``.
    """

    path: str
    source: Path
    label: str

    @property
    def is_python(self) -> bool:
        """Whether it is an environment of Python."""
        return self.label.startswith("Python")


def find_environments(repository: Repository, base: str = "") -> list[Carried]:
    """Return the ignored folders of the checkout that are environments, none inside another.

    Left out is what the commit ``base`` has itself, what is inside a submodule or a nested repository, and links.
    """
    options = ("--others", "--ignored", "--exclude-standard", "--directory", "-z")
    ignored = [path for path in repository.git.paths("ls-files", *options) if path.endswith("/")]
    found: list[Carried] = []
    for path in sorted(name.removesuffix("/") for name in ignored):
        inner = any(path.startswith(f"{outer.path}/") for outer in found)
        if not inner and (repository.root / path).is_dir() and is_free_of_links(repository.root, path):
            found += _recognize(repository.root, path)
    found = found[:_MAX_FOUND]
    if not base or not found:
        return found
    # The base may be another commit than the one checked out, with files of its own at such a path.
    committed = set(repository.git.paths("ls-tree", "-z", "--name-only", base, "--", *(item.path for item in found)))
    return [item for item in found if item.path not in committed]


def _recognize(root: Path, path: str) -> Iterator[Carried]:
    """Yield what a folder is; of one that is nothing itself, the environments directly in it."""
    folder = root / path
    if label := _label(folder):
        yield Carried(path, folder, label)
        return
    for name in list_names(folder):
        inner = folder / name
        if inner.is_dir() and not inner.is_symlink() and (label := _label(inner)):
            yield Carried(f"{path}/{name}", inner, label)


def _label(folder: Path) -> str:
    """Return what an environment is, "" for any other folder."""
    return next(filter(None, (recognize(folder) for recognize in _KINDS)), "")


def _python(folder: Path) -> str:
    """Recognize a virtual environment, or one of conda."""
    settings = read_start(folder / "pyvenv.cfg", _MAX_FILE_BYTES)
    if not settings and not (folder / "conda-meta/history").is_file():
        return ""
    if not any((folder / "bin").glob("python*")):
        return ""
    found = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", settings, re.MULTILINE)
    versions = [path.name.removeprefix("python") for path in sorted((folder / "lib").glob("python3*"))]
    return f"Python {found[1] if found else next(iter(versions), '3')}"


def _node(folder: Path) -> str:
    """Recognize a folder of Node packages by the record that each package manager leaves, or by a package in it."""
    if folder.name != "node_modules":
        return ""
    for record, manager in ((".modules.yaml", "pnpm"), (".yarn-state.yml", "yarn"), (".yarn-integrity", "yarn")):
        if (folder / record).is_file():
            return manager
    if (folder / ".package-lock.json").is_file():
        return "npm"
    names = list_names(folder)
    packages = [
        *names,
        *(f"{name}/{inner}" for name in names if name.startswith("@") for inner in list_names(folder / name)),
    ]
    is_one = ".bin" in names or any((folder / name / "package.json").is_file() for name in packages)
    return "Node packages" if is_one else ""


def _tox(folder: Path) -> str:
    """Recognize the environments of tox and nox, each of which is a virtual one."""
    if folder.name not in (".tox", ".nox"):
        return ""
    return folder.name[1:] if any((folder / name / "pyvenv.cfg").is_file() for name in list_names(folder)) else ""


def _build(folder: Path) -> str:
    """Recognize the folder that Cargo or Maven builds in, by the file of the project beside it."""
    if folder.name != "target":
        return ""
    if (folder.parent / "Cargo.toml").is_file() and (folder / "CACHEDIR.TAG").is_file():
        return "Cargo"
    return "Maven" if (folder.parent / "pom.xml").is_file() and (folder / "classes").is_dir() else ""


def _vendor(folder: Path) -> str:
    """Recognize packages of Bundler and of Composer in the project."""
    if folder.name == "bundle" and (folder / "ruby").is_dir():
        return "Bundler"
    if folder.name != "vendor":
        return ""
    return "Composer" if (folder / "composer/installed.json").is_file() else ""


_KINDS: tuple[Callable[[Path], str], ...] = (_python, _node, _tox, _build, _vendor)


@dataclass(frozen=True, slots=True)
class _Cache:
    """A folder of downloads: its ``place`` below the home folder, and the variable that names another, if there is one.

    Commands find it at its default place, because they do not get the variable; ``part`` is the cache in the folder
    that the variable names. A variable that they do get (``is_passed``) has to name a folder below the home folder.
    ``projects`` are the files of projects that are built with what is in it; without any, only an installer uses it.
    """

    place: str
    variable: str = ""
    part: str = ""
    is_passed: bool = False
    projects: tuple[str, ...] = ()


_GO, _CARGO, _MAVEN = ("go.mod", "go.work"), ("Cargo.toml",), ("pom.xml",)
_GRADLE = ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")


_CACHES = (
    _Cache(".cache/pip/http", "PIP_CACHE_DIR", "http"),
    _Cache(".cache/pip/http-v2", "PIP_CACHE_DIR", "http-v2"),
    _Cache(".cache/pip/wheels", "PIP_CACHE_DIR", "wheels"),
    _Cache(".cache/uv", "UV_CACHE_DIR"),
    _Cache(".cache/uv", "UV_CACHE_DIR", projects=("uv.lock",)),  # `uv run` builds an editable project anew
    _Cache(".cache/pypoetry/cache", "POETRY_CACHE_DIR", "cache"),
    _Cache(".cache/pypoetry/artifacts", "POETRY_CACHE_DIR", "artifacts"),
    _Cache(".cache/pdm/http", "PDM_CACHE_DIR", "http"),
    _Cache(".npm/_cacache", "npm_config_cache", "_cacache"),
    _Cache(".local/share/pnpm/store"),
    _Cache(".cache/pnpm"),
    _Cache(".cache/yarn", "YARN_CACHE_FOLDER"),
    _Cache(".yarn/berry/cache"),
    _Cache(".bun/install/cache", "BUN_INSTALL_CACHE_DIR"),
    _Cache(".cache/go-build", "GOCACHE", projects=_GO),
    _Cache("go/pkg/mod", "GOPATH", "pkg/mod", is_passed=True, projects=_GO),
    _Cache(".cargo/registry", "CARGO_HOME", "registry", is_passed=True, projects=_CARGO),
    _Cache(".cargo/git", "CARGO_HOME", "git", is_passed=True, projects=_CARGO),
    _Cache(".m2/repository", projects=_MAVEN),
    _Cache(".m2/wrapper", projects=_MAVEN),
    _Cache(".gradle/caches", "GRADLE_USER_HOME", "caches", projects=_GRADLE),
    _Cache(".gradle/wrapper", "GRADLE_USER_HOME", "wrapper", projects=_GRADLE),
    _Cache(".bundle/cache"),
    _Cache(".cache/composer", "COMPOSER_CACHE_DIR"),
)
"""Where tools keep what they downloaded.

Their settings lie beside it and hold tokens: ``~/.m2/settings.xml``, ``~/.npmrc``, ``~/.cargo/credentials.toml``,
``~/.gradle/gradle.properties``, ``~/.bundle/config``.
"""


def find_caches(environ: Mapping[str, str], root: Path, *, downloads: bool) -> list[Carried]:
    """Return the caches of tools that exist, each at the path in the home folder where its tool looks for it.

    Those that builds read are for a project of their kind at ``root`` or in a folder of it. ``downloads`` adds those
    that only installers read, which a setup command needs.
    """
    home = Path(environ.get("HOME") or "/")
    if not home.is_absolute() or home == Path("/"):
        return []
    found: dict[str, Carried] = {}
    folders = [root, *(root / name for name in list_names(root) if not name.startswith("."))]
    for cache in _CACHES:
        if cache.projects:
            is_needed = any((folder / name).is_file() for folder in folders for name in cache.projects)
        else:
            is_needed = downloads
        if not is_needed:
            continue
        source, place = _locate(cache, environ, home)
        if place and source.is_dir() and not source.is_symlink():
            found.setdefault(place, Carried(f"~/{place}", source, CACHE))
    return list(found.values())


def is_installers_cache(path: str) -> bool:
    """Return whether the cache at ``path`` is one that only installers read; what they installed does not need it."""
    rows = [cache for cache in _CACHES if path == f"~/{cache.place}"]
    return bool(rows) and not any(cache.projects for cache in rows)


def _locate(cache: _Cache, environ: Mapping[str, str], home: Path) -> tuple[Path, str]:
    """Return the folder of a cache, and the place below the home folder to show it at ("" for none)."""
    named = Path(environ.get(cache.variable, "")) if cache.variable else Path()
    if named.is_absolute():
        source = named / cache.part
        if not cache.is_passed:
            return source, cache.place
        return source, str(source.relative_to(home)) if source.is_relative_to(home) else ""
    moved = Path(environ.get("XDG_CACHE_HOME", ""))
    if cache.place.startswith(".cache/") and moved.is_absolute():
        return moved / cache.place.removeprefix(".cache/"), cache.place
    return home / cache.place, cache.place


def find_home_environments(repository: Repository, environ: Mapping[str, str]) -> list[Carried]:
    """Return the environments of this project in the home folder, where poetry and pipenv keep them.

    poetry names one for a digest of the project's path, pipenv writes the path into it.
    """
    home, root = Path(environ.get("HOME") or "/"), repository.root
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root))).digest()
    mark = base64.urlsafe_b64encode(digest).decode()[:8]
    poetry, pipenv = ".cache/pypoetry/virtualenvs", ".local/share/virtualenvs"
    found = [
        f"{poetry}/{name}" for name in list_names(home / poetry) if re.search(rf"-{re.escape(mark)}-py[\d.]+$", name)
    ]
    found += [f"{pipenv}/{name}" for name in list_names(home / pipenv) if _is_pipenv_of(home / pipenv / name, root)]
    return [
        Carried(f"~/{path}", home / path, label)
        for path in found
        if (label := _python(home / path)) and home.is_absolute()
    ]


def _is_pipenv_of(folder: Path, root: Path) -> bool:
    return read_start(folder / ".project", _MAX_FILE_BYTES).strip() == str(root)


def describe_environments(found: Sequence[Carried]) -> str:
    """Return the environments as a list in words: ``.venv (Python 3.11), node_modules (pnpm)``; caches are left out."""
    shown = [f"{item.path} ({item.label})" for item in found if item.label != CACHE]
    return join_first(shown, _MAX_SHOWN)


def recognize(path: str, sources: Sequence[Path]) -> Carried | None:
    """Return what the folder of a layer is, by the first of its sources that shows it; None if none does."""
    found = (Carried(path, source, label) for source in sources if (label := _label(source)))
    return next(found, None)
