from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.workspace.repository import Repository
from tests.workspace.conftest import Place


def branch(place: Place, name: str = "autoroute/r1", file: str = "new.txt", text: str = "new\n") -> str:
    place.git("checkout", "--quiet", "-b", name)
    place.write(file, text)
    commit = place.commit("Work")
    place.git("checkout", "--quiet", "main")
    return commit


def test_it_is_found_from_any_folder_in_it(place: Place) -> None:
    found = Repository.discover(place.root / "src", place.environ)
    assert (found.root, found.branch) == (place.root, "main")
    assert found.head == place.git("rev-parse", "HEAD")


def test_a_detached_head_and_an_unborn_branch_are_told_apart(place: Place) -> None:
    place.git("checkout", "--quiet", "--detach")
    assert (place.repository().branch, place.repository().head != "") == ("", True)
    place.git("checkout", "--quiet", "--orphan", "fresh")
    assert (place.repository().branch, place.repository().head) == ("fresh", "")


def test_no_repository_is_said_with_what_to_do(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    with pytest.raises(WorkspaceError, match="is not a git repository") as caught:
        Repository.discover(folder, place.environ)
    assert "git init" in caught.value.hint


def test_a_bare_repository_is_refused(place: Place) -> None:
    place.git("init", "--quiet", "--bare", str(place.folder / "bare"))
    with pytest.raises(WorkspaceError, match="bare repository"):
        Repository.discover(place.folder / "bare", place.environ)


def test_a_partial_clone_is_refused(place: Place) -> None:
    place.git("config", "uploadpack.allowFilter", "true")
    partial = place.folder / "partial"
    place.git("clone", "--quiet", "--filter=blob:none", f"file://{place.root}", str(partial))
    with pytest.raises(WorkspaceError, match="partial clone"):
        Repository.discover(partial, place.environ)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_repository_of_another_users_is_refused_until_it_is_trusted(place: Place) -> None:
    for path in (place.root, *place.root.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    trust = "git config --global --add safe.directory"
    hint = f"{trust} {place.root} && {trust} {place.root}/.git"
    with pytest.raises(WorkspaceError, match="dubious ownership") as caught:
        Repository.discover(place.root / "src", place.environ)
    assert caught.value.hint == hint
    place.git("config", "--global", "--add", "safe.directory", str(place.root), cwd=place.folder)
    with pytest.raises(WorkspaceError, match=r"dubious ownership in repository at '.*/\.git'") as caught:
        place.clone()
    assert caught.value.hint == hint
    subprocess.run(hint, shell=True, env=place.environ, cwd=place.folder, check=True)
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    assert clone.deliver(place.folder / "p").commits == 1


def test_git_that_is_missing_is_said(place: Place, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="git cannot be run") as caught:
        Repository.discover(place.root, {"PATH": str(tmp_path)})
    assert "install git" in caught.value.hint


def test_dirty_paths_are_named_and_asking_changes_nothing(place: Place) -> None:
    place.write("a.txt", "changed\n")
    place.write("new file.txt", "new\n")
    place.write(".autoroute/runs/x", "ours")
    before = place.fingerprint()
    assert place.repository().dirty() == ("a.txt", "new file.txt")
    assert place.fingerprint() == before


def test_a_ref_that_does_not_exist_is_refused_with_the_nearest(place: Place) -> None:
    repository = place.repository()
    assert repository.resolve("main") == repository.head
    with pytest.raises(WorkspaceError, match="'mian'") as caught:
        repository.resolve("mian")
    assert "main" in caught.value.hint
    with pytest.raises(WorkspaceError):
        repository.resolve("--output=/tmp/x")


def test_merge_brings_the_commits_into_the_branch(place: Place) -> None:
    tip = branch(place)
    place.repository().merge("autoroute/r1")
    assert (place.root / "new.txt").read_text() == "new\n"
    assert place.git("merge-base", "--is-ancestor", tip, "HEAD") == ""


def test_a_conflict_is_taken_back_whole(place: Place) -> None:
    branch(place, file="a.txt", text="theirs\n")
    place.write("a.txt", "mine\n")
    head = place.commit("Mine")
    with pytest.raises(WorkspaceError, match=r"conflicts with main in a\.txt"):
        place.repository().merge("autoroute/r1")
    assert place.git("rev-parse", "HEAD") == head
    assert place.git("status", "--porcelain") == ""


def test_uncommitted_changes_in_the_way_are_not_overwritten(place: Place) -> None:
    branch(place, file="a.txt", text="theirs\n")
    place.write("a.txt", "not committed\n")
    with pytest.raises(WorkspaceError, match="would be overwritten"):
        place.repository().merge("autoroute/r1")
    assert (place.root / "a.txt").read_text() == "not committed\n"


def test_merge_needs_a_branch_on_both_sides(place: Place) -> None:
    with pytest.raises(WorkspaceError, match="no branch autoroute/r9"):
        place.repository().merge("autoroute/r9")
    branch(place)
    place.git("checkout", "--quiet", "--detach")
    with pytest.raises(WorkspaceError, match="HEAD is detached"):
        place.repository().merge("autoroute/r1")


def test_discard_deletes_the_branch_unless_it_is_checked_out(place: Place) -> None:
    branch(place)
    place.git("checkout", "--quiet", "autoroute/r1")
    with pytest.raises(WorkspaceError, match="is checked out"):
        place.repository().discard("r1")
    place.git("checkout", "--quiet", "main")
    place.repository().discard("r1")
    assert place.git("branch", "--list", "autoroute/*") == ""
    place.repository().discard("r1")


def test_objects_are_borrowed_from_repositories_alone(place: Place, tmp_path: Path) -> None:
    """Whoever made the repository may have named any folder, which a sandbox would show."""
    other, secret = tmp_path / "other/.git", tmp_path / "secret"
    for folder in (other / "objects", secret, secret / "objects"):
        folder.mkdir(parents=True)
    (other / "HEAD").write_text("ref: refs/heads/main\n")
    named = (other / "objects", secret, secret / "objects", "# x", "/nowhere/objects")
    place.write(".git/objects/info/alternates", "".join(f"{path}\n" for path in named))
    assert place.repository().object_folders() == (place.root / ".git/objects", other / "objects")
