"""What a repository from anywhere, or a model in its workspace, prepares for the git that autoroute runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.errors import ExitCode, WorkspaceError
from autoroute.workspace import Changes
from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.git import own_git
from autoroute.workspace.repository import Repository
from autoroute.workspace.special_files import remove_special_files
from tests.workspace.conftest import Place

NAMES = (".GIT", ".git", "git~1", ".g\u200cit", "..", ".", ".git ")


def program(place: Place) -> tuple[str, Path]:
    """A command that leaves a mark and passes its input on, and the mark."""
    mark, path = place.folder / "fired", place.folder / "program.sh"
    path.write_text(f"#!/bin/sh\n: > {mark}\nexec cat\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path), mark


def commit_in_history(place: Place, clone: PrivateClone, entry: str, *, inside: str = "") -> None:
    """A commit on the run's branch that ``git add`` would never have made: ``entry`` as ``git mktree`` reads it."""
    git = own_git(clone.folder / "history.git", clone.root, place.environ)
    tree = git.run("mktree", "-z", data=f"{entry}\0".encode()).decode().strip()
    if inside:
        tree = git.run("mktree", "-z", data=f"40000 tree {tree}\t{inside}\0".encode()).decode().strip()
    author = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    commit = git.with_variables(**author).text("commit-tree", tree, "-p", clone.base, "-m", "x")
    git.run("update-ref", f"refs/heads/{clone.branch}", commit)


def blob(place: Place, clone: PrivateClone, text: str) -> str:
    git = own_git(clone.folder / "history.git", clone.root, place.environ)
    return git.run("hash-object", "-w", "--stdin", data=text.encode()).decode().strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_with_a_git_name_is_not_published(place: Place, name: str) -> None:
    place.git("config", "fetch.fsck.hasDotgit", "ignore")
    clone = place.clone()
    commit_in_history(place, clone, f"100644 blob {blob(place, clone, 'x')}\tconfig", inside=name)
    with pytest.raises(WorkspaceError, match="git considers an object unsafe") as caught:
        clone.publish(place.folder / "p")
    assert caught.value.exit_code is ExitCode.WORKSPACE
    assert "autoroute discard r1" in caught.value.hint
    assert place.git("branch", "--list", "autoroute/*") == ""
    assert clone.root.is_dir()


@pytest.mark.parametrize(
    ("mode", "text"), [("120000", "/etc/passwd"), ("100644", '[submodule "x"]\n\tpath = x\n\turl = -u./payload\n')]
)
def test_hostile_submodule_settings_are_not_published(place: Place, mode: str, text: str) -> None:
    clone = place.clone()
    commit_in_history(place, clone, f"{mode} blob {blob(place, clone, text)}\t.gitmodules")
    with pytest.raises(WorkspaceError, match="gitmodules"):
        clone.publish(place.folder / "p")


@pytest.mark.parametrize("name", [".GIT", "git~1", ".g\u200cit", ".git "])
def test_files_with_git_names_are_excluded_and_reported(place: Place, name: str) -> None:
    clone = place.clone()
    (clone.root / name).mkdir()
    (clone.root / name / "config").write_text("x")
    (clone.root / "new.txt").write_text("new\n")
    assert clone.commit(clone.snapshot(), "Add it", "", {})
    publication = clone.publish(place.folder / "p")
    assert publication.excluded == (f"{name}/config",)
    assert place.git("ls-tree", "-r", "--name-only", publication.commit).splitlines() == [
        "a.txt",
        "new.txt",
        "src/b.txt",
    ]


def test_a_declared_encoding_that_files_violate_does_not_stop_a_commit(place: Place) -> None:
    clone = place.clone()
    (clone.root / ".gitattributes").write_text("*.txt working-tree-encoding=UTF-16\n")
    (clone.root / "new.txt").write_text("new\n")
    assert clone.commit(clone.snapshot(), "Add it", "", {})
    publication = clone.publish(place.folder / "p")
    assert place.git("show", f"{publication.commit}:new.txt") == "new"


def test_one_wrongly_encoded_file_does_not_affect_the_others(place: Place) -> None:
    place.write(".gitattributes", "*.txt working-tree-encoding=UTF-16LE-BOM\n")
    for name in ("a.txt", "src/b.txt", "right.txt"):
        place.write(name, "\ufeffright\n".encode("utf-16-le"))
    place.commit()
    clone = place.clone()
    wrong = ('wrong "[1]* name.txt', "src/wrong.txt")
    for name in wrong:
        (clone.root / name).write_text("plain!\n")
    (clone.root / "right.txt").write_bytes("\ufeffother\n".encode("utf-16-le"))
    assert clone.commit(clone.snapshot(), "Add them", "", {})
    publication = clone.publish(place.folder / "p")
    assert place.git("show", f"{publication.commit}:right.txt") == "other"
    for name in wrong:
        assert place.git("show", f"{publication.commit}:{name}") == "plain!"
    assert len(place.git("diff", "--name-only", "main", publication.commit).splitlines()) == 3


