"""Finding environments that hold this project from elsewhere: from the user's checkout, or as a copy of it.

Tests in such an environment import what is installed there and not the change, so whatever a model writes passes. What
is installed is read from the metadata that installers leave; nothing in an environment is executed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from autoroute.parsing import Unreadable, read_toml
from autoroute.patterns import pattern
from autoroute.workspace.bounded_files import list_names, read_start
from autoroute.workspace.repository import Repository

_MAX_ENTRIES = 20_000
"""Of a folder with installed packages; a large environment has some hundred."""
_RUNNERS = ("python3", "python", "pytest", "py.test")
"""Programs that run tests. The first of each on the PATH says which environments count: later ones are not used."""
_NODE_RUNNERS = ("node", "npm")
_BUILT = "dist"
"""The folder that builds are written to. An archive in another folder of the repository is a dependency."""
_IMPORT = pattern(r"import\s+([\w.]+)")


@dataclass(frozen=True, slots=True)
class ForeignInstall:
    """A package of this project in an ``environment``, which imports it from ``source`` (a folder or a URL).

    ``kind`` is ``editable`` if changes of the source have an effect, ``copy`` if not, and ``link`` for ``npm link``.
    ``is_here`` says that the source is inside the repository, so that it is the workspace for commands that see the
    workspace at the path of the repository.
    """

    environment: Path
    package: str
    kind: Literal["editable", "copy", "link"]
    source: str
    is_here: bool

    def leads_to_workspace(self, placed: bool) -> bool:
        """Return whether tests import the change; ``placed``: commands see the workspace at the repository's path."""
        return placed and self.is_here and self.kind != "copy"

    def is_editable_in(self, environments: Collection[Path]) -> bool:
        """Return whether this is an editable install of the checkout, in one of these environments."""
        return self.kind == "editable" and self.is_here and self.environment in environments

    @property
    def description(self) -> str:
        """What it is, as a sentence without a subject: ``holds a copy of this project (ledger, from file:///…)``."""
        if self.kind == "copy":
            return f"holds a copy of this project ({self.package}, from {self.source})"
        if self.kind == "link":
            return f"holds this project as a link ({self.package}, to {self.source})"
        return f"holds this project as an editable install ({self.package}, from {self.source})"


def find_foreign_installs(
    repository: Repository, environ: Mapping[str, str], carried: Sequence[Path] = (), *, home: bool = False
) -> list[ForeignInstall]:
    """Return the packages of this project in the environments that commands use, each once.

    These are the active environment, those of the first ``python3``, ``pytest`` and ``node`` on the ``PATH``, and the
    ``carried`` ones of the checkout. ``home`` adds the packages in the user's home folder, which a sandbox hides.
    """
    roots = _Roots.of(repository)
    found: list[ForeignInstall] = []
    for environment, folders in _find_python_environments(repository.root, environ, carried, home=home).items():
        for folder in folders:
            found += _search_packages(environment, folder, roots)
    for prefix in _find_node_prefixes(environ):
        found += _search_links(prefix, roots)
    return list({(install.environment, install.package): install for install in reversed(found)}.values())[::-1]


@dataclass(frozen=True, slots=True)
class _Roots:
    """The checkout, the other checkouts of its repository, and the names that the project gives itself."""

    here: tuple[Path, ...]
    others: tuple[Path, ...]
    names: frozenset[str]

    @classmethod
    def of(cls, repository: Repository) -> _Roots:
        here = tuple(dict.fromkeys((repository.root, _resolve(repository.root))))
        others = tuple(root for root in _find_worktrees(repository.git_dir) if root not in here)
        return cls(here, others, frozenset(_read_names(repository.root)))

    def place(self, path: Path) -> bool | None:
        """Return True for a path in the checkout, False for one in another checkout, None for any other."""
        paths = (path, _resolve(path))
        if any(name.is_relative_to(root) for name in paths for root in self.here):
            return True
        return False if any(name.is_relative_to(root) for name in paths for root in self.others) else None


def _find_worktrees(git_dir: Path) -> Iterator[Path]:
    """Yield the checkouts of a repository: the main one, and those that ``git worktree`` made."""
    if git_dir.name == ".git":
        yield git_dir.parent
    for record in islice(sorted((git_dir / "worktrees").glob("*/gitdir")), _MAX_ENTRIES):
        yield Path(read_start(record).strip()).parent


