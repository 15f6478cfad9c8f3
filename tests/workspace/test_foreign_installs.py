"""Environments that hold the project from elsewhere, in each form that installers leave, and those that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoroute.workspace.foreign_installs import ForeignInstall, find_foreign_installs
from tests.workspace.conftest import Place


def make_environment(folder: Path) -> Path:
    """Make what ``python -m venv`` would, as far as metadata go; return its folder of packages."""
    packages = folder / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n", encoding="utf-8")
    (folder / "bin/python3").symlink_to("/usr/bin/python3")
    return packages


def install(packages: Path, name: str = "ledger", **record: Any) -> None:
    metadata = packages / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n", encoding="utf-8")
    if record:
        (metadata / "direct_url.json").write_text(json.dumps(record), encoding="utf-8")


def activate(place: Place, environment: Path) -> None:
    place.environ |= {"VIRTUAL_ENV": str(environment), "PATH": f"{environment}/bin:{place.environ['PATH']}"}


def find(place: Place, **options: Any) -> list[ForeignInstall]:
    return find_foreign_installs(place.repository(), place.environ, **options)


@pytest.fixture
def packages(place: Place) -> Path:
    """The folder of packages of an active environment outside the repository."""
    place.write("pyproject.toml", '[project]\nname = "Ledger.Core"\n')
    packages = make_environment(place.folder / "work")
    activate(place, place.folder / "work")
    return packages


def by_editable_url(packages: Path, root: Path) -> None:
    install(packages, url=root.as_uri(), dir_info={"editable": True})


def by_path_file(packages: Path, root: Path) -> None:
    (packages / "ledger.pth").write_text(f"{root}/src\n", encoding="utf-8")


def by_editable_path_file(packages: Path, root: Path) -> None:
    (packages / "__editable__.ledger-1.0.pth").write_text(f"{root}/src\n", encoding="utf-8")


def by_finder(packages: Path, root: Path) -> None:
    (packages / "__editable__.ledger-1.0.pth").write_text(
        "import __editable___ledger_1_0_finder; __editable___ledger_1_0_finder.install()", encoding="utf-8"
    )
    (packages / "__editable___ledger_1_0_finder.py").write_text(
        f"MAPPING: dict[str, str] = {{'ledger': '{root}/src/ledger'}}\n", encoding="utf-8"
    )


def by_egg_link(packages: Path, root: Path) -> None:
    (packages / "ledger.egg-link").write_text(f"{root}/src\n../", encoding="utf-8")


@pytest.mark.parametrize("form", [by_editable_url, by_path_file, by_editable_path_file, by_finder, by_egg_link])
def test_each_form_of_an_editable_install_leads_to_the_workspace_only_where_the_checkout_is(
    place: Place, packages: Path, form: Callable[[Path, Path], None]
) -> None:
    form(packages, place.root)
    (found,) = find(place)
    assert (found.environment, found.package, found.kind) == (place.folder / "work", "ledger", "editable")
    assert Path(found.source).is_relative_to(place.root)
    assert found.leads_to_workspace(placed=True)
    assert not found.leads_to_workspace(placed=False)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"url": "{root}", "dir_info": {}}, id="pip install ."),
        pytest.param({"url": "{root}/packages/a%20b", "dir_info": {"editable": False}}, id="a package of a monorepo"),
        pytest.param({"url": "{root}/dist/ledger-1.0.whl", "archive_info": {}}, id="a wheel that was built here"),
        pytest.param({"url": "{root}", "vcs_info": {"vcs": "git", "commit_id": "0"}}, id="a commit of the checkout"),
    ],
)
def test_a_copy_never_leads_to_the_workspace(place: Place, packages: Path, record: dict[str, Any]) -> None:
    install(packages, **{**record, "url": record["url"].format(root=place.root.as_uri())})
    (found,) = find(place)
    assert (found.kind, found.is_here) == ("copy", True)
    assert not found.leads_to_workspace(placed=True)


def test_another_clone_and_a_remote_copy_of_this_project_are_found_by_its_name(place: Place, packages: Path) -> None:
    install(packages, "ledger_core", url="file:///elsewhere/ledger", dir_info={"editable": True})
    (found,) = find(place)
    assert (found.kind, found.source, found.leads_to_workspace(placed=True)) == ("editable", "/elsewhere/ledger", False)
    (packages / "ledger_core-1.0.dist-info/direct_url.json").write_text(
        json.dumps({"url": "https://user:word@forge.example/ledger", "vcs_info": {"vcs": "git"}}), encoding="utf-8"
    )
    (found,) = find(place)
    assert (found.kind, found.source) == ("copy", "https://forge.example/ledger")


def test_an_editable_install_of_another_worktree_does_not_lead_to_the_workspace(place: Place, packages: Path) -> None:
    side = place.folder / "side"
    place.git("worktree", "add", "--quiet", "--detach", str(side))
    by_path_file(packages, place.root)
    (found,) = find_foreign_installs(place.repository(side), place.environ)
    assert not found.leads_to_workspace(placed=True)


def test_what_a_project_depends_on_is_not_this_project(place: Place, packages: Path) -> None:
    install(packages, "ledger-core")  # a release of the same name, from an index
    install(packages, "tomlish", url="file:///elsewhere/tomlish", dir_info={"editable": True})
    install(packages, "vendored", url=f"{place.root.as_uri()}/vendor/vendored-1.0.whl", archive_info={})
    source = place.folder / "work/src/dependency"
    install(packages, "dependency", url=source.as_uri(), dir_info={"editable": True})
    (packages / "dependency.pth").write_text(f"{source}\n", encoding="utf-8")
    (packages / "distutils-precedence.pth").write_text("import os; os.environ.get('X')\n", encoding="utf-8")
    assert find(place) == []


@pytest.mark.parametrize("text", ["", "[", '{"url": 7}', "[" * 100_000, '{"url": "file://[", "dir_info": {}}'])
def test_unreadable_metadata_says_nothing(place: Place, packages: Path, text: str) -> None:
    install(packages, url="x")
    (packages / "ledger-1.0.dist-info/direct_url.json").write_text(text, encoding="utf-8")
    assert find(place) == []


def test_metadata_that_is_a_pipe_does_not_block(place: Place, packages: Path) -> None:
    import os

    install(packages)
    os.mkfifo(packages / "ledger-1.0.dist-info/direct_url.json")
    assert find(place) == []


def test_an_environment_that_no_command_finds_first_is_not_looked_at(place: Place, packages: Path) -> None:
    by_path_file(make_environment(place.folder / "later"), place.root)
    place.environ["PATH"] += f":{place.folder}/later/bin"
    assert find(place) == []
    carried = place.root / ".venv"
    by_path_file(make_environment(carried), place.root)
    assert find(place) == []
    assert [found.environment for found in find(place, carried=[carried])] == [carried]


def test_the_packages_of_the_home_folder_count_where_commands_see_it(place: Place) -> None:
    user = Path(place.environ["HOME"]) / ".local/lib/python3.11/site-packages"
    user.mkdir(parents=True)
    by_path_file(user, place.root)
    assert find(place) == []
    assert len(find(place, home=True)) == 1


def test_a_base_whose_packages_the_environment_uses_counts(place: Place) -> None:
    by_path_file(make_environment(place.folder / "base"), place.root)
    make_environment(place.folder / "work")
    activate(place, place.folder / "work")
    settings = place.folder / "work/pyvenv.cfg"
    for text, count in (("false", 0), ("true", 1)):
        settings.write_text(f"home = {place.folder}/base/bin\ninclude-system-site-packages = {text}\n", "utf-8")
        assert len(find(place)) == count


def test_the_version_that_pyenv_uses_here_counts(place: Place) -> None:
    pyenv = place.folder / "pyenv"
    (pyenv / "shims").mkdir(parents=True)
    (pyenv / "shims/python3").write_text("#!/bin/sh\n", encoding="utf-8")
    (pyenv / "shims/python3").chmod(0o755)
    for name in ("3.11.4", "3.12.1"):
        by_path_file(make_environment(pyenv / "versions" / name), place.root)
    place.environ["PATH"] = f"{pyenv}/shims:{place.environ['PATH']}"
    (pyenv / "version").write_text("3.11.4\n", encoding="utf-8")
    assert [found.environment.name for found in find(place)] == ["3.11.4"]
    place.write(".python-version", "3.12.1\n")
    assert [found.environment.name for found in find(place)] == ["3.12.1"]


def test_a_global_link_of_npm_into_the_repository_is_found(place: Place) -> None:
    prefix = place.folder / "node"
    (prefix / "lib/node_modules/@ledger").mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin/node").symlink_to("/bin/true")
    place.environ["PATH"] = f"{prefix}/bin:{place.environ['PATH']}"
    (prefix / "lib/node_modules/@ledger/cli").symlink_to(place.root / "src")
    (prefix / "lib/node_modules/other").symlink_to(place.folder)
    (found,) = find(place)
    assert (found.package, found.kind, found.source) == ("@ledger/cli", "link", str(place.root / "src"))
    assert found.leads_to_workspace(placed=True)
    assert not found.leads_to_workspace(placed=False)