def test_git_never_runs_inside_a_submodule(place: Place) -> None:
    """``git add`` runs ``git status`` in a submodule, and so the filters that are configured there."""
    inner = Place(place.folder, place.root / "sub", place.environ)
    inner.root.mkdir()
    inner.git("init", "--quiet")
    inner.write("i.txt", "inner\n")
    inner.write(".gitattributes", "* filter=evil\n")
    inner.commit()
    place.commit("With a submodule")
    clone = place.clone()
    run, mark = program(place)

    def plant() -> None:
        shutil.rmtree(clone.root / "sub")
        subprocess.run(["cp", "-a", inner.root, clone.root / "sub"], check=True)
        place.git("config", "filter.evil.clean", run, cwd=clone.root / "sub")
        (clone.root / "sub/i.txt").write_text("other\n")

    plant()
    tree = clone.snapshot()
    assert not mark.exists()
    assert clone.commit(tree, "Nothing", "", {}) == ""
    plant()
    clone.open(clone.base)
    clone.snapshot()
    assert not mark.exists()
    plant()
    place.git("add", "--all", cwd=clone.root)
    assert mark.exists()


def test_restoring_never_writes_through_a_link(place: Place) -> None:
    outside = place.folder / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("theirs\n")
    clone = place.clone()
    tree = clone.snapshot()
    (clone.root / "src/b.txt").unlink()
    (clone.root / "src").rmdir()
    (clone.root / "src").symlink_to(outside)
    assert clone.pack_files(10_000).count("theirs") == 0
    clone.restore(tree)
    assert (outside / "b.txt").read_text() == "theirs\n"
    assert (clone.root / "src/b.txt").read_text() == "two\n"
    assert not (clone.root / "src").is_symlink()


def test_the_ignore_file_of_a_repository_configuration_is_not_shown_to_models(place: Place) -> None:
    secret = place.folder / "id_rsa"
    secret.write_text("the private key\n")
    place.git("config", "core.excludesFile", str(secret))
    (place.root / ".git/info/exclude").unlink(missing_ok=True)
    (place.root / ".git/info").mkdir(exist_ok=True)
    (place.root / ".git/info/exclude").symlink_to(secret)
    clone = place.clone()
    found = [path for path in clone.root.rglob("*") if path.is_file() and b"private key" in path.read_bytes()]
    assert found == []


def test_a_work_tree_elsewhere_than_the_repository_is_refused(place: Place) -> None:
    place.git("config", "core.worktree", str(place.folder))
    with pytest.raises(WorkspaceError, match="names a work tree elsewhere"):
        place.repository()


def test_a_partial_clone_is_refused_before_it_fetches(place: Place) -> None:
    run, mark = program(place)
    place.git("config", "extensions.partialClone", "origin")
    place.git("config", "remote.origin.url", str(place.root))
    place.git("config", "remote.origin.uploadpack", run)
    place.write(".git/HEAD", "0123456789" * 4 + "\n")
    with pytest.raises(WorkspaceError, match="partial clone"):
        place.repository()
    assert not mark.exists()


def test_a_driver_that_cannot_be_disabled_is_refused(place: Place) -> None:
    place.git("config", "filter.a=b.clean", "cat")
    with pytest.raises(WorkspaceError, match="filter 'a=b'"):
        place.repository()


def test_listing_dirty_paths_runs_no_filter(place: Place) -> None:
    run, mark = program(place)
    place.git("config", "filter.evil.clean", run)
    place.write(".git/info/attributes", "* filter=evil\n")
    place.write("a.txt", "two\n")
    assert place.repository().find_dirty_paths() == ("a.txt",)
    assert not mark.exists()
    place.git("status")
    assert mark.exists()


def test_an_embedded_bare_repository_is_refused(place: Place) -> None:
    run, mark = program(place)
    bare = place.root / "fixtures/bare"
    place.git("init", "--quiet", "--bare", str(bare))
    place.git("config", "core.bare", "false", cwd=bare)
    place.git("config", "core.worktree", "..", cwd=bare)
    place.git("config", "core.fsmonitor", run, cwd=bare)
    with pytest.raises(WorkspaceError):
        Repository.discover(bare, place.environ).find_dirty_paths()
    assert not mark.exists()


