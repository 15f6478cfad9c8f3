"""What set-ups made is found again by what it depends on, is shared without a copy, and is never what a model made."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from autoroute.workspace.layers import HOME, Layers
from autoroute.workspace.setup_results import KeptResults, SetupTerms, list_results

PROGRAMS = "Python 3.11.9\nLinux x86_64\n"
FILES = {"pyproject.toml": "a1", "src/ledger.py": "b1"}
UV = ("uv sync --frozen",)
Change = Callable[["Site"], None]


@dataclass
class Site:
    """A workspace whose layers lie as copies in the tree, and the results that it uses."""

    folder: Path
    results: Path
    terms: SetupTerms
    files: Mapping[str, str] = field(default_factory=lambda: FILES)
    programs: str = PROGRAMS
    max_bytes: int = 10**9
    carried: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (self.tree, self.home):
            path.mkdir(parents=True, exist_ok=True)
        self.layers = Layers(self.folder / "layers", self.tree, self.home, mounts=False)
        self.layers.open(self.carried)

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def kept(self) -> KeptResults:
        return KeptResults(self.results, self.layers, self.terms, lambda: self.files, self.max_bytes)

    def install(self, path: str = ".venv") -> Path:
        """Make an environment of Python in the tree that names its own place; return its folder of packages."""
        environment = self.tree / path
        packages = environment / "lib/python3.11/site-packages"
        packages.mkdir(parents=True)
        (environment / "bin").mkdir()
        (environment / "bin/python").symlink_to("/usr/bin/python3")
        (environment / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.9\n")
        (environment / "bin/tool").write_text(f"#!{environment}/bin/python\n")
        (packages / "dependency.py").write_text("X = 1\n")
        return packages

    def keep(self, *made: str) -> None:
        self.layers.freeze(made or [".venv"])
        self.kept.keep(self.programs)


@pytest.fixture
def first(tmp_path: Path) -> Site:
    terms = SetupTerms("first", Path("/repository/.git"), UV, {}, place=Path("/repository"))
    return Site(tmp_path / "first", tmp_path / "results", terms)


def another(first: Site, name: str = "second", **changes: object) -> Site:
    terms = replace(first.terms, run=name, **changes)  # type: ignore[arg-type]
    return Site(first.folder.with_name(name), first.results, terms)


def test_a_result_is_given_to_the_next_run(first: Site) -> None:
    first.install()
    (first.home / ".cache").mkdir()
    (first.home / ".cache/download").write_text("d")
    first.keep()
    second = another(first)
    assert second.kept.reuse(PROGRAMS) == "first"
    assert (second.tree / ".venv/lib/python3.11/site-packages/dependency.py").read_text() == "X = 1\n"
    assert (second.home / ".cache/download").read_text() == "d"
    assert second.layers.is_frozen
    assert {".venv", HOME} == set(second.layers.paths)


def test_what_commands_write_reaches_neither_the_result_nor_another_run(first: Site) -> None:
    packages = first.install()
    first.keep()
    second, third = another(first), another(first, "third")
    assert second.kept.reuse(PROGRAMS)
    written = second.tree / packages.relative_to(first.tree) / "dependency.py"
    written.write_text("X = 'written in the second run'\n")
    assert third.kept.reuse(PROGRAMS)
    assert (third.tree / packages.relative_to(first.tree) / "dependency.py").read_text() == "X = 1\n"
    second.layers.renew()
    assert written.read_text() == "X = 1\n"


def test_files_are_shared_without_a_copy(first: Site) -> None:
    first.install()
    first.keep()
    second = another(first)
    assert second.kept.reuse(PROGRAMS)
    kept = [path for path in second.layers.sources[".venv"][0].rglob("*") if path.is_file() and not path.is_symlink()]
    assert kept
    assert all(path.stat().st_nlink > 1 for path in kept)


OTHERS: dict[str, Change] = {
    "another interpreter": lambda site: setattr(site, "programs", "Python 3.12.1\n"),
    "another repository": lambda site: setattr(site, "terms", replace(site.terms, repository=Path("/other/.git"))),
    "another command": lambda site: setattr(site, "terms", replace(site.terms, commands=("uv sync",))),
    "another place": lambda site: setattr(site, "terms", replace(site.terms, place=Path("/elsewhere"))),
    "another user": lambda site: setattr(site, "terms", replace(site.terms, owner=65534)),
    "another variable": lambda site: setattr(site, "terms", replace(site.terms, variables={"EXTRA": "1"})),
    "another lock file": lambda site: setattr(site, "files", {**FILES, "uv.lock": "c1"}),
    "another manifest in a folder": lambda site: setattr(site, "files", {**FILES, "packages/a/pyproject.toml": "c1"}),
    "a week later": lambda site: _age(site, days=8),
    "damaged": lambda site: _damage(site),
    "without its files": lambda site: shutil.rmtree(_only_result(site) / "0"),
}


def _only_result(site: Site) -> Path:
    (folder,) = site.results.iterdir()
    return folder


def _damage(site: Site) -> None:
    (_only_result(site) / "entry.json").write_text("{")


def _age(site: Site, days: int) -> None:
    entry = _only_result(site) / "entry.json"
    told = json.loads(entry.read_text())
    entry.write_text(json.dumps({**told, "made_at": time.time() - days * 24 * 3600}))


@pytest.mark.parametrize("difference", OTHERS)
def test_what_it_depends_on_has_to_be_the_same(first: Site, difference: str) -> None:
    first.install()
    first.keep()
    second = another(first)
    OTHERS[difference](second)
    assert second.kept.reuse(second.programs) == ""
    assert second.layers.paths == ()
    assert list(second.tree.iterdir()) == []


def test_other_files_of_the_project_do_not_matter_to_an_installer(first: Site) -> None:
    first.install()
    first.keep()
    second = another(first)
    second.files = {**FILES, "src/ledger.py": "b2", "README": "c1"}
    assert second.kept.reuse(PROGRAMS) == "first"


def _copy_of_the_project(site: Site) -> None:
    _describe_install(site.install(), {"url": "file:///repository", "dir_info": {}})


def _compiled_from_the_project(site: Site) -> None:
    metadata = _describe_install(site.install(), {"url": "file:///repository", "dir_info": {"editable": True}})
    (metadata / "RECORD").write_text("ledger/_fast.cpython-311.so,sha256=x,10\n")


def _built_in_the_tree(site: Site) -> None:
    site.install()
    (site.tree / "dist").mkdir()
    (site.tree / "dist/bundle.js").write_text("built")


def _copy_in_the_home(site: Site) -> None:
    site.install()
    packages = site.home / ".local/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    _describe_install(packages, {"url": "file:///repository", "dir_info": {}})


def _describe_install(packages: Path, record: Mapping[str, object]) -> Path:
    metadata = packages / "ledger-1.dist-info"
    metadata.mkdir()
    (metadata / "direct_url.json").write_text(json.dumps(record))
    return metadata


@pytest.mark.parametrize(
    "install", [_copy_of_the_project, _compiled_from_the_project, _built_in_the_tree, _copy_in_the_home]
)
def test_what_holds_the_project_itself_is_for_the_same_files_alone(first: Site, install: Change) -> None:
    install(first)
    first.keep(*(path.name for path in first.tree.iterdir()))
    changed = another(first)
    changed.files = {**FILES, "src/ledger.py": "b2"}
    assert changed.kept.reuse(PROGRAMS) == ""
    assert another(first, "third").kept.reuse(PROGRAMS) == "first"


def test_an_editable_install_of_pure_python_is_no_part_of_the_project(first: Site) -> None:
    _describe_install(first.install(), {"url": "file:///repository", "dir_info": {"editable": True}})
    first.keep()
    second = another(first)
    second.files = {**FILES, "src/ledger.py": "b2"}
    assert second.kept.reuse(PROGRAMS) == "first"


@pytest.mark.parametrize(
    ("command", "is_installer"),
    [
        ("python3 -m venv .venv && .venv/bin/pip install -q -r tests/needed.txt", True),
        ("npm ci", True),
        ("bundle config set --local path vendor/bundle && bundle install", True),
        ("make deps", False),
        ("npm run prepare", False),
        ("npm ci; ./build", False),
        ("npm ci && cat src/ledger.py > x", False),
        ("bin/pip install x", False),
        ("pip install $(cat src/ledger.py)", False),
        ("npm cix", False),
        ("'", False),
    ],
)
def test_commands_that_are_no_known_installers_depend_on_all_files(
    first: Site, command: str, is_installer: bool
) -> None:
    files = {**FILES, "bin/pip": "p1", "tests/needed.txt": "n1"}
    first.terms, first.files = replace(first.terms, commands=(command,)), files
    first.install()
    first.keep()
    second = another(first)
    second.files = {**files, "src/ledger.py": "b2"}
    assert bool(second.kept.reuse(PROGRAMS)) is is_installer
    second.files = {**files, "tests/needed.txt": "n2"}
    assert bool(second.kept.reuse(PROGRAMS)) is (is_installer and "needed" not in command)


def test_scripts_lead_to_the_new_place(first: Site) -> None:
    first.terms = replace(first.terms, place=None)
    first.install()
    first.keep()
    second = another(first)
    assert second.kept.reuse(PROGRAMS) == "first"
    assert (second.tree / ".venv/bin/tool").read_text() == f"#!{second.tree}/.venv/bin/python\n"
    second.layers.renew()
    assert (second.tree / ".venv/bin/tool").read_text() == f"#!{second.tree}/.venv/bin/python\n"
    third = another(first, "third")
    assert third.kept.reuse(PROGRAMS) == "first"
    assert (third.tree / ".venv/bin/tool").read_text() == f"#!{third.tree}/.venv/bin/python\n"


def _python_in_the_home(site: Site) -> None:
    site.install()
    (site.tree / ".venv/pyvenv.cfg").write_text(f"home = {site.home}/.local/share/uv/python/bin\n")


def _poetry_environment(site: Site) -> None:
    site.install()
    (site.home / ".cache/pypoetry/virtualenvs/ledger-abc-py3.11").mkdir(parents=True)


@pytest.mark.parametrize("install", [_python_in_the_home, _poetry_environment])
def test_what_names_a_place_that_only_one_run_has_is_not_kept(first: Site, install: Change) -> None:
    first.terms = replace(first.terms, place=None)
    install(first)
    first.keep()
    assert list_results(first.results) == []


@pytest.mark.parametrize("in_home", [True, False])
def test_a_result_with_a_secret_of_the_set_up_is_not_kept(first: Site, in_home: bool) -> None:
    first.terms = replace(first.terms, variables={"TOKEN": "canary-token"}, secrets=("canary-token",))
    packages = first.install()
    (first.home / "empty").touch()
    (first.home / ".npmrc" if in_home else packages / "x.bin").write_bytes(b"\0token=canary-token\n")
    first.keep()
    assert list_results(first.results) == []
    assert list(first.results.iterdir()) == []


def test_a_set_up_that_changed_a_carried_environment_is_not_kept(first: Site, tmp_path: Path) -> None:
    site = Site(tmp_path / "users", first.results, first.terms)
    site.install()
    carrying = Site(tmp_path / "carrying", first.results, first.terms, carried={".venv": site.tree / ".venv"})
    (carrying.tree / "node_modules").mkdir()
    (carrying.tree / ".venv/lib/python3.11/site-packages/new.py").write_text("")
    carrying.keep("node_modules")
    assert list_results(first.results) == []
    untouched = Site(tmp_path / "untouched", first.results, first.terms, carried={".venv": site.tree / ".venv"})
    (untouched.tree / "node_modules/.bin").mkdir(parents=True)
    untouched.keep("node_modules")
    assert len(list_results(first.results)) == 1


def test_the_results_that_were_not_used_for_the_longest_time_make_room(first: Site) -> None:
    sites = [another(first, name, commands=(f"npm ci --{name}",)) for name in ("a", "b", "c")]
    for number, site in enumerate(sites):
        site.install().joinpath("large").write_bytes(os.urandom(100_000))
        site.max_bytes = 400_000
        site.keep()
        for result in list_results(first.results):
            if result.run == site.terms.run:
                os.utime(result.folder / "entry.json", (time.time() - 100 + number, time.time() - 100 + number))
        if number == 1:
            assert another(first, "user", commands=sites[0].terms.commands).kept.reuse(PROGRAMS) == "a"
    assert [result.run for result in list_results(first.results)] == ["c", "a"]


def test_what_a_killed_run_left_half_kept_is_deleted_later(first: Site) -> None:
    half, recent = first.results / ".half", first.results / ".recent"
    for folder in (half, recent):
        folder.mkdir(parents=True)
    os.utime(half, (0, 0))
    first.install()
    first.keep()
    assert not half.exists()
    assert recent.exists()
