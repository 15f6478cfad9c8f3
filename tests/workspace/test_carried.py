"""What commands get beside the files of a commit: folders that are environments, caches without the settings beside."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from autoroute.workspace.carried import (
    describe_environments,
    find_caches,
    find_environments,
    find_home_environments,
)
from tests.workspace.conftest import Place
from tests.workspace.test_foreign_installs import make_environment

IGNORED = ".venv/\nenv/\nnode_modules\nvendor/\ntarget/\n.tox/\n.direnv/\n.env\nsecrets/\n"
CANARY = "canary-of-the-users"


def found(place: Place, base: str = "") -> dict[str, str]:
    return {item.path: item.label for item in find_environments(place.repository(), base)}


@pytest.fixture
def checkout(place: Place) -> Place:
    place.write(".gitignore", IGNORED)
    place.write("Cargo.toml", "[package]\n")
    place.write("java/pom.xml", "<project/>\n")
    place.write("packages/a/package.json", "{}\n")
    place.commit()
    return place


def test_environments_are_found_by_what_they_contain(checkout: Place) -> None:
    make_environment(checkout.root / ".venv")
    make_environment(checkout.root / ".direnv/python-3.11")
    make_environment(checkout.root / ".tox/py311")
    checkout.write("node_modules/.package-lock.json", "{}")
    checkout.write("node_modules/a/node_modules/b/package.json", "{}")
    checkout.write("packages/a/node_modules/.modules.yaml", "")
    checkout.write("packages/new/index.js", "")
    checkout.write("packages/new/node_modules/@scope/b/package.json", "{}")
    checkout.write("vendor/bundle/ruby/3.2.0/gems/a.rb", "")
    checkout.write("target/CACHEDIR.TAG", "")
    checkout.write("java/target/classes/A.class", "")
    assert found(checkout) == {
        ".direnv/python-3.11": "Python 3.11",
        ".tox": "tox",
        ".venv": "Python 3.11",
        "java/target": "Maven",
        "node_modules": "npm",
        "packages/a/node_modules": "pnpm",
        "packages/new/node_modules": "Node packages",
        "target": "Cargo",
        "vendor/bundle": "Bundler",
    }


def test_what_is_no_environment_is_never_carried(checkout: Place) -> None:
    checkout.write(".env", CANARY)
    checkout.write("env/production", CANARY)
    checkout.write("secrets/key.pem", CANARY)
    checkout.write("node_modules/notes.txt", CANARY)
    checkout.write("vendor/private/key", CANARY)
    checkout.write("packages/a/target/report", CANARY)
    assert found(checkout) == {}


def test_what_git_does_not_ignore_is_not_carried(place: Place) -> None:
    make_environment(place.root / ".venv")
    assert found(place) == {}
    place.write(".venv/.gitignore", "*\n")  # as venv and uv write it
    assert found(place) == {".venv": "Python 3.11"}


def test_no_link_is_followed(checkout: Place) -> None:
    packages = make_environment(checkout.folder / "elsewhere")
    (checkout.root / ".venv").symlink_to(packages.parents[2])
    (checkout.root / ".direnv").mkdir()
    (checkout.root / ".direnv/python").symlink_to(packages.parents[2])
    assert found(checkout) == {}


def test_an_environment_in_the_place_of_committed_files_is_left_out(checkout: Place) -> None:
    make_environment(checkout.root / ".venv")
    assert list(found(checkout, "HEAD")) == [".venv"]
    checkout.git("checkout", "--quiet", "-b", "other")
    checkout.git("add", "--force", ".venv/pyvenv.cfg")
    checkout.git("commit", "--quiet", "--message=Commit the environment")
    checkout.git("rm", "--quiet", "--cached", "-r", ".venv")
    assert found(checkout, "HEAD") == {}


SETTINGS = (
    ".m2/settings.xml",
    ".m2/settings-security.xml",
    ".npmrc",
    ".npm/_logs/debug.log",
    ".config/pip/pip.conf",
    ".pip/pip.conf",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".cargo/config.toml",
    ".gradle/gradle.properties",
    ".gradle/init.d/token.gradle",
    ".config/pypoetry/auth.toml",
    ".local/share/uv/credentials/credentials.toml",
    ".bundle/config",
    ".composer/auth.json",
    ".config/composer/auth.json",
    ".yarnrc.yml",
    ".bunfig.toml",
    ".netrc",
    "go/env",
    ".cache/pypoetry/virtualenvs/other/pip.conf",
)
CACHES = (
    ".cache/pip/http-v2",
    ".cache/uv",
    ".cache/pypoetry/artifacts",
    ".npm/_cacache",
    ".local/share/pnpm/store",
    ".cache/yarn",
    ".cache/go-build",
    "go/pkg/mod",
    ".cargo/registry",
    ".m2/repository",
    ".gradle/caches",
    ".bundle/cache",
    ".cache/composer",
)


def test_caches_come_without_the_settings_beside_them(tmp_path: Path) -> None:
    for name in SETTINGS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CANARY, encoding="utf-8")
    for name in CACHES:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "archive").write_text("downloaded", encoding="utf-8")
    for name in ("go.mod", "Cargo.toml", "pom.xml", "app/build.gradle"):
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).touch()
    caches = find_caches({"HOME": str(tmp_path)}, tmp_path / "project", downloads=True)
    assert {item.path for item in caches} == {f"~/{name}" for name in CACHES}
    files = [path for item in caches for path in item.source.rglob("*") if path.is_file()]
    assert {path.read_text(encoding="utf-8") for path in files} == {"downloaded"}


@pytest.mark.parametrize(
    ("variable", "folder", "path"),
    [
        ("UV_CACHE_DIR", "far/uv", "~/.cache/uv"),
        ("npm_config_cache", "far/npm/_cacache", "~/.npm/_cacache"),
        ("XDG_CACHE_HOME", "far/cache/uv", "~/.cache/uv"),
        ("CARGO_HOME", "home/rust/registry", "~/rust/registry"),
        ("CARGO_HOME", "far/cargo/registry", None),
    ],
)
def test_a_variable_that_names_a_cache_is_honored(tmp_path: Path, variable: str, folder: str, path: str | None) -> None:
    source = tmp_path / folder
    source.mkdir(parents=True)
    named = source if variable == "UV_CACHE_DIR" else source.parent
    (tmp_path / "Cargo.toml").touch()
    environ = {"HOME": str(tmp_path / "home"), variable: str(named)}
    caches = {item.path: item.source for item in find_caches(environ, tmp_path, downloads=True)}
    assert caches == ({} if path is None else {path: source})


def test_a_cache_is_carried_only_for_what_reads_it(tmp_path: Path) -> None:
    for name in CACHES:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project").mkdir()
    environ, project = {"HOME": str(tmp_path)}, tmp_path / "project"
    assert find_caches(environ, project, downloads=False) == []
    (project / "go.mod").touch()
    paths = [item.path for item in find_caches(environ, project, downloads=False)]
    assert paths == ["~/.cache/go-build", "~/go/pkg/mod"]
    assert "~/.cache/uv" in [item.path for item in find_caches(environ, project, downloads=True)]


def test_the_environments_that_poetry_and_pipenv_keep_for_this_project_are_found(place: Place) -> None:
    home = Path(place.environ["HOME"])
    digest = hashlib.sha256(os.fsencode(os.path.realpath(place.root))).digest()
    mark = base64.urlsafe_b64encode(digest).decode()[:8]
    poetry, pipenv = home / ".cache/pypoetry/virtualenvs", home / ".local/share/virtualenvs"
    for folder in (poetry / f"ledger-{mark}-py3.11", poetry / "other-AbCdEfGh-py3.11", pipenv / "a", pipenv / "b"):
        make_environment(folder)
    (pipenv / "a/.project").write_text(str(place.root), encoding="utf-8")
    (pipenv / "b/.project").write_text("/elsewhere", encoding="utf-8")
    items = find_home_environments(place.repository(), place.environ)
    assert describe_environments(items) == (
        f"~/.cache/pypoetry/virtualenvs/ledger-{mark}-py3.11 (Python 3.11), ~/.local/share/virtualenvs/a (Python 3.11)"
    )
