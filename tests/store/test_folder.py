from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.regular_files import MAX_FILE_BYTES
from autoroute.store import RunFolder, list_runs, new_run_id
from tests.store.examples import RUN

NOW = datetime(2026, 11, 23, 8, 15, 30, tzinfo=UTC)


def recorded(root: Path, id: str = "20261123-081530-greet", upto: int | None = None) -> RunFolder:
    folder = RunFolder.create(root, id)
    for event in RUN[:upto]:
        folder.record(event)
    return folder


@pytest.mark.parametrize(
    ("title", "id"),
    [
        ("Fix slugify()", "20261123-081530-fix-slugify"),
        ("Über größe 東京", "20261123-081530-uber-groe"),
        ("…", "20261123-081530-task"),
        ("x" * 100, f"20261123-081530-{'x' * 40}"),
        ("a/../b.lock", "20261123-081530-a-b-lock"),
    ],
)
def test_an_id_sorts_by_time_and_is_fit_for_a_branch(title: str, id: str) -> None:
    assert new_run_id(NOW, title) == id
    subprocess.run(["git", "check-ref-format", f"refs/heads/autoroute/{id}"], check=True)


def test_everything_is_there_at_the_end_and_for_the_user_alone(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"events.jsonl", "run.json", "spec.md", "spec.json", "review.json", "qa.md", "receipt.json", "logs"}
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.path.iterdir())
    assert (tmp_path / ".autoroute/.gitignore").read_text() == "*\n"
    assert json.loads((folder.path / "run.json").read_text())["outcome"] == "approved"
    assert "- **A1** it greets" in (folder.path / "spec.md").read_text()
    assert "- **A1** met: hello.txt:1" in (folder.path / "qa.md").read_text()
    assert "**minor** hello.txt:1: Terse. Fix: None." in (folder.path / "qa.md").read_text()


@pytest.mark.parametrize("planted", ["!*\n", "", "*\n!runs\n"])
def test_a_repository_cannot_have_git_take_run_folders_in(tmp_path: Path, planted: str) -> None:
    (tmp_path / ".autoroute").mkdir()
    (tmp_path / ".autoroute/.gitignore").write_text(planted)
    with pytest.raises(WorkspaceError, match=r"\.gitignore was changed"):
        RunFolder.create(tmp_path, "r1")
    assert not (tmp_path / ".autoroute/runs/r1").exists()


def test_no_link_of_a_repository_is_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".autoroute").mkdir()
    (tmp_path / ".autoroute/.gitignore").symlink_to(victim)
    with pytest.raises(WorkspaceError, match=r"\.gitignore was changed"):
        RunFolder.create(tmp_path, "r1")
    (tmp_path / ".autoroute/.gitignore").unlink()
    (tmp_path / f".autoroute/.gitignore.{os.getpid()}").symlink_to(victim)
    RunFolder.create(tmp_path, "r1")
    assert victim.read_text() == "mine"


def test_the_receipt_adds_up(tmp_path: Path) -> None:
    receipt = recorded(tmp_path).receipt().as_json()
    assert json.loads((tmp_path / ".autoroute/runs/20261123-081530-greet/receipt.json").read_text()) == receipt
    spec, coding = receipt["phases"]
    assert (spec["phase"], spec["requests"], spec["seconds"]) == ("spec", 0, 1.5)
    assert coding == {
        "phase": "coding",
        "provider": "zai",
        "requested": "glm-4.7",
        "model": "glm-4.7",
        "served": ["glm-4.7-0815"],
        "host": "api.z.ai",
        "account": "work",
        "runner": "native",
        "requests": 2,
        "turns": 1,
        "retries": 1,
        "tokens": {"input": 100, "output": 20, "cache_read": 50, "cache_write": 5},
        "cost_usd": 0.0025,
        "tool_calls": 1,
        "compactions": 1,
        "seconds": 4.0,
    }
    assert receipt["verdict"] == "approved"
    assert receipt["verification"] == [
        {
            "command": "make",
            "passed": False,
            "exit_code": 2,
            "phase": "coding",
            "subtask": "S1",
            "known_failures": [],
        }
    ]


