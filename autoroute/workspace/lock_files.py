"""The set-up that a repository needs, by its lock files: a table of file, command and what is there when it was run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoroute.parsing import Unreadable, read_toml
from autoroute.workspace.bounded_files import read_start
from autoroute.workspace.carried import Carried
from autoroute.workspace.foreign_installs import normalize_name

_TEST_EXTRAS = ("test", "tests", "testing", "dev")
"""Names that projects use for what their tests need; the first one that is there is installed."""
_VENV = "python3 -m venv .venv && .venv/bin/pip install --quiet"


@dataclass(frozen=True, slots=True)
class SetupProposal:
    """The command that installs what ``file`` lists. ``program`` runs it; ``is_installed`` says whether it is there."""

    file: str
    command: str
    program: str
    is_installed: bool


_IsMet = Callable[[Path, Sequence[Carried], Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class _Row:
    """A lock file, the program and the command that install from it, and the environment that this makes.

    ``is_met`` returns whether commands have that already, from the root, the carried environments and the variables.
    """

    file: str
    program: str
    command: str | Callable[[Path], str]
    kind: str
    is_met: _IsMet


def propose_setup(root: Path, carried: Sequence[Carried], environ: Mapping[str, str]) -> list[SetupProposal]:
    """Return the set-up for each kind of project at ``root`` whose dependencies commands would not find.

    Nothing is proposed for a project that declares none. The first lock file of a kind decides.
    """
    proposals, kinds = [], set()
    for row in _ROWS:
        if row.kind in kinds or not (root / row.file).is_file():
            continue
        kinds.add(row.kind)
        if not row.is_met(root, carried, environ):
            installed = shutil.which(row.program, path=environ.get("PATH") or os.defpath) is not None
            command = row.command if isinstance(row.command, str) else row.command(root)
            proposals.append(SetupProposal(row.file, command, row.program, installed))
    return proposals


def list_setup_commands(root: Path) -> list[str]:
    """Return the commands that could be proposed for the project at ``root``, needed or not."""
    rows = [row for row in _ROWS if (root / row.file).is_file()]
    return [row.command if isinstance(row.command, str) else row.command(root) for row in rows]


def _has_python(root: Path, carried: Sequence[Carried], environ: Mapping[str, str]) -> bool:
    """Return whether an environment of Python has all that the project requires, or there is nothing to require."""
    if any(item.is_python or item.label in ("tox", "nox") for item in carried):
        return True
    required = set(_read_requirements(root))
    return required <= set(_list_installed(environ))


def _has_node(root: Path, carried: Sequence[Carried], environ: Mapping[str, str]) -> bool:  # noqa: ARG001 - one form
    if any(item.path == "node_modules" for item in carried) or (root / ".pnp.cjs").is_file():
        return True
    package = read_start(root / "package.json")
    return bool(package) and not re.search(r'"(dev|peer|optional)?[dD]ependencies"\s*:\s*\{\s*"', package)


def _has_packages(path: str) -> _IsMet:
    """Return a check for a folder of packages in the project that is carried."""
    return lambda root, carried, environ: any(item.path == path for item in carried)  # noqa: ARG005 - one form


def _has_downloads(part: str, variable: str = "", default: str = "") -> _IsMet:
    """Return a check for a cache of downloads of the user, which builds read: a ``part`` of a tool's folder."""

    def is_met(root: Path, carried: Sequence[Carried], environ: Mapping[str, str]) -> bool:  # noqa: ARG001 - one form
        named = environ.get(variable, "") if variable else ""
        folder = Path(named) if named else Path(environ.get("HOME") or "/") / default
        return (folder / part).is_dir()

    return is_met


def _lists_nothing(file: str, mark: str, otherwise: _IsMet) -> _IsMet:
    """Return a check for a lock file without any entry to fetch (``mark``), or with vendored ones, or another check."""

    def is_met(root: Path, carried: Sequence[Carried], environ: Mapping[str, str]) -> bool:
        return mark not in read_start(root / file) or (root / "vendor").is_dir() or otherwise(root, carried, environ)

    return is_met


def _read_requirements(root: Path) -> Iterator[str]:
    """Yield the normalized names of the distributions that a Python project requires, with those of its tests."""
    for file in ("requirements.txt", "requirements-dev.txt"):
        yield from _names_of(read_start(root / file).splitlines())
    if listed := re.search(r"install_requires\s*=\s*\[([^\]]*)\]", read_start(root / "setup.py")):
        yield from _names_of(re.findall(r"[\"']([^\"']+)[\"']", listed[1]))
    settings = _read_project(root)
    project, poetry = _table(settings, "project"), _table(_table(settings, "tool"), "poetry")
    extras, groups = _table(project, "optional-dependencies"), _table(settings, "dependency-groups")
    lists = [project.get("dependencies"), groups.get("dev"), *(extras.get(name) for name in _TEST_EXTRAS)]
    yield from _names_of([line for listed in lists if isinstance(listed, list) for line in listed])
    tables = (poetry, _table(_table(poetry, "group"), "dev"))
    for name, value in (item for table in tables for item in _table(table, "dependencies").items()):
        if name != "python" and isinstance(value, str):  # a table may have conditions
            yield normalize_name(name)


