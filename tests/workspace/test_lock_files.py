"""Which set-up a repository needs, by its lock files, what its environments have, and what it declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoroute.workspace.carried import Carried
from autoroute.workspace.lock_files import SetupProposal, propose_setup
from tests.workspace.test_foreign_installs import install, make_environment

VENV = "python3 -m venv .venv && .venv/bin/pip install --quiet"
PYTHON = '[project]\nname = "ledger"\n'
WITH_DEPENDENCY = f'{PYTHON}dependencies = ["Tom_lish>=1", "winlib; os_name == \'nt\'"]\n'
POETRY = '[tool.poetry]\nname = "ledger"\n[tool.poetry.dependencies]\npython = "^3.11"\ntomlish = "^1"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def propose(root: Path, *carried: Carried, **environ: str) -> list[SetupProposal]:
    return propose_setup(
        root, carried, {"PATH": str(root.parent / "bin"), "HOME": str(root.parent / "home"), **environ}
    )


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"uv.lock": "", "pyproject.toml": WITH_DEPENDENCY}, "uv sync --frozen"),
        ({"poetry.lock": "", "pyproject.toml": POETRY}, "poetry install --no-interaction"),
        ({"pdm.lock": "", "pyproject.toml": WITH_DEPENDENCY}, "pdm sync"),
        ({"requirements.txt": "# dependencies\n-r other.txt\ntomlish==1.0\n"}, f"{VENV} -r requirements.txt"),
        ({"pyproject.toml": WITH_DEPENDENCY}, f"{VENV} -e ."),
        ({"pyproject.toml": f'{PYTHON}[project.optional-dependencies]\ntest = ["tomlish"]\n'}, f"{VENV} -e '.[test]'"),
        ({"setup.py": "setup(install_requires=['tomlish>=1'])"}, f"{VENV} -e ."),
        ({"package.json": "", "package-lock.json": ""}, "npm ci"),
        ({"package.json": "", "pnpm-lock.yaml": "", "package-lock.json": ""}, "pnpm install --frozen-lockfile"),
        ({"package.json": "", "yarn.lock": ""}, "yarn install --frozen-lockfile"),
        ({"package.json": "", "yarn.lock": "", ".yarnrc.yml": ""}, "yarn install --immutable"),
        ({"package.json": "", "bun.lock": ""}, "bun install --frozen-lockfile"),
        ({"go.mod": "", "go.sum": "example.org/a v1.0.0 h1:x=\n"}, "go mod download"),
        ({"Cargo.lock": '[[package]]\nname = "a"\nsource = "registry+x"\n'}, "cargo fetch --locked"),
        ({"pom.xml": "<project/>"}, "mvn -q dependency:go-offline"),
        ({"gradlew": "#!/bin/sh\n"}, "./gradlew --quiet dependencies"),
        ({"Gemfile.lock": ""}, "bundle config set --local path vendor/bundle && bundle install"),
        ({"composer.lock": ""}, "composer install --no-interaction"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_lock_file_calls_for_its_command(root: Path, files: dict[str, str], command: str) -> None:
    write(root, files)
    assert [proposal.command for proposal in propose(root)] == [command]
    assert not propose(root)[0].is_installed


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject.toml": PYTHON},
        {"pyproject.toml": PYTHON, "uv.lock": '[[package]]\nname = "ledger"\nsource = { editable = "." }\n'},
        {"pyproject.toml": "[tool.ruff]\n"},
        {"pyproject.toml": "[[["},
        {"setup.py": "setup(name='ledger')"},
        {"requirements.txt": "# none yet\n"},
        {"package.json": '{"name": "x"}'},
        {"package.json": '{"name": "x", "dependencies": {}}', "package-lock.json": "{}"},
        {"go.mod": "module example.org/x\n"},
        {"Cargo.toml": "", "Cargo.lock": '[[package]]\nname = "x"\nversion = "1.0.0"\n'},
    ],
)
def test_a_project_without_dependencies_needs_nothing(root: Path, files: dict[str, str]) -> None:
    write(root, files)
    assert propose(root) == []


@pytest.mark.parametrize(
    ("files", "path", "label"),
    [
        ({"requirements.txt": "tomlish\n"}, ".venv", "Python 3.11"),
        ({"poetry.lock": "", "pyproject.toml": POETRY}, "~/.cache/pypoetry/virtualenvs/a", "Python 3.11"),
        ({"requirements.txt": "tomlish\n"}, ".tox", "tox"),
        ({"package.json": "", "package-lock.json": ""}, "node_modules", "npm"),
        ({"Gemfile.lock": ""}, "vendor/bundle", "Bundler"),
        ({"composer.lock": ""}, "vendor", "Composer"),
    ],
)
def test_what_is_carried_is_not_set_up_again(root: Path, files: dict[str, str], path: str, label: str) -> None:
    write(root, files)
    assert propose(root, Carried(path, root / path, label)) == []


@pytest.mark.parametrize(
    ("files", "cache"),
    [
        ({"go.sum": "example.org/a v1.0.0 h1:x=\n"}, "go/pkg/mod"),
        ({"Cargo.lock": 'source = "registry+x"\n'}, ".cargo/registry"),
        ({"pom.xml": "<project/>"}, ".m2/repository"),
        ({"gradlew": ""}, ".gradle/caches"),
    ],
)
def test_a_cache_of_the_user_stands_in_for_a_set_up(root: Path, files: dict[str, str], cache: str) -> None:
    write(root, files)
    assert len(propose(root)) == 1
    (root.parent / "home" / cache).mkdir(parents=True)
    assert propose(root) == []


def test_an_active_environment_counts_by_what_is_installed_in_it(root: Path) -> None:
    write(root, {"pyproject.toml": WITH_DEPENDENCY})
    packages = make_environment(root.parent / "work")
    assert len(propose(root, VIRTUAL_ENV=str(root.parent / "work"))) == 1
    install(packages, "tom_lish")
    assert propose(root, VIRTUAL_ENV=str(root.parent / "work")) == []


def test_each_kind_of_project_has_its_own_set_up(root: Path) -> None:
    write(root, {"requirements.txt": "tomlish\n", "pyproject.toml": WITH_DEPENDENCY, "package-lock.json": "{"})
    (root.parent / "bin/npm").touch(mode=0o755)
    assert [(proposal.file, proposal.is_installed) for proposal in propose(root)] == [
        ("requirements.txt", False),
        ("package-lock.json", True),
    ]
