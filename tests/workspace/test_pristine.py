"""The workspace becomes what a checkout of the commit would be, whatever models and commands left in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from autoroute.workspace import Differences
from autoroute.workspace.clone import PrivateClone

from .conftest import Place, dig


def commit_all(clone: PrivateClone) -> str:
    return clone.commit(clone.snapshot(), "work", "", {})


def checkout(place: Place, commit: str, folder: Path) -> dict[str, bytes]:
    """Return the files of a fresh checkout of a commit that was published."""
    place.git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    return content_of(folder)


def content_of(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/", maxsplit=1)[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = b"-> " + os.fsencode(path.readlink())
        elif path.is_dir():
            found[f"{name}/"] = b""
        else:
            found[name] = path.read_bytes()
    return found


def leave_ignored_file(root: Path) -> None:
    (root / "build").mkdir()
    (root / "build/out.o").write_text("object")


def leave_untracked_file(root: Path) -> None:
    (root / "notes.txt").write_text("notes")


def leave_empty_folder(root: Path) -> None:
    (root / "src/empty/deep").mkdir(parents=True)


def leave_repository(root: Path) -> None:
    (root / "inner").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=root / "inner", check=True)
    (root / "inner/file").write_text("inner")


def leave_link_out(root: Path) -> None:
    (root / "link").symlink_to(root.parent)


def leave_unreadable_folder(root: Path) -> None:
    (root / "closed").mkdir(mode=0o500)


def leave_deep_folders(root: Path) -> None:
    (root / "build").mkdir()
    dig(root / "build")


def leave_replaced_repository(root: Path) -> None:
    (root / ".git").rename(root / "build")
    (root / ".git").symlink_to(root.parent)


def leave_no_repository(root: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], cwd=root, check=True)


def leave_change(root: Path) -> None:
    (root / "a.txt").write_text("uncommitted")
    (root / "src/b.txt").unlink()


@pytest.fixture
def clone(place: Place) -> PrivateClone:
    place.write(".gitignore", "build/\n")
    place.commit("Ignore")
    return place.clone()


@pytest.mark.parametrize(
    ("leave", "differences"),
    [
        (leave_ignored_file, Differences(ignored=("build",))),
        (leave_untracked_file, Differences(untracked=("notes.txt",))),
        (leave_empty_folder, Differences(untracked=("src/empty",))),
        (leave_repository, Differences(untracked=("inner",))),
        (leave_link_out, Differences(untracked=("link",))),
        (leave_unreadable_folder, Differences(untracked=("closed",))),
        (leave_deep_folders, Differences(ignored=("build",))),
        (leave_replaced_repository, Differences(ignored=("build",))),
        (leave_no_repository, Differences()),
        (leave_change, Differences()),
    ],
)
def test_what_was_left_is_removed_and_named(
    place: Place, clone: PrivateClone, tmp_path: Path, leave: object, differences: Differences
) -> None:
    (clone.root / "new.txt").write_text("new\n")
    commit = commit_all(clone)
    assert callable(leave)
    leave(clone.root)
    assert clone.make_pristine() == differences
    clone.publish(tmp_path / "patch")
    assert content_of(clone.root) == checkout(place, commit, tmp_path / "fresh")
    assert clone.make_pristine() == Differences()


def test_what_git_converts_on_the_way_is_checked_out_anew_and_named(place: Place, tmp_path: Path) -> None:
    place.write(".gitattributes", "*.md text eol=lf\n")
    place.commit("Attributes")
    clone = place.clone()
    (clone.root / "page.md").write_bytes(b"one\r\ntwo\r\n")
    (clone.root / "other.txt").write_bytes(b"one\r\n")
    commit = commit_all(clone)
    assert clone.make_pristine() == Differences(converted=("page.md",))
    assert (clone.root / "page.md").read_bytes() == b"one\ntwo\n"
    clone.publish(tmp_path / "patch")
    assert content_of(clone.root) == checkout(place, commit, tmp_path / "fresh")


def test_new_attributes_apply_to_files_that_were_there(place: Place, tmp_path: Path) -> None:
    clone = place.clone()
    (clone.root / ".gitattributes").write_text("a.txt text eol=crlf\n")
    commit = commit_all(clone)
    clone.make_pristine()
    clone.publish(tmp_path / "patch")
    assert content_of(clone.root) == checkout(place, commit, tmp_path / "fresh")
    assert (clone.root / "a.txt").read_bytes() == b"one\r\n"


def test_commands_see_the_commits_in_their_repository_and_a_clean_status(place: Place, clone: PrivateClone) -> None:
    (clone.root / "a.txt").write_text("changed\n")
    commit = commit_all(clone)
    (clone.root / ".git/hooks").mkdir(exist_ok=True)
    (clone.root / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")
    place.git("config", "user.name", "planted", cwd=clone.root)
    clone.make_pristine()
    assert place.git("rev-parse", "HEAD", cwd=clone.root) == commit
    assert place.git("status", "--porcelain", cwd=clone.root) == ""
    assert place.git("branch", "--show-current", cwd=clone.root) == clone.branch
    assert not (clone.root / ".git/hooks/pre-commit").exists()
    assert "planted" not in (clone.root / ".git/config").read_text()


def test_rules_of_the_users_excludes_file_are_not_shown(place: Place) -> None:
    (place.folder / "home/.config/git").mkdir(parents=True)
    (place.folder / "home/.config/git/ignore").write_text("secret-project-name/\n")
    clone = place.clone()
    clone.make_pristine()
    shown = "".join(path.read_text() for path in (clone.root / ".git/info").iterdir())
    assert "secret-project-name" not in shown


def test_what_the_set_up_made_stays_as_it_made_it(place: Place, clone: PrivateClone) -> None:
    (clone.root / "build/env").mkdir(parents=True)
    (clone.root / "build/env/tool").write_text("tool")
    (clone.root / "version.txt").write_text("1")
    clone.exclude_new_files()
    clone.keep_setup()
    (clone.root / "build/env/tool").write_text("changed")
    (clone.root / "build/other").write_text("left")
    (clone.root / "version.txt").unlink()
    (clone.root / "a.txt").write_text("changed\n")
    commit_all(clone)
    clone.make_pristine()
    assert (clone.root / "build/env/tool").read_text() == "tool"
    assert (clone.root / "version.txt").read_text() == "1"
    assert not (clone.root / "build/other").exists()


def test_an_empty_repository_becomes_pristine(place: Place, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    place.git("init", "--quiet", cwd=empty)
    clone = PrivateClone(place.repository(empty), tmp_path / "workspaces/e", "e", base="")
    clone.open()
    leave_untracked_file(clone.root)
    assert clone.make_pristine() == Differences(untracked=("notes.txt",))
    assert content_of(clone.root) == {}