@pytest.mark.parametrize("upto", range(1, len(RUN)))
def test_a_run_that_was_killed_at_any_event_can_be_read(tmp_path: Path, upto: int) -> None:
    folder = recorded(tmp_path, upto=upto)
    (summary,) = list_runs(tmp_path)
    assert (summary.state, summary.title) == ("interrupted", "Greet the world")
    assert folder.receipt().run == "r1"


def test_two_runs_of_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    assert [recorded(tmp_path, "same").id for _ in range(3)] == ["same", "same-2", "same-3"]


def test_a_run_is_opened_by_id_beginning_or_latest(tmp_path: Path) -> None:
    for id in ("20261123-080000-one", "20261123-090000-two", "20261124-080000-three"):
        recorded(tmp_path, id)
    assert RunFolder.open(tmp_path, "latest").id == "20261124-080000-three"
    assert RunFolder.open(tmp_path, "20261124").id == "20261124-080000-three"
    assert RunFolder.open(tmp_path, "20261123-080000-one").id == "20261123-080000-one"
    with pytest.raises(WorkspaceError, match="matches 2 runs"):
        RunFolder.open(tmp_path, "20261123")
    with pytest.raises(WorkspaceError, match="run not found") as caught:
        RunFolder.open(tmp_path, "20261123-080000-ome")
    assert "20261123-080000-one" in caught.value.hint


@pytest.mark.parametrize("stands", ["/dev/zero", "/dev/ptmx", "a pipe", "a folder", "far too long"])
@pytest.mark.parametrize("name", ["events.jsonl", "spec.json", "changes.patch", "lock"])
def test_no_file_that_has_no_end_is_read_and_none_that_never_begins(tmp_path: Path, name: str, stands: str) -> None:
    folder = recorded(tmp_path)
    path = folder.path / name
    path.unlink(missing_ok=True)
    match stands:
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "far too long":
            path.touch()
            os.truncate(path, MAX_FILE_BYTES + 1)
        case device:
            path.symlink_to(device)
    assert [summary.state for summary in list_runs(tmp_path)] == [
        "unreadable" if name == "events.jsonl" else "approved"
    ]
    reading = {
        "events.jsonl": folder.receipt,
        "spec.json": lambda: folder.artifact("spec"),
        "changes.patch": folder.change,
    }
    if name in reading:
        with pytest.raises(WorkspaceError, match="cannot be read: "):
            reading[name]()


UNREADABLE = """
import os, sys
from pathlib import Path
from autoroute.errors import WorkspaceError
from autoroute.store import RunFolder, list_runs
os.geteuid() or os.setuid(60990)
root = Path(sys.argv[1])
for deed in (list_runs, lambda root: RunFolder.open(root, "latest"), lambda root: RunFolder.create(root, "r2")):
    try:
        deed(root)
    except WorkspaceError as error:
        print(error.message, "/", error.hint)
"""


@pytest.mark.parametrize("closed", [".autoroute", ".autoroute/runs"])
def test_a_folder_that_may_not_be_entered_is_an_error_in_words(closed: str) -> None:
    with tempfile.TemporaryDirectory() as root:  # which another user can reach, as a test's own folder cannot be
        Path(root).chmod(0o711)
        recorded(Path(root))
        (Path(root) / closed).chmod(0)
        done = subprocess.run([sys.executable, "-c", UNREADABLE, root], capture_output=True, text=True, check=True)
        (Path(root) / closed).chmod(0o700)
    assert done.stdout.count("cannot be read: Permission denied / check its owner and mode") >= 2, done.stdout
    assert len(done.stdout.splitlines()) == 3


