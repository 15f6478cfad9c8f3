"""Bare repositories in a change: what makes a folder one never reaches a commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autoroute.workspace.bare_repositories import find_bare_repositories, may_make_one
from tests.workspace.conftest import Place


def plant(folder: Path, mark: Path, objects: str = "objects", refs: str = "refs") -> None:
    """Write by hand what ``git status`` in a folder runs a program of."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "config").write_text(
        f'[core]\n\trepositoryformatversion = 0\n\tworktree = "."\n\tfsmonitor = "touch {mark}; false"\n'
    )
    for name in filter(None, (objects, refs)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "keep").write_text("")


def with_links(folder: Path, mark: Path) -> None:
    plant(folder, mark, "", "")
    (folder / "objects").symlink_to("../src")
    (folder / "refs").symlink_to("../src")


def with_programs(folder: Path, mark: Path) -> None:
    plant(folder, mark, "", "")
    for name in ("objects", "refs"):
        (folder / name).write_text("")
        (folder / name).chmod(0o755)


def with_a_common_folder(folder: Path, mark: Path) -> None:
    plant(folder.parent / "other", mark)
    (folder.parent / "other/HEAD").unlink()
    folder.mkdir(exist_ok=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "commondir").write_text("../other\n")
    # git reads the work tree of a folder with a common one from a file of its own.
    with (folder.parent / "other/config").open("a") as config:
        config.write("[extensions]\n\tworktreeConfig = true\n")
    (folder / "config.worktree").write_text('[core]\n\tworktree = "."\n')


def deep_inside(folder: Path, mark: Path) -> None:
    plant(folder / "one/two", mark)


SHAPES: list[Callable[[Path, Path], None]] = [plant, with_links, with_programs, with_a_common_folder, deep_inside]


def runs_code(place: Place, top: Path, mark: Path) -> bool:
    """Whether ``git status`` in some folder of a tree runs what was planted."""
    for folder, names, _ in os.walk(top):
        names[:] = [name for name in names if name != ".git"]
        subprocess.run(["git", "status"], cwd=folder, env=place.environ, capture_output=True, check=False)
    return mark.exists()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bare_repository_is_left_out_of_commits(place: Place, shape: Callable[[Path, Path], None]) -> None:
    place.write("src/a.py", "a = 1\n")
    place.write("docs/index.md", "# Docs\n")
    place.commit()
    clone, mark = place.clone(), place.folder / "ran"
    shape(clone.root / "docs", mark)
    (clone.root / "docs/index.md").write_text("# More\n")
    # The control: in the workspace itself, where nobody of autoroute's runs git so, the attack works.
    assert runs_code(place, clone.root, mark)
    mark.unlink()
    clone.commit(clone.snapshot(), "Change", "", {})
    publication = clone.publish(place.folder / "patch")
    assert [path for path in publication.excluded if path.startswith("docs/")]
    place.git("merge", "--quiet", "autoroute/r1")
    assert (place.root / "docs/index.md").read_text() == "# More\n"
    assert not runs_code(place, place.root, mark)


def test_a_repository_that_is_put_together_over_several_commits_is_found(place: Place) -> None:
    place.write("docs/HEAD", "ref: refs/heads/main\n")
    place.commit()
    clone, mark = place.clone(), place.folder / "ran"
    for name in ("objects/keep", "config", "refs/keep"):
        path = clone.root / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        clone.commit(clone.snapshot(), "Change", "", {})
    plant(clone.root / "docs", mark)
    clone.commit(clone.snapshot(), "Change", "", {})
    clone.publish(place.folder / "patch")
    place.git("merge", "--quiet", "autoroute/r1")
    assert (place.root / "docs/objects/keep").exists()
    assert not (place.root / "docs/refs").exists()
    assert not runs_code(place, place.root, mark)


def test_a_model_is_told_of_a_bare_repository_at_once(place: Place) -> None:
    place.write("a.py", "a = 1\n")
    place.commit()
    clone = place.clone()
    clone.snapshot()
    plant(clone.root / "docs", place.folder / "ran")
    (clone.root / "docs/index.md").write_text("# Docs\n")
    assert clone.left_out.list_new() == ["docs/", "docs/index.md"]
    clone.snapshot()
    assert clone.left_out.list_new() == []
    assert clone.left_out.explain("docs/HEAD") == "it is in a git repository of its own, docs/"
    assert clone.left_out.explain("docs/index.md") == ""
    assert clone.left_out.find_uncommitted(["docs/refs/keep", "docs/index.md"]) == {
        "docs/refs/keep": "it is in a git repository of its own, docs/"
    }


def test_a_repository_that_the_user_has_as_a_fixture_is_kept_and_listed(place: Place) -> None:
    plant(place.root / "tests/fixture.git", place.folder / "ran")
    place.commit()
    clone = place.clone()
    for name in ("config", "refs/main"):
        (clone.root / "tests/fixture.git" / name).write_text("[core]\n")
    (clone.root / "tests/fixture.git/notes.txt").write_text("mine\n")
    (clone.root / "tests/test_a.py").write_text("a = 1\n")
    assert clone.left_out.explain("tests/fixture.git/refs/main") == ""
    clone.commit(clone.snapshot(), "Change", "", {})
    runs = "makes git take its folder for a repository, whose settings run programs"
    expected = {"tests/fixture.git/config": runs, "tests/fixture.git/refs/main": runs}
    assert clone.find_auto_executed() == expected
    assert clone.publish(place.folder / "patch").excluded == ()


def test_a_branch_that_brings_one_all_the_same_is_listed_before_a_merge(place: Place) -> None:
    place.write("a.py", "a = 1\n")
    place.commit()
    place.git("switch", "--quiet", "--create", "autoroute/r1")
    plant(place.root / "docs", place.folder / "ran")
    place.commit()
    place.git("switch", "--quiet", "main")
    assert sorted(place.repository().find_auto_executed("autoroute/r1")) == [
        "docs/HEAD",
        "docs/config",
        "docs/objects/keep",
        "docs/refs/keep",
    ]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["d/HEAD", "d/objects/x", "d/refs/x"], {"d"}),
        (["d/head", "D/Objects", "d/REFS/x"], {"d"}),
        (["d/H\u200cEAD", "d/objects/x", "d/refs./x"], {"d"}),
        (["a/b/HEAD", "a/b/commondir"], {"a/b"}),
        (["d/HEAD", "d/objects/x"], set()),
        (["d/objects/x", "d/refs/x", "HEAD"], set()),
        (["HEAD", "objects/x", "refs/x"], set()),
        (["src/head.py", "src/objects/a.py", "src/refs/b.py"], set()),
    ],
)
def test_a_folder_is_a_repository_by_the_names_that_git_looks_for(paths: list[str], found: set[str]) -> None:
    assert find_bare_repositories(paths) == found
    assert may_make_one(paths) or not found