def test_publishing_ignores_url_rules_that_turn_a_path_into_a_command(place: Place) -> None:
    run, mark = program(place)
    place.git("config", "protocol.ext.allow", "always")
    place.git("config", f"url.ext::{run} .insteadOf", "/")
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    assert clone.publish(place.folder / "p").commits == 1
    assert not mark.exists()
    assert place.git("show", "autoroute/r1:new.txt") == "new"


def test_url_rules_of_the_user_do_not_apply_to_our_paths(place: Place) -> None:
    place.git("config", "--global", "url.https://mirror.invalid/.insteadOf", f"{place.folder}/")
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    assert clone.publish(place.folder / "p").commits == 1


def test_uncommitted_changes_run_the_users_filters_and_no_other_program(place: Place) -> None:
    place.git("config", "filter.shout.clean", "tr a-z A-Z")
    place.git("config", "filter.shout.required", "true")
    place.git("config", "core.autocrlf", "input")
    run, mark = program(place)
    place.git("config", "core.fsmonitor", run)
    place.write(".git/hooks/post-index-change", f"#!/bin/sh\n{run}\n").chmod(0o755)
    place.write(".gitattributes", "*.big filter=shout\n")
    place.write("new.big", "new\n")
    place.write("dos.txt", "one\r\n")
    mark.unlink(missing_ok=True)
    before = place.fingerprint()
    clone = place.clone(include_dirty=True)
    assert (clone.root / "new.big").read_text() == "NEW\n"
    assert (clone.root / "dos.txt").read_bytes() == b"one\n"
    assert not mark.exists()
    assert place.fingerprint() == before


def make_special(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("a-pipe"))
        path.symlink_to("a-pipe")
    else:
        here = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is at most 107 bytes long
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "socket"])
@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", ".gitmodules", ".GITIGNORE"])
@pytest.mark.parametrize("folder", ["", "src/", "new/deep/"])
def test_a_special_file_that_git_would_read_does_not_stall_a_snapshot(
    place: Place, kind: str, name: str, folder: str
) -> None:
    clone = place.clone()
    make_special(clone.root / folder / name, kind)
    (clone.root / "src/b.txt").write_text("changed\n")
    first = clone.snapshot()
    assert clone.compare(first).modified == ("src/b.txt",)
    assert not os.path.lexists(clone.root / folder / name)
    clone.commit(first, "Change", "", {})
    assert f"{folder}{name}" in clone.publish(place.folder / "p").excluded
    clone.exclude_new_files()
    clone.restore(clone.head_tree())


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_special_file_elsewhere_is_kept_and_one_in_place_of_a_file_is_reported(place: Place, kind: str) -> None:
    clone = place.clone()
    first = clone.snapshot()
    make_special(clone.root / "a.txt", kind)
    make_special(clone.root / "run/server", kind)
    tree = clone.snapshot()
    assert clone.compare(tree) == Changes(deleted=("a.txt",))
    assert clone.snapshot() == tree
    assert os.path.lexists(clone.root / "run/server")
    clone.commit(tree, "Change", "", {})
    assert clone.publish(place.folder / "p").excluded == ("a.txt",)
    clone.restore(first)
    assert (clone.root / "a.txt").read_text() == "one\n"


def test_a_pipe_in_a_folder_that_a_link_leads_to_is_not_touched(place: Place) -> None:
    clone, outside = place.clone(), place.folder / "outside"
    make_special(outside / ".gitignore", "pipe")
    (clone.root / "link").symlink_to(outside)
    clone.snapshot()
    assert (outside / ".gitignore").is_fifo()


NAMED = st.sampled_from([".gitignore", ".gitattributes", ".gitmodules", "x", "y"])
KINDS = st.sampled_from(["folder", "file", "pipe", "link to a pipe", "dangling link"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.lists(NAMED, min_size=1, max_size=3).map("/".join), KINDS, max_size=6))
def test_no_arrangement_of_special_files_is_left_for_git(tmp_path: Path, kinds: dict[str, str]) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    for name, kind in kinds.items():
        path = root / name
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "file":
                path.write_text("x")
            elif kind == "dangling link":
                path.symlink_to("nothing")
            else:
                make_special(path, kind)
    removed, others = remove_special_files(root)
    assert not any(os.path.lexists(root / name) for name in removed)
    assert all((root / name).is_fifo() for name in others)
    left = [path for path in root.rglob(".git*") if not path.is_dir() and path.exists()]
    assert all(path.is_file() for path in left)