def _read_names(root: Path) -> Iterator[str]:
    """Yield the names under which the project at ``root`` is installed, as its metadata declares them."""
    try:
        settings = read_toml(read_start(root / "pyproject.toml"))
    except Unreadable:
        settings = {}
    tool = settings.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    for table in (settings.get("project"), poetry):
        name = table.get("name") if isinstance(table, dict) else None
        if isinstance(name, str):
            yield normalize_name(name)
    if declared := re.search(r"^name\s*=\s*([\w.-]+)\s*$", read_start(root / "setup.cfg"), re.MULTILINE):
        yield normalize_name(declared[1])


def _find_python_environments(
    root: Path, environ: Mapping[str, str], carried: Sequence[Path], *, home: bool
) -> dict[Path, list[Path]]:
    """Map each environment of Python that commands use to its folders of packages."""
    named = (Path(environ.get(name, "")) for name in ("VIRTUAL_ENV", "CONDA_PREFIX"))
    prefixes = [*carried] or [path for path in named if path.is_absolute()]
    # Carried ones come first on the PATH of commands, in place of the active one.
    path = ":".join([*(f"{prefix}/bin" for prefix in carried), environ.get("PATH", "")])
    for program in _find_programs(_RUNNERS, path):
        if program.parent.name == "shims":
            prefixes += _find_pyenv_versions(program.parent.parent, root, environ)
        else:
            prefixes.append(program.parent.parent)
    environments = {}
    for prefix in dict.fromkeys(prefixes):
        bases = [_find_base(prefix)] if _uses_base(prefix) else []
        environments[prefix] = [folder for path in (prefix, *bases) for folder in _find_package_folders(path)]
    if home and (folder := environ.get("HOME")):
        environments[Path(folder) / ".local"] = list(_find_package_folders(Path(folder) / ".local"))
    return environments


def _find_programs(names: Sequence[str], path: str) -> Iterator[Path]:
    """Yield the first program of each name on a ``PATH``; a link also as what it leads to."""
    folders = [Path(entry) for entry in path.split(":") if entry.startswith("/")]
    for name in names:
        program = next((folder / name for folder in folders if os.access(folder / name, os.X_OK)), None)
        if program is not None:
            yield program
            # The python of a virtual environment is a link to the base, whose packages it does not import.
            if not (program.parent.parent / "pyvenv.cfg").exists():
                yield _resolve(program)


