"""A run that is killed at any instant can reopen its workspace, and the user's repository is unchanged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from types import FrameType

import pytest

from autoroute.errors import Cancelled, WorkspaceError
from autoroute.workspace import WorkspaceLost
from autoroute.workspace.clone import ALWAYS_IGNORED, PrivateClone
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.git import Git
from tests.warm import python
from tests.workspace.conftest import Place

GIT = str(shutil.which("git"))
TRAILERS = {"Autoroute-Run": "r1"}

KILLER = """#!/bin/sh
echo called >> {calls}
if [ "$(wc -l < {calls})" -eq {number} ]; then
    {last_deed}
    kill -9 "$PPID"
    exit 1
fi
exec {git} "$@"
"""
DEEDS = {
    "before": ":",
    "after": f'{GIT} "$@" > /dev/null < /dev/null',
    "within": "find {workspaces} -name 'history.git' -type d -exec touch {{}}/index.lock {{}}/HEAD.lock ';'",
}
"""What a git does before it kills autoroute: nothing, its work, or half of it, which leaves locks behind."""

CHILD = """
import json, sys
from pathlib import Path
from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.repository import Repository

root, git_dir, head, branch, environ, folder, run, dirty = json.loads(sys.argv[1])
repository = Repository(Path(root), Path(git_dir), head, branch, environ)
clone = PrivateClone(repository, Path(folder), run, base=head, include_dirty=dirty)
"""
OPEN = "clone.open()"
WORK = """
clone.open()
first = clone.head_tree()
(clone.root / "new.txt").write_text("new")
clone.commit(clone.snapshot(), "Add it", "", {})
(clone.root / "a.txt").unlink()
clone.restore(first)
"""
WRITE = """
import os, signal
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.files import Files
sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
Files(PathPolicy(clone.root)).write("src/b.txt", b"half")
"""
"""A file tool that is killed after it wrote the temporary file and before the rename."""


def run_in_child(place: Place, code: str, *, path: str = "", dirty: bool = False, run: str = "r1") -> int:
    """Run code on a clone in a separate process, with ``path`` before its ``PATH``; return the exit code."""
    repository = place.repository()
    environ = {**place.environ, "PATH": f"{path}:{place.environ['PATH']}"} if path else place.environ
    folder = place.folder / "workspaces" / run
    facts = [str(repository.root), str(repository.git_dir), repository.head, repository.branch]
    argument = json.dumps([*facts, environ, str(folder), run, dirty])
    return python().run(["-c", CHILD + code, argument], cwd=place.folder, env=dict(os.environ)).returncode


def killer(place: Place, number: int, deed: str) -> str:
    """Create a git that kills the process that calls it for the ``number``-th time; return its folder."""
    folder = place.folder / f"killer-{number}"
    folder.mkdir()
    last_deed = DEEDS[deed].format(workspaces=place.folder / "workspaces") if deed == "within" else DEEDS[deed]
    script = KILLER.format(calls=folder / "calls", number=number, last_deed=last_deed, git=GIT)
    (folder / "git").write_text(script)
    (folder / "git").chmod(0o755)
    return str(folder)


def sweep(place: Place, code: str, deed: str, *, dirty: bool = False, run: str = "") -> Iterator[str]:
    """Kill the code at its first call of git, its second and so on, until it completes; yield the runs that were killed."""
    for number in range(1, 200):
        name = run or f"r{number}"
        ended = run_in_child(place, code, path=killer(place, number, deed), dirty=dirty, run=name)
        if ended == 0:
            assert number > 10, "too few calls were killed"
            return
        assert ended == -signal.SIGKILL
        yield name
    raise AssertionError("the code never completes")


def change(clone: PrivateClone, name: str = "new.txt", text: str = "new\n") -> str:
    (clone.root / name).write_text(text, encoding="utf-8")
    return clone.commit(clone.snapshot(), "Add it", "", TRAILERS)


def reopen(place: Place, tip: str = "", run: str = "r1") -> PrivateClone:
    """Open the workspace as a later process does."""
    clone = place.plan(run)
    clone.open(tip)
    return clone


@pytest.mark.parametrize("deed", ["before", "after"])
def test_a_clone_killed_at_any_git_call_is_created_again(place: Place, deed: str) -> None:
    place.write("a.txt", "uncommitted\n")
    place.write("untracked.txt", "new\n")
    before = place.fingerprint()
    workspaces = place.folder / "workspaces"
    for run in sweep(place, OPEN, deed, dirty=True):
        clone = place.clone(run, include_dirty=True)
        assert (clone.root / "untracked.txt").exists()
        assert clone.snapshot() == clone.head_tree()
        assert clone.base == place.git("rev-parse", f"autoroute/{run}", cwd=clone.root)
        assert list(workspaces.glob("*.new")) == []
        assert place.fingerprint() == before
    assert place.git("fsck", "--no-dangling") == ""


@pytest.mark.parametrize("deed", ["after", "within"])
def test_a_run_killed_at_every_git_call_resumes_from_the_record(place: Place, deed: str) -> None:
    before = place.fingerprint()
    clone = place.clone()
    first = clone.head_tree()
    for _ in sweep(place, WORK, deed, run="r1"):
        clone = reopen(place)
        assert clone.head_tree() == first
        clone.restore(first)
        assert clone.snapshot() == first
        assert change(clone) != ""
    clone = reopen(place)
    change(clone)
    assert clone.publish(place.folder / "p").commits == 1
    assert place.fingerprint() == before
    assert place.git("fsck", "--no-dangling") == ""


def test_an_unfinished_clone_is_created_again(place: Place) -> None:
    half = place.folder / "workspaces/r1.new/tree/.git"
    half.mkdir(parents=True)
    (half / "config").write_text("[core]\n\tfsmonitor = false\n")
    (half.parent / "a.txt").write_text("half")
    clone = place.clone()
    assert (clone.root / "a.txt").read_text() == "one\n"
    assert not half.exists()


def test_an_unrelated_folder_in_its_place_is_refused_and_kept(place: Place) -> None:
    theirs = place.folder / "workspaces/r1/theirs.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(WorkspaceError, match=r"cannot create the workspace .*: Directory not empty"):
        place.clone()
    assert theirs.exists()
    assert [path.name for path in theirs.parent.parent.iterdir()] == ["r1"]


def test_planning_changes_nothing_and_resolves_the_base(place: Place) -> None:
    planned = place.plan(base="main")
    assert (planned.base, planned.branch) == (place.repository().head, "autoroute/r1")
    assert not (place.folder / "workspaces").exists()
    for arguments, words in (({"base": "mian"}, "'mian'"), ({"base": "main", "include_dirty": True}, "uncommitted")):
        with pytest.raises(WorkspaceError, match=words):
            place.plan(**arguments)


def test_a_reopened_workspace_is_as_it_was_left(place: Place) -> None:
    clone = place.clone()
    tip = change(clone)
    (clone.root / "a.txt").write_text("not committed\n")
    tree = clone.snapshot()
    for found in (reopen(place, tip), reopen(place, tip)):
        assert found.snapshot() == tree
        assert (found.base, found.head_tree()) == (clone.base, clone.head_tree())
    clone.open(tip)
    assert clone.snapshot() == tree


def test_a_base_of_uncommitted_changes_is_reopened(place: Place) -> None:
    place.write("a.txt", "uncommitted\n")
    clone = place.clone(include_dirty=True)
    head, base = place.repository().head, clone.base
    assert base != head
    place.write("a.txt", "changed later\n")
    tip = change(clone)
    for given in (head, base):
        found = PrivateClone(place.repository(), place.folder / "workspaces/r1", "r1", base=given, include_dirty=True)
        found.open(tip)
        assert found.base == base
        assert "a.txt" not in found.diff(10_000)
    assert reopen(place).head_tree() == place.git("rev-parse", f"{base}^{{tree}}", cwd=clone.root)


def test_a_base_of_uncommitted_changes_is_not_replaced_by_newer_ones(place: Place) -> None:
    place.write("a.txt", "uncommitted\n")
    clone = place.clone(include_dirty=True)
    clone.remove()
    found = PrivateClone(place.repository(), place.folder / "workspaces/r1", "r1", base=clone.base, include_dirty=True)
    with pytest.raises(WorkspaceError, match="the workspace of this run is gone"):
        found.open()


@pytest.mark.parametrize(
    "name", ["index.lock", "HEAD.lock", "packed-refs.lock", "refs/heads/autoroute/r1.lock", "refs/autoroute/base.lock"]
)
def test_leftover_locks_of_autoroute_are_deleted(place: Place, name: str) -> None:
    clone = place.clone()
    change(clone)
    history = place.folder / "workspaces/r1/history.git"
    (history / name).touch()
    theirs = place.write(".git/index.lock", "the user's own git is at work")
    found = reopen(place)
    assert not (history / name).exists()
    assert change(found, text="again\n") != ""
    found.restore(found.head_tree())
    assert theirs.exists()


def test_only_half_written_files_of_tools_are_deleted(place: Place) -> None:
    clone = place.clone()
    assert run_in_child(place, WRITE) == -signal.SIGKILL
    (half,) = [path for path in (clone.root / "src").iterdir() if path.name != "b.txt"]
    assert any(fnmatchcase(half.name, pattern) for pattern in ALWAYS_IGNORED)
    assert clone.snapshot() == clone.head_tree()
    others = [clone.root / name for name in (".autoroute-notes", "src/.autoroute-" + 31 * "0", "__pycache__/x")]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("kept")
    hostile = clone.root / (".autoroute-" + 32 * "0")
    place.git("init", "--quiet", str(hostile))
    reopen(place)
    assert not half.exists()
    assert all(other.exists() for other in others)
    assert hostile.is_dir()
    assert (clone.root / "src/b.txt").read_text() == "two\n"


def test_an_unrecorded_commit_is_undone_and_its_files_are_kept(place: Place) -> None:
    clone = place.clone()
    first = change(clone, "first.txt")
    recorded = clone.head_tree()
    change(clone, "second.txt")
    found = reopen(place, first)
    assert found.head_tree() == recorded
    assert found.compare(found.snapshot()).added == ("second.txt",)
    assert reopen(place).compare(found.snapshot()).added == ("first.txt", "second.txt")


def test_an_unrecorded_root_commit_is_undone(place: Place) -> None:
    place.root = place.folder / "empty"
    place.root.mkdir()
    place.git("init", "--quiet")
    clone = place.clone()
    tip = change(clone)
    assert reopen(place, tip).head_tree() == clone.snapshot()
    found = reopen(place)
    assert (found.base, found.diff(100)) == ("", "")
    assert found.compare(found.snapshot()).added == ("new.txt",)
    assert change(found) != ""


def test_a_missing_workspace_is_reported_with_a_command_to_start_over(place: Place) -> None:
    clone = place.clone()
    tip = change(clone)
    clone.remove()
    for hint in ("autoroute run TASK", "autoroute run TASK --base autoroute/r1"):
        with pytest.raises(WorkspaceError, match="the workspace of this run is gone") as caught:
            reopen(place, tip)
        assert caught.value.hint == hint
        assert not (place.folder / "workspaces/r1").exists()
        place.git("branch", "--force", "autoroute/r1")


@pytest.mark.parametrize("part", ["tree", "history.git/HEAD"])
def test_a_damaged_workspace_is_reported(place: Place, part: str) -> None:
    clone = place.clone()
    (clone.folder / part).rename(clone.folder / "elsewhere")
    with pytest.raises(WorkspaceLost, match="is damaged") as caught:
        reopen(place)
    assert caught.value.hint == "autoroute run TASK"


def test_a_missing_recorded_commit_is_reported(place: Place) -> None:
    clone = place.clone()
    change(clone)
    head = clone.head_tree()
    with pytest.raises(WorkspaceError, match="does not have its commit dddddddddddd"):
        reopen(place, "d" * 40)
    assert clone.head_tree() == head


def test_publishing_after_a_reopen_adds_the_new_commits(place: Place) -> None:
    first = change(place.clone(), "one.txt")
    reopen(place, first).publish(place.folder / "p")
    found = reopen(place, first)
    assert found.publish(place.folder / "p").commit == first
    second = change(found, "two.txt")
    assert reopen(place, second).publish(place.folder / "p").commits == 2
    assert place.git("rev-parse", "autoroute/r1") == second


@pytest.mark.parametrize("where", ["checkout", "worktree"])
def test_a_branch_that_the_user_checked_out_is_not_updated(place: Place, where: str) -> None:
    clone = place.clone()
    first = change(clone, "one.txt")
    clone.publish(place.folder / "p")
    if where == "checkout":
        place.git("checkout", "--quiet", "autoroute/r1")
    else:
        place.git("worktree", "add", "--quiet", str(place.folder / "side"), "autoroute/r1")
    assert clone.publish(place.folder / "p").commit == first
    change(clone, "two.txt")
    with pytest.raises(WorkspaceError, match="cannot update autoroute/r1: it is checked out") as caught:
        clone.publish(place.folder / "p")
    assert "git switch" in caught.value.hint
    assert place.git("rev-parse", "autoroute/r1") == first
    place.git("checkout", "--quiet", "--detach", cwd=place.root if where == "checkout" else place.folder / "side")
    assert clone.publish(place.folder / "p").commits == 2


def test_the_pending_diff_is_what_no_commit_has_yet(place: Place) -> None:
    clone = place.clone()
    assert clone.pending_diff(1_000) == ""
    (clone.root / "a.txt").write_text("pending\n")
    (clone.root / "new.txt").write_text("".join(f"{number}\n" for number in range(10_000)))
    assert "-one\n+pending\n" in clone.pending_diff(100_000)
    assert "+9999" in clone.pending_diff(100_000)
    assert "characters of the diff left out" in clone.pending_diff(2_000)
    assert len(clone.pending_diff(2_000)) < 2_100
    clone.commit(clone.snapshot(), "Both", "", TRAILERS)
    assert clone.pending_diff(1_000) == ""


def test_the_tree_before_the_first_commit_is_empty(place: Place) -> None:
    place.root = place.folder / "empty"
    place.root.mkdir()
    place.git("init", "--quiet")
    clone = place.clone()
    assert clone.head_tree() == clone.snapshot()
    (clone.root / "new.txt").write_text("new\n")
    assert "+new" in clone.pending_diff(1_000)
    clone.restore(clone.head_tree())
    assert not (clone.root / "new.txt").exists()


def test_a_git_that_outlives_autoroute_is_killed_with_the_leftovers(place: Place) -> None:
    folder = place.folder / "slow"
    folder.mkdir()
    slow = 'kill -9 "$PPID"; exec sleep 68.25'
    (folder / "git").write_text(f'#!/bin/sh\ncase "$*" in *" clone "*) {slow} ;; esac\nexec {GIT} "$@"\n')
    (folder / "git").chmod(0o755)
    assert run_in_child(place, OPEN, path=str(folder)) == -signal.SIGKILL
    assert LocalCommands(place.environ, place.plan("r2").mark).kill_leftovers() == 0
    # The fake git becomes ``sleep`` a moment after it killed autoroute.
    deadline = time.monotonic() + 20
    commands = LocalCommands(place.environ, place.plan().mark)
    while commands.kill_leftovers() == 0:
        assert time.monotonic() < deadline
    assert commands.kill_leftovers() == 0
    assert place.clone().base == place.repository().head


def test_remove_deletes_an_unfinished_clone(place: Place) -> None:
    clone = place.clone()
    (place.folder / "workspaces/r1.new").mkdir()
    clone.remove()
    assert list((place.folder / "workspaces").glob("*")) == []


def test_an_unrecorded_commit_is_not_published(place: Place) -> None:
    """A cancellation can come between a commit and its record."""
    clone = place.clone()
    recorded = change(clone, "one.txt")
    change(clone, "two.txt")
    assert clone.publish(place.folder / "p", recorded).commit == recorded
    assert place.git("rev-parse", "autoroute/r1") == recorded
    remade = reopen(place, recorded)
    (remade.root / "two.txt").write_text("made at another time")
    tip = remade.commit(remade.snapshot(), "Add it", "", TRAILERS)
    assert remade.publish(place.folder / "p", tip).commits == 2


def test_nothing_is_published_without_a_recorded_commit(place: Place) -> None:
    clone = place.clone()
    change(clone)
    assert clone.publish(place.folder / "p", "").commit == ""
    assert place.git("branch", "--list", "autoroute/*") == ""


def test_a_lock_of_a_killed_fetch_on_our_branch_is_deleted(place: Place) -> None:
    clone = place.clone()
    tip = change(clone)
    lock = place.root / ".git/refs/heads/autoroute/r1.lock"
    lock.parent.mkdir()
    lock.touch()
    assert clone.publish(place.folder / "p").commit == tip
    assert not lock.exists()


def test_a_lock_on_a_branch_of_the_user_is_kept(place: Place) -> None:
    lock = place.root / ".git/refs/heads/main.lock"
    lock.touch()
    clone = place.clone()
    assert clone.publish(place.folder / "p", change(clone)).commits == 1
    assert lock.exists()


def test_eight_runs_publish_into_one_repository_at_the_same_time(place: Place) -> None:
    clones = [place.clone(f"r{number}") for number in range(8)]
    tips = [change(clone, f"{number}.txt") for number, clone in enumerate(clones)]
    with ThreadPoolExecutor(8) as pool:
        published = list(pool.map(lambda clone: clone.publish(clone.folder / "p").commit, clones))
    assert published == tips
    assert [place.git("rev-parse", f"autoroute/r{number}") for number in range(8)] == tips
    assert place.git("fsck", "--no-dangling") == ""


def slow_git(place: Place, folder: str, script: str) -> Git:
    """Create a git that runs ``script`` instead."""
    path = place.folder / folder
    path.mkdir()
    (path / "git").write_text(f"#!/bin/sh\n{script}\n")
    (path / "git").chmod(0o755)
    return Git(place.root, {**place.environ, "PATH": f"{path}:{place.environ['PATH']}"})


def test_an_interrupted_git_finishes_and_leaves_no_lock(place: Place) -> None:
    git = slow_git(place, "slow", "touch lock; sleep 0.4; rm lock; touch done")

    def cancel(number: int, frame: FrameType | None) -> None:
        raise Cancelled("stopped")

    before = signal.signal(signal.SIGALRM, cancel)
    timer = signal.setitimer(signal.ITIMER_REAL, 0.15)
    try:
        with pytest.raises(Cancelled):
            git.run("fetch")
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
    assert (place.root / "done").exists()
    assert not (place.root / "lock").exists()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("fatal: unable to write loose object file: No space left on device", 128),
        ("error: a.txt: failed to insert into database", 1),
    ],
)
def test_a_disk_error_is_not_taken_for_an_unreadable_file(place: Place, message: str, code: int) -> None:
    clone = place.clone()
    (clone.root / "new.txt").write_text("new")
    folder = place.folder / "full"
    folder.mkdir()
    (folder / "git").write_text(
        f'#!/bin/sh\ncase "$*" in *" add "*) echo "{message}" >&2; exit {code} ;; esac\nexec {GIT} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    place.environ["PATH"] = f"{folder}:{place.environ['PATH']}"
    found = place.plan()
    found.open()
    with pytest.raises(WorkspaceError, match=message):
        found.snapshot()
