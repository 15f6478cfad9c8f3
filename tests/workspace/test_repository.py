from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
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


def test_a_repository_is_found_from_any_folder_in_it(place: Place) -> None:
    found = Repository.discover(place.root / "src", place.environ)
    assert (found.root, found.branch) == (place.root, "main")
    assert found.head == place.git("rev-parse", "HEAD")


def test_a_detached_head_and_an_unborn_branch_are_distinguished(place: Place) -> None:
    place.git("checkout", "--quiet", "--detach")
    assert (place.repository().branch, place.repository().head != "") == ("", True)
    place.git("checkout", "--quiet", "--orphan", "fresh")
    assert (place.repository().branch, place.repository().head) == ("fresh", "")


def test_a_folder_without_a_repository_is_reported_with_a_hint(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    with pytest.raises(WorkspaceError, match="is not a git repository") as caught:
        Repository.discover(folder, place.environ)
    assert "git init" in caught.value.hint


def test_a_path_with_a_line_break_is_refused(place: Place) -> None:
    root = place.folder / "two\nlines"
    place.git("init", "--quiet", str(root), cwd=place.folder)
    with pytest.raises(WorkspaceError, match="contains a line break"):
        place.repository(root)


def test_a_bare_repository_is_refused(place: Place) -> None:
    place.git("init", "--quiet", "--bare", str(place.folder / "bare"))
    with pytest.raises(WorkspaceError, match="bare repository"):
        Repository.discover(place.folder / "bare", place.environ)


def test_a_partial_clone_is_refused_with_the_commands_that_complete_it(place: Place) -> None:
    place.git("config", "uploadpack.allowFilter", "true")
    place.write("a.txt", "newer\n")
    place.commit()
    partial = place.folder / "partial"
    place.git("clone", "--quiet", "--filter=blob:none", f"file://{place.root}", str(partial))
    missing = ("rev-list", "--objects", "--all", "--missing=print")
    assert "?" in place.git(*missing, cwd=partial)
    with pytest.raises(WorkspaceError, match="partial clone") as caught:
        Repository.discover(partial, place.environ)
    commands = caught.value.hint.removeprefix("fetch them: ")
    subprocess.run(commands, shell=True, env=place.environ, check=True)
    assert Repository.discover(partial, place.environ).head == place.git("rev-parse", "HEAD")
    assert "?" not in place.git(*missing, cwd=partial)
    assert place.git("fsck", cwd=partial) == ""


def test_an_extension_that_git_does_not_know_is_named(place: Place) -> None:
    place.git("config", "core.repositoryFormatVersion", "1")
    place.git("config", "extensions.fromTheFuture", "true")
    with pytest.raises(WorkspaceError, match=r"the repository uses the extension fromthefuture") as caught:
        place.repository()
    assert caught.value.hint == "install a newer git"


def test_settings_of_a_worktree_of_its_own_are_read(place: Place) -> None:
    place.git("config", "extensions.worktreeConfig", "true")
    place.git("config", "--worktree", "user.name", "Another")
    assert place.repository().head == place.git("rev-parse", "HEAD")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_repository_of_another_user_is_refused_until_it_is_trusted(place: Place) -> None:
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
    assert clone.publish(place.folder / "p").commits == 1


def test_a_missing_git_is_reported(place: Place, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot run git") as caught:
        Repository.discover(place.root, {"PATH": str(tmp_path)})
    assert "install git" in caught.value.hint


def test_listing_dirty_paths_changes_nothing(place: Place) -> None:
    place.write("a.txt", "changed\n")
    place.write("new file.txt", "new\n")
    place.write(".autoroute/runs/x", "ours")
    before = place.fingerprint()
    assert place.repository().find_dirty_paths() == ("a.txt", "new file.txt")
    assert place.fingerprint() == before


def test_an_unknown_ref_is_refused_with_suggestions(place: Place) -> None:
    repository = place.repository()
    assert repository.resolve_commit("main") == repository.head
    with pytest.raises(WorkspaceError, match="commit not found: 'mian'") as caught:
        repository.resolve_commit("mian")
    assert "main" in caught.value.hint
    with pytest.raises(WorkspaceError):
        repository.resolve_commit("--output=/tmp/x")


def test_merge_adds_the_commits_to_the_branch(place: Place) -> None:
    tip = branch(place)
    place.repository().merge("autoroute/r1")
    assert (place.root / "new.txt").read_text() == "new\n"
    assert place.git("merge-base", "--is-ancestor", tip, "HEAD") == ""


def test_a_conflicting_merge_is_aborted(place: Place) -> None:
    branch(place, file="a.txt", text="theirs\n")
    place.write("a.txt", "mine\n")
    head = place.commit("Mine")
    with pytest.raises(WorkspaceError, match=r"conflicts with main in a\.txt"):
        place.repository().merge("autoroute/r1")
    assert place.git("rev-parse", "HEAD") == head
    assert place.git("status", "--porcelain") == ""


def test_merge_does_not_overwrite_uncommitted_changes(place: Place) -> None:
    branch(place, file="a.txt", text="theirs\n")
    place.write("a.txt", "not committed\n")
    with pytest.raises(WorkspaceError, match="would be overwritten"):
        place.repository().merge("autoroute/r1")
    assert (place.root / "a.txt").read_text() == "not committed\n"


def test_merge_needs_a_branch_on_both_sides(place: Place) -> None:
    with pytest.raises(WorkspaceError, match="branch not found: autoroute/r9"):
        place.repository().merge("autoroute/r9")
    branch(place)
    place.git("checkout", "--quiet", "--detach")
    with pytest.raises(WorkspaceError, match="HEAD is detached"):
        place.repository().merge("autoroute/r1")


def test_discard_deletes_the_branch_unless_it_is_checked_out(place: Place) -> None:
    commits = [branch(place)]
    place.git("checkout", "--quiet", "autoroute/r1")
    with pytest.raises(WorkspaceError, match="is checked out"):
        place.repository().delete_branch("r1", commits)
    place.git("checkout", "--quiet", "main")
    place.git("worktree", "add", "--quiet", str(place.folder / "side"), "autoroute/r1")
    with pytest.raises(WorkspaceError, match=r"is checked out in .*/side"):
        place.repository().delete_branch("r1", commits)
    place.git("worktree", "remove", str(place.folder / "side"))
    place.git("config", "branch.autoroute/r1.description", "mine")
    before = place.fingerprint()
    place.repository().delete_branch("r1", commits)
    assert place.git("branch", "--list", "autoroute/*") == ""
    assert place.fingerprint() == before
    place.repository().delete_branch("r1", commits)


def test_discard_does_not_delete_a_commit_of_the_user(place: Place) -> None:
    commits = [branch(place)]
    place.git("checkout", "--quiet", "autoroute/r1")
    place.write("mine.txt", "mine\n")
    mine = place.commit("Mine")
    place.git("checkout", "--quiet", "main")
    with pytest.raises(WorkspaceError, match=f"did not make its last commit {mine[:12]}") as caught:
        place.repository().delete_branch("r1", commits)
    assert "git branch NAME autoroute/r1" in caught.value.hint
    assert place.repository().branch_tip("autoroute/r1") == mine
    place.git("branch", "kept", "autoroute/r1")
    place.repository().delete_branch("r1", commits)
    assert place.repository().branch_tip("kept") == mine


def test_discard_does_not_follow_a_symbolic_branch(place: Place) -> None:
    place.git("symbolic-ref", "refs/heads/autoroute/r1", "refs/heads/other")
    place.git("branch", "other")
    place.repository().delete_branch("r1", [])
    assert place.git("branch", "--format=%(refname:short)").splitlines() == ["main", "other"]


def private(place: Place) -> Place:
    """Create another repository of the same user, with a secret in its history."""
    other = Place(place.folder, place.folder / "private", place.environ)
    other.root.mkdir()
    other.git("init", "--quiet")
    other.write("secret.txt", "secret\n")
    other.commit()
    return other


def link_the_objects(place: Place, other: Place) -> None:
    (place.root / ".git/objects").rename(place.folder / "objects")
    (place.root / ".git/objects").symlink_to(place.folder / "objects")


def name_a_commondir(place: Place, other: Place) -> None:
    place.write(".git/commondir", "../../private/.git\n")


def link_the_git_folder(place: Place, other: Place) -> None:
    (place.root / ".git").rename(place.folder / "old")
    (place.root / ".git").symlink_to(other.root / ".git")


def name_a_git_folder(place: Place, other: Place) -> None:
    (place.root / ".git").rename(place.folder / "old")
    place.write(".git", "gitdir: ../private/.git\n")


def name_another_worktree(place: Place, other: Place) -> None:
    other.git("worktree", "add", "--quiet", "-b", "side", str(place.folder / "side"))
    (place.root / ".git").rename(place.folder / "old")
    place.write(".git", (place.folder / "side/.git").read_bytes())


def name_another_checkout(place: Place, other: Place) -> None:
    other.git("config", "core.worktree", str(other.root))
    name_a_git_folder(place, other)


@pytest.mark.parametrize(
    "redirect",
    [
        link_the_objects,
        name_a_commondir,
        link_the_git_folder,
        name_a_git_folder,
        name_another_worktree,
        name_another_checkout,
    ],
)
def test_a_git_file_that_names_an_unrelated_repository_is_refused(
    place: Place, redirect: Callable[[Place, Place], None]
) -> None:
    """Whoever made the checkout may have named any folder there, and a sandbox would show it to models."""
    redirect(place, private(place))
    with pytest.raises(WorkspaceError, match=r"does not belong to it|is a link|names a work tree elsewhere") as error:
        place.repository()
    assert error.value.hint


def test_worktrees_submodules_and_separate_git_folders_work(place: Place) -> None:
    side, apart = place.folder / "side", place.folder / "apart"
    place.git("worktree", "add", "--quiet", "--detach", str(side))
    assert place.repository(side).shared_objects == place.root / ".git/objects"
    side.rename(place.folder / "moved")
    with pytest.raises(WorkspaceError, match="does not belong to it") as caught:
        place.repository(place.folder / "moved")
    subprocess.run(caught.value.hint.partition(": ")[2], shell=True, env=place.environ, cwd=place.folder, check=True)
    assert place.repository(place.folder / "moved").git_dir == place.root / ".git"
    place.git("init", "--quiet", f"--separate-git-dir={place.folder / 'store'}", str(apart))
    with pytest.raises(WorkspaceError, match="does not belong to it"):
        place.repository(apart)
    place.git("config", "core.worktree", str(apart), cwd=apart)
    assert place.repository(apart).git_dir == place.folder / "store"
    private(place)
    place.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(place.folder / "private"), "sub")
    assert place.repository(place.root / "sub").git_dir == place.root / ".git/modules/sub"


def test_merging_again_reports_that_nothing_was_new(place: Place) -> None:
    branch(place)
    assert place.repository().merge("autoroute/r1") is True
    assert place.repository().merge("autoroute/r1") is False


def start_operation(place: Place, what: str) -> None:
    place.git("checkout", "--quiet", "-b", "side", "main~1")
    place.write("b.txt", "side\n")
    place.commit("Side")
    place.git("checkout", "--quiet", "main")
    place.write("b.txt", "mine\n")
    place.commit("Mine")
    arguments = {"merge": ("merge", "side"), "rebase": ("rebase", "side"), "revert": ("revert", "main~1")}
    with pytest.raises(subprocess.CalledProcessError):
        place.git(*arguments.get(what, ("cherry-pick", "side")))


@pytest.mark.parametrize("what", ["merge", "rebase", "cherry-pick", "revert"])
def test_merge_refuses_while_the_user_has_an_operation_in_progress(place: Place, what: str) -> None:
    branch(place)
    place.write("b.txt", "two\n")
    place.commit("Second")
    start_operation(place, what)
    place.write("b.txt", "half resolved\n")
    before = place.fingerprint()
    with pytest.raises(WorkspaceError, match="HEAD is detached" if what == "rebase" else f"a {what} is in progress"):
        place.repository().merge("autoroute/r1")
    assert place.fingerprint() == before


@pytest.mark.parametrize("hook", ["pre-merge-commit", "commit-msg"])
def test_a_merge_that_a_hook_rejects_is_not_called_a_conflict(place: Place, hook: str) -> None:
    branch(place)
    place.write("b.txt", "mine\n")
    head = place.commit("Mine")
    place.write(f".git/hooks/{hook}", "#!/bin/sh\necho no ticket named >&2; exit 1\n").chmod(0o755)
    with pytest.raises(WorkspaceError, match="no ticket named") as caught:
        place.repository().merge("autoroute/r1")
    assert "conflict" not in caught.value.message
    assert "so it was undone and nothing was merged: " in caught.value.message
    assert "use 'git commit'" not in caught.value.message
    assert caught.value.hint.endswith("git merge autoroute/r1")
    assert (place.git("rev-parse", "HEAD"), place.git("status", "--porcelain")) == (head, "")


def test_merge_settings_and_tags_of_the_user_do_not_change_the_merge(place: Place) -> None:
    tip = branch(place)
    place.git("tag", "autoroute/r1", "main")
    place.git("config", "branch.main.mergeOptions", "--no-commit --squash")
    place.write("b.txt", "mine\n")
    place.commit("Mine")
    place.repository().merge("autoroute/r1")
    assert place.git("rev-parse", "HEAD^2") == tip
    assert place.git("log", "-1", "--format=%s") == "Merge branch 'heads/autoroute/r1'"


def test_a_merge_is_signed_with_the_users_settings(place: Place) -> None:
    branch(place)
    place.write("b.txt", "mine\n")
    place.commit("Mine")
    signer, seen = place.folder / "sign.sh", place.folder / "seen"
    signer.write_text(f"#!/bin/sh\nenv > {seen}; exit 1\n", encoding="utf-8")
    signer.chmod(0o755)
    place.git("config", "commit.gpgSign", "true")
    place.git("config", "gpg.program", str(signer))
    place.environ |= {"SSH_AUTH_SOCK": "/the/agent", "ANTHROPIC_API_KEY": "key"}
    with pytest.raises(WorkspaceError, match="gpg failed to sign"):
        place.repository().merge("autoroute/r1")
    assert "SSH_AUTH_SOCK=/the/agent\n" in seen.read_text()
    assert "ANTHROPIC_API_KEY" not in seen.read_text()
    assert place.git("status", "--porcelain") == ""


@pytest.mark.parametrize("configured", ["", "own hooks", "~/hooks"])
def test_hooks_that_do_not_see_the_commits_are_found_and_not_run(place: Place, configured: str) -> None:
    folder = {"": place.root / ".git/hooks", "~/hooks": place.folder / "home/hooks"}.get(configured)
    folder = folder or place.root / configured
    folder.mkdir(exist_ok=True)
    if configured:
        place.git("config", "core.hooksPath", configured)
    assert place.repository().find_commit_hooks() == ()
    for name, mode in (("pre-commit", 0o755), ("commit-msg", 0o644), ("pre-push", 0o755)):
        (folder / name).write_text(f"#!/bin/sh\ntouch {place.folder}/ran\n")
        (folder / name).chmod(mode)
    assert place.repository().find_commit_hooks() == ("pre-commit",)
    assert not (place.folder / "ran").exists()