def _find_pyenv_versions(pyenv: Path, root: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the versions that pyenv uses in the repository: those of its variable, of the project, or of the user."""
    chosen = environ.get("PYENV_VERSION", "") or read_start(root / ".python-version") or read_start(pyenv / "version")
    for name in re.split(r"[:\s]+", chosen.strip()):
        if name and "/" not in name:
            yield pyenv / "versions" / name


def _uses_base(environment: Path) -> bool:
    return "include-system-site-packages = true" in read_start(environment / "pyvenv.cfg").lower()


def _find_base(environment: Path) -> Path:
    """Return the installation that a virtual environment was created from."""
    found = re.search(r"^home\s*=\s*(.+)$", read_start(environment / "pyvenv.cfg"), re.MULTILINE)
    return Path(found[1].strip()).parent if found else environment


def _find_package_folders(prefix: Path) -> Iterator[Path]:
    """Yield the folders that the Python at ``prefix`` imports packages from; Debian names its own ``dist-packages``."""
    libraries = [prefix / "lib", prefix / "lib64", *([prefix / "local/lib"] if prefix == Path("/usr") else [])]
    seen = set()
    for library in libraries:
        for folder in (
            *sorted(library.glob("python3*/site-packages")),
            *sorted(library.glob("python3*/dist-packages")),
        ):
            if _resolve(folder) not in seen:
                seen.add(_resolve(folder))
                yield folder


def _search_packages(environment: Path, folder: Path, roots: _Roots) -> Iterator[ForeignInstall]:
    """Yield what one folder of packages has of the project. Each package has one of several forms of metadata."""
    names = list_names(folder, _MAX_ENTRIES)
    for name in names:
        path = folder / name
        if name.endswith((".dist-info", ".egg-info")):
            yield from _judge_direct_url(environment, name.split("-")[0].removesuffix(".egg"), path, roots)
    # After the above, which know the name of the package.
    for name in names:
        path = folder / name
        if name.endswith(".egg-link"):
            yield from _judge_path(environment, name.removesuffix(".egg-link"), read_start(path).split("\n")[0], roots)
        elif name.endswith(".pth"):
            for place in _read_path_file(path):
                yield from _judge_path(environment, _to_package(name), place, roots)


def _judge_direct_url(environment: Path, package: str, metadata: Path, roots: _Roots) -> Iterator[ForeignInstall]:
    """Yield a package whose metadata records that it was installed from a place of the project."""
    record = _read_direct_url(metadata)
    try:
        parts = urlsplit(str(record["url"]))
        host = parts.hostname or ""
    except (ValueError, LookupError):
        return
    path = Path(unquote(parts.path)) if parts.scheme == "file" else None
    is_here = roots.place(path) if path is not None and not path.is_relative_to(environment) else None
    if is_here is not None and path is not None and "archive_info" in record and path.parent.name != _BUILT:
        return
    if is_here is None and normalize_name(package) not in roots.names:
        return
    info = record.get("dir_info")
    is_editable = isinstance(info, dict) and info.get("editable") is True
    shown = str(path) if path is not None else f"{parts.scheme}://{host}{parts.path}"
    yield ForeignInstall(environment, package, "editable" if is_editable else "copy", shown, bool(is_here))


def holds_built_project(environment: Path) -> bool:
    """Return whether an environment has a copy of a project on this machine, or what was compiled from one.

    An editable install of pure Python only leads to the project.
    """
    for folder in _find_package_folders(environment):
        for metadata in (folder / name for name in list_names(folder, _MAX_ENTRIES) if name.endswith(".dist-info")):
            record = _read_direct_url(metadata)
            if not str(record.get("url", "")).startswith("file:"):
                continue
            info = record.get("dir_info")
            is_editable = isinstance(info, dict) and info.get("editable") is True
            if not is_editable or re.search(r"\.(?:so|pyd|dylib),", read_start(metadata / "RECORD")):
                return True
    return False


def _read_direct_url(metadata: Path) -> Mapping[str, object]:
    """Return where a package was installed from, {} for one from an index, which has no such record.

    https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    try:
        record = json.loads(read_start(metadata / "direct_url.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _judge_path(environment: Path, package: str, place: str, roots: _Roots) -> Iterator[ForeignInstall]:
    path = Path(place.strip())
    if path.is_absolute() and not path.is_relative_to(environment) and (is_here := roots.place(path)) is not None:
        yield ForeignInstall(environment, package, "editable", str(path), is_here)


def _read_path_file(path: Path) -> Iterator[str]:
    """Yield the paths that a ``.pth`` file names: its lines, and the texts in a module that it imports."""
    for line in read_start(path).splitlines():
        if found := _IMPORT.match(line):
            module = path.with_name(f"{found[1].split('.')[0]}.py")
            yield from re.findall(r"""["'](/[^"'\n]+)["']""", read_start(module))
        else:
            yield line


def _to_package(name: str) -> str:
    """Return the package that a ``.pth`` file is named for: ``__editable__.ledger-1.0.pth`` is for ``ledger``."""
    return re.sub(r"^_+editable_*\.?|-\d[^-]*$", "", name.removesuffix(".pth")).strip("_") or name


def _find_node_prefixes(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders that global packages of Node are installed beneath."""
    variables = ("NPM_CONFIG_PREFIX", "npm_config_prefix")
    named = [Path(environ[name]) for name in variables if environ.get(name, "").startswith("/")]
    programs = _find_programs(_NODE_RUNNERS, environ.get("PATH", ""))
    return list(dict.fromkeys((*named, *(program.parent.parent for program in programs))))


def _search_links(prefix: Path, roots: _Roots) -> Iterator[ForeignInstall]:
    """Yield the global packages that ``npm link`` has made links to a folder of the project."""
    modules = prefix / "lib/node_modules"
    for link in (*_list_links(modules), *(link for scope in sorted(modules.glob("@*")) for link in _list_links(scope))):
        target = _resolve(link)
        is_here = roots.place(target)
        if is_here is not None and "node_modules" not in target.parts:
            yield ForeignInstall(prefix, str(link.relative_to(modules)), "link", str(target), is_here)


def _list_links(folder: Path) -> list[Path]:
    return [path for name in list_names(folder, _MAX_ENTRIES) if (path := folder / name).is_symlink()]


def normalize_name(name: str) -> str:
    """Return the name of a package as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path