def test_a_folder_in_which_nothing_was_recorded_is_not_the_latest(tmp_path: Path) -> None:
    recorded(tmp_path, "20261123-080000-one")
    for empty in ("20261123-090000-killed", "20261123-100000-no-journal"):
        RunFolder.create(tmp_path, empty)
    (tmp_path / ".autoroute/runs/20261123-100000-no-journal/events.jsonl").unlink()
    assert RunFolder.open(tmp_path, "latest").id == "20261123-080000-one"
    (tmp_path / ".autoroute/runs/20261123-080000-one/events.jsonl").unlink()
    assert RunFolder.open(tmp_path, "latest").id == "20261123-100000-no-journal"


@pytest.mark.parametrize(
    ("before", "id"),
    [
        ((), "20261123-081530-b"),
        (("20261123-081529-c",), "20261123-081530-b"),
        (("20261123-081530-c",), "20261123-081531-b"),
        (("20261124-000000-c", "20260101-000000-c"), "20261124-000001-b"),
        (("20361231-235959-c",), "20370101-000000-b"),
        (("99991231-235959-c", "no-time"), "20261123-081530-b"),
        (("99990101-000000-planted",), "20261123-081530-b"),
    ],
)
def test_a_run_sorts_after_those_before_it_though_the_clock_was_set_back(
    tmp_path: Path, before: tuple[str, ...], id: str
) -> None:
    for known in before:
        recorded(tmp_path, known)
    folder = RunFolder.create(tmp_path, new_run_id(NOW, "b"), made_here=lambda known: "planted" not in known)
    assert folder.id == id


def test_no_runs_is_said(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == []
    with pytest.raises(WorkspaceError, match="no runs"):
        RunFolder.open(tmp_path, "latest")


def test_junk_in_the_folder_is_listed_and_breaks_nothing(tmp_path: Path) -> None:
    recorded(tmp_path, "b-good")
    runs = tmp_path / ".autoroute/runs"
    (runs / "a-empty").mkdir()
    (runs / "c-garbage").mkdir()
    (runs / "c-garbage/events.jsonl").write_bytes(b"\0\xff" * 100)
    (runs / "a-file").write_text("")
    assert [(summary.id, summary.state) for summary in list_runs(tmp_path)] == [
        ("c-garbage", "unreadable"),
        ("b-good", "approved"),
        ("a-empty", "unreadable"),
    ]


HOLD = """
import sys
from pathlib import Path
from autoroute.store import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_run_at_work_is_running_and_locked_until_its_process_ends(tmp_path: Path) -> None:
    folder = recorded(tmp_path, upto=3)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert folder.summary().state == "running"
        with pytest.raises(WorkspaceError, match=f"already running in process {holder.pid}"), folder.lock():
            pass
        holder.kill()
        holder.wait()
    assert folder.summary().state == "interrupted"
    with folder.lock():
        assert folder.summary().state == "running"


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/tmp"), lambda path: path.write_text("x")])
def test_a_link_or_file_in_place_of_our_folder_is_refused(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / ".autoroute")
    with pytest.raises(WorkspaceError, match="is not a folder"):
        RunFolder.create(tmp_path, "x")


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    recorded(tmp_path).remove()
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": 1, "a": 2}', "is ambiguous: a is given more than once"),
        (b'{"a": NaN}', "is not valid JSON: NaN is not allowed"),
        (b'{"a": ' + b"9" * 30 + b"}", "is not valid: the number"),
        (b"[" * 70 + b"]" * 70, "is nested more than 64 deep"),
        (b"[1]", "is a list, not an object"),
        (b"{ no json", "is not valid JSON"),
        (b'{"a": "\xff"}', "is not UTF-8"),
    ],
)
def test_an_artifact_that_was_edited_is_read_within_bounds(tmp_path: Path, text: bytes, words: str) -> None:
    folder = recorded(tmp_path)
    assert folder.artifact("spec")["title"] == "Greet"
    (folder.path / "spec.json").write_bytes(text)
    with pytest.raises(WorkspaceError, match=re.escape(words)) as caught:
        folder.artifact("spec")
    assert caught.value.hint == "correct the file, then try again"


def test_an_artifact_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read: No such file"):
        recorded(tmp_path).artifact("plan")