def _install_project(root: Path) -> str:
    """Return the command that installs a project without a lock file, with what its tests need."""
    extras = _table(_table(_read_project(root), "project"), "optional-dependencies")
    chosen = [name for name in _TEST_EXTRAS if name in extras]
    return f"{_VENV} -e {shlex.quote(f'.[{chosen[0]}]') if chosen else '.'}"


def _read_project(root: Path) -> Mapping[str, object]:
    try:
        return read_toml(read_start(root / "pyproject.toml"))
    except Unreadable:
        return {}


def _table(parent: object, name: str) -> Mapping[str, object]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _names_of(lines: Sequence[object]) -> Iterator[str]:
    """Yield the names in requirements; one with a marker may not apply here, and options name nothing."""
    for line in lines:
        found = re.match(r"\s*([A-Za-z0-9][\w.-]*)", line) if isinstance(line, str) and ";" not in line else None
        if found:
            yield normalize_name(found[1])


def _list_installed(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the distributions in the environment that ``python3`` starts in, by their metadata."""
    program = shutil.which("python3", path=environ.get("PATH") or os.defpath)
    prefixes = [Path(environ[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    if program:
        prefixes += [Path(program).parent.parent, Path(os.path.realpath(program)).parent.parent]
    for prefix in dict.fromkeys(prefixes):
        for kind in ("site-packages", "dist-packages"):
            for metadata in (
                *prefix.glob(f"lib/python3*/{kind}/*-info"),
                *prefix.glob(f"local/lib/python3*/{kind}/*-info"),
            ):
                yield normalize_name(re.sub(r"-[^-]*\.(dist|egg)-info$|\.egg-info$", "", metadata.name))


_has_go_modules = _lists_nothing("go.sum", "h1:", _has_downloads("pkg/mod", "GOPATH", "go"))
_has_crates = _lists_nothing("Cargo.lock", "source = ", _has_downloads("registry", "CARGO_HOME", ".cargo"))
_has_gradle_caches = _has_downloads("caches", "GRADLE_USER_HOME", ".gradle")
_ROWS = (
    _Row("uv.lock", "uv", "uv sync --frozen", "python", _has_python),
    _Row("poetry.lock", "poetry", "poetry install --no-interaction", "python", _has_python),
    _Row("pdm.lock", "pdm", "pdm sync", "python", _has_python),
    _Row("Pipfile.lock", "pipenv", "pipenv sync --dev", "python", _has_python),
    _Row("requirements-dev.txt", "python3", f"{_VENV} -r requirements-dev.txt", "python", _has_python),
    _Row("requirements.txt", "python3", f"{_VENV} -r requirements.txt", "python", _has_python),
    _Row("pyproject.toml", "python3", _install_project, "python", _has_python),
    _Row("setup.py", "python3", _install_project, "python", _has_python),
    _Row("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile", "node", _has_node),
    _Row(".yarnrc.yml", "yarn", "yarn install --immutable", "node", _has_node),
    _Row("yarn.lock", "yarn", "yarn install --frozen-lockfile", "node", _has_node),
    _Row("bun.lock", "bun", "bun install --frozen-lockfile", "node", _has_node),
    _Row("bun.lockb", "bun", "bun install --frozen-lockfile", "node", _has_node),
    _Row("package-lock.json", "npm", "npm ci", "node", _has_node),
    _Row("npm-shrinkwrap.json", "npm", "npm ci", "node", _has_node),
    _Row(
        "go.sum",
        "go",
        "go mod download",
        "go",
        _has_go_modules,
    ),
    _Row(
        "Cargo.lock",
        "cargo",
        "cargo fetch --locked",
        "cargo",
        _has_crates,
    ),
    _Row("pom.xml", "mvn", "mvn -q dependency:go-offline", "maven", _has_downloads("repository", default=".m2")),
    _Row(
        "gradlew",
        "java",
        "./gradlew --quiet dependencies",
        "gradle",
        _has_gradle_caches,
    ),
    _Row(
        "Gemfile.lock",
        "bundle",
        "bundle config set --local path vendor/bundle && bundle install",
        "ruby",
        _has_packages("vendor/bundle"),
    ),
    _Row("composer.lock", "composer", "composer install --no-interaction", "php", _has_packages("vendor")),
)
"""Lock files first, then what names dependencies without fixing them; the first of a kind wins."""
