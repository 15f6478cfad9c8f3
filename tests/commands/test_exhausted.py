"""Full disks, missing permissions and other exhausted resources: exit code 73, a clear message, and resume works after."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoroute.app.drive import Driver
from autoroute.cancellation import CancelToken
from autoroute.cli.run_in_terminal import Screen
from autoroute.cli.signals import Cancellation
from autoroute.demo.script import ScriptedReply
from autoroute.engine.replay import apply_each
from autoroute.errors import Cancelled, map_access_error
from autoroute.events import TRANSIENT, Event, RunEnded, ToolEnded
from autoroute.render.plain import Plain
from autoroute.store import RunFolder
from autoroute.store.journal import Reader, read_events
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, Result, World, make_world, wait_for
from tests.store.examples import RUN as EVENTS
from tests.store.examples import contents

RUN = ("run", "task.md", "--plan", "sonnet", "--no-probe")


def run_with(world: World, stdout: int, *arguments: str, limit: str = "") -> Result:
    """Run the command with ``stdout`` as its standard output; ``limit`` is a line of shell before it."""
    shell = ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh", *world.command(*arguments)]
    done = subprocess.run(
        shell if limit else world.command(*arguments),
        cwd=world.repository,
        # A bytecode file that is truncated at the limit would remain, and break the next Python.
        env={**world.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    return Result(done.returncode, "", done.stderr)


def test_a_missing_folder_for_temporary_files_is_an_error_with_a_hint_at_tmpdir(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    result = run_with(world, subprocess.DEVNULL, "run", "task.md", "--plan", "sonnet", "--dry-run", limit="ulimit -f 0")
    assert (result.code, "Traceback" in result.stderr) == (73, False)
    assert "error: No usable temporary directory found in [" in result.stderr
    assert "hint: free some space there, or set TMPDIR to another folder" in result.stderr


def ended(world: World) -> RunEnded:
    last = read_events(world.run_folder() / "events.jsonl")[-1]
    assert isinstance(last, RunEnded)
    return last


def test_a_journal_that_cannot_grow_stops_the_run_before_its_next_action(world: World) -> None:
    mark = ScriptedReply(calls=(scripts.call("bash", command="echo ran >> log.txt; seq 900"),))
    world.provide("anthropic", scripts.rules(code=(scripts.write(), mark, mark, mark, mark, scripts.DONE)))
    before = world.fingerprint()
    result = run_with(world, subprocess.DEVNULL, *RUN, limit="ulimit -f 48")
    assert result.code == 73
    assert "events.jsonl cannot be written: File too large" in result.stderr
    assert f"hint: free some space there, then autoroute resume {world.run_folder().name}" in result.stderr
    assert "Traceback" not in result.stderr
    journal = world.run_folder() / "events.jsonl"
    reader = Reader(journal)
    assert list(reader)
    assert reader.good == journal.stat().st_size
    assert world.git("branch", "--list", "autoroute/*") == ""
    resumed = world.autoroute("resume")
    assert resumed.code == 0, resumed.stderr
    calls = [event.call for event in read_events(journal) if isinstance(event, ToolEnded)]
    assert sorted(set(calls)) == sorted(calls)
    assert world.fingerprint() == before


def test_an_output_on_a_full_disk_stops_the_run_cleanly(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with Path("/dev/full").open("wb") as full:
        result = run_with(world, full.fileno(), *RUN, "--format", "jsonl")
    assert "Traceback" not in result.stderr
    assert "a bug" not in result.stderr
    assert result.code == ended(world).exit_code == 73
    assert "the output cannot be written: No space left on device" in ended(world).message
    assert world.autoroute("resume").code == 0


def test_a_result_that_cannot_be_printed_does_not_undo_the_run(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    with Path("/dev/full").open("wb") as full:
        result = run_with(world, full.fileno(), *RUN, "--format", "plain")
    assert "Traceback" not in result.stderr
    assert "a bug" not in result.stderr
    assert result.code == ended(world).exit_code == 0


class WithoutEnd(Plain):
    """Shows everything except the end of a run."""

    error: Exception = Cancelled("stopped by SIGINT")

    def show(self, event: Event) -> None:
        if isinstance(event, RunEnded):
            raise self.error
        super().show(event)


def drive(
    events: Generator[Event, None, None],
    folder: RunFolder,
    renderer: Plain,
    cancellation: Cancellation,
    redact: Callable[[str], str] = str,
) -> int:
    cancel = CancelToken()
    return Driver(events, folder, [Screen(renderer, cancel)], redact, cancel, cancellation).drain().exit_code


def guarded() -> Cancellation:
    return Cancellation(indivisible=(Driver.step, Driver.drain, apply_each))


def cancellable_run(events: Sequence[Event]) -> Generator[Event, None, None]:
    """Yield the events, and then an end if the run is cancelled."""
    try:
        yield from events
    except Cancelled as error:
        yield RunEnded(outcome="cancelled", exit_code=int(error.exit_code), message=error.message, hint="", seconds=0)


@pytest.mark.parametrize("strikes", range(1, 300, 57))
def test_a_cancellation_during_redaction_loses_no_event(tmp_path: Path, strikes: int) -> None:
    looked = 0

    def redact(text: str) -> str:
        nonlocal looked
        looked += 1
        if looked == strikes:
            os.kill(os.getpid(), signal.SIGINT)
        return text

    folder, shown = RunFolder.create(tmp_path, "r1"), io.StringIO()
    with guarded() as cancellation:
        renderer = Plain(shown, shown, lambda: datetime.now(UTC))
        assert drive(cancellable_run(EVENTS[:-1]), folder, renderer, cancellation, redact) == 130
    *past, last = folder.events()
    kept = [event for event in EVENTS if not isinstance(event, TRANSIENT)]
    assert contents(past) == kept[: len(past)]
    assert isinstance(last, RunEnded)


class InterruptedWhileStoring(RunFolder):
    """A run folder: Ctrl-C is pressed while it stores the end of a run."""

    def record(self, event: Event) -> Event:
        if isinstance(event, RunEnded):
            os.kill(os.getpid(), signal.SIGINT)
        return super().record(event)


def carried(folder: RunFolder, renderer: Plain) -> int:
    with guarded() as cancellation:
        return drive((event for event in EVENTS), folder, renderer, cancellation)


@pytest.mark.parametrize(
    "error", [Cancelled("stopped by SIGINT"), BrokenPipeError(errno.EPIPE, "gone"), OSError(errno.ENOSPC, "full")]
)
def test_a_recorded_end_counts_even_if_it_cannot_be_shown(tmp_path: Path, error: Exception) -> None:
    renderer = WithoutEnd(io.StringIO(), io.StringIO(), lambda: datetime.now(UTC))
    renderer.error = error
    assert carried(RunFolder.create(tmp_path, "r1"), renderer) == 0


def test_a_cancellation_while_the_end_is_stored_does_not_change_it(tmp_path: Path) -> None:
    renderer = Plain(io.StringIO(), io.StringIO(), lambda: datetime.now(UTC))
    folder = InterruptedWhileStoring.create(tmp_path, "r1")
    assert carried(folder, renderer) == 0
    assert folder.summary().state == "approved"


class InterruptedWhileShowing(Plain):
    """A renderer: Ctrl-C is pressed while it shows the end of a run."""

    def show(self, event: Event) -> None:
        if isinstance(event, RunEnded):
            os.kill(os.getpid(), signal.SIGINT)
        super().show(event)


def test_a_cancellation_after_the_end_does_not_change_it(tmp_path: Path) -> None:
    shown = io.StringIO()
    with guarded() as cancellation:
        renderer = InterruptedWhileShowing(shown, shown, lambda: datetime.now(UTC))
        assert drive((event for event in EVENTS), RunFolder.create(tmp_path, "r1"), renderer, cancellation) == 0
        assert "approved" in shown.getvalue()


class Barred(RunFolder):
    """A run folder: a folder is in the way of the file that it writes at the end of a run."""

    def record(self, event: Event) -> Event:
        if isinstance(event, RunEnded):
            (self.path / "run.json").unlink()
            (self.path / "run.json").mkdir()
        return super().record(event)


def test_a_recorded_end_counts_even_if_other_files_cannot_be_written(tmp_path: Path) -> None:
    shown = io.StringIO()
    folder = Barred.create(tmp_path, "r1")
    assert carried(folder, Plain(shown, shown, lambda: datetime.now(UTC))) == 0
    assert "run.json cannot be written: Is a directory" in shown.getvalue()
    assert "resume r1 writes it" in shown.getvalue()
    assert folder.summary().exit_code == 0


def test_a_closed_output_pipe_stops_the_run_cleanly_and_not_as_approved(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = run_with(world, writing, *RUN, "--format", "jsonl")
    finally:
        os.close(writing)
    assert result.code == 143
    assert result.stderr.count("Exception") == 0
    assert (ended(world).outcome, ended(world).message) == ("cancelled", "the output was closed by its reader")
    assert world.autoroute("resume").code == 0


def test_a_state_folder_that_cannot_be_created_is_an_error_before_any_request(world: World) -> None:
    server = world.provide("anthropic", scripts.rules())
    (world.home / "state/autoroute").mkdir(parents=True)
    (world.home / "state/autoroute/runs").write_text("in the way")
    result = world.autoroute(*RUN)
    assert result.code == 73
    assert str(world.home / "state/autoroute/runs") in result.stderr
    assert server.turns == []
    assert list((world.repository / ".autoroute/runs").iterdir()) == []
    (world.home / "state/autoroute/runs").unlink()
    assert world.autoroute(*RUN).code == 0


def run_by(world: World, command: Sequence[str], timeout: float) -> Result:
    """Run a command line that runs autoroute in its own way, without a terminal."""
    done = subprocess.run(
        command,
        cwd=world.repository,
        env=world.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def as_an_ordinary_user(world: World, *arguments: str) -> Result:
    other = ["setpriv", "--reuid", "60990", "--regid", "60990", "--clear-groups"] if os.geteuid() == 0 else []
    able = subprocess.run([*other, *world.command("--version")], cwd="/", capture_output=True, check=False)
    if able.returncode:
        pytest.skip("another user cannot run this Python")
    return run_by(world, [*other, *world.command(*arguments)], timeout=400)


@pytest.mark.parametrize("closed", ["home", "home/state", "project"])
def test_a_folder_without_write_permission_is_an_error_before_any_request(closed: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # another user can reach it, unlike the folder of a test
        Path(place).chmod(0o711)
        world = make_world(Path(place))
        (world.home / "state").mkdir()
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "60990:60990", world.home, world.repository], check=True)
        with world.stack:
            server = world.provide("anthropic", scripts.rules())
            (Path(place) / closed).chmod(0o555)
            if closed == "home":
                (world.home / "state").chmod(0o555)
            refused = as_an_ordinary_user(world, *RUN, "--sandbox", "off")
            for folder in (world.home, world.home / "state", world.repository):
                folder.chmod(0o755)
            assert refused.code == 73
            assert "Permission denied" in refused.stderr
            assert "a bug" not in refused.stderr
            assert server.turns == []
            done = as_an_ordinary_user(world, *RUN, "--sandbox", "off")
            assert done.code == 0, done.stderr


SEALED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
FULL = 'mount -t tmpfs -o size=4k tmpfs "$0"'


def run_on(world: World, folder: Path, mount: str, *arguments: str) -> Result:
    """Run the command with ``folder`` mounted for it alone; skip the test where that is not possible."""
    if os.geteuid() != 0:
        if mount != SEALED:
            pytest.skip("a full disk needs root")
        folder.chmod(0o555)
        try:
            return run_with(world, subprocess.PIPE, *arguments)
        finally:
            folder.chmod(0o755)
    shell = f'mount --make-rprivate / && {mount} || exit 99; "$@" >&2'
    done = run_by(
        world, ["unshare", "--mount", "/bin/sh", "-c", shell, str(folder), *world.command(*arguments)], timeout=120
    )
    if done.code == 99:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    return done


@pytest.mark.skipif(SANDBOX == "off", reason="no sandbox works on this machine")
@pytest.mark.parametrize(
    ("mount", "words", "hint"),
    [
        (SEALED, "(Permission denied|Read-only file system)", "check that you may write there"),
        (FULL, "No space left on device", "free some space there"),
    ],
)
@pytest.mark.parametrize("name", ["", "state", "state/autoroute", "state/autoroute/workspaces"])
def test_an_unwritable_state_folder_is_not_blamed_on_the_sandbox(
    world: World, name: str, mount: str, words: str, hint: str
) -> None:
    server = world.provide("anthropic", scripts.rules())
    folder = world.home / name
    if mount == FULL and not name:
        pytest.skip("the settings are in there")
    folder.mkdir(parents=True, exist_ok=True)
    result = run_on(world, folder, mount, *RUN)
    assert result.code == 73, result.stderr
    assert re.search(f"workspaces cannot be written: {words}", result.stderr)
    assert f"hint: {hint}" in result.stderr
    assert "--sandbox" not in result.stderr
    assert server.turns == []


@pytest.mark.skipif(SANDBOX == "off", reason="no sandbox works on this machine")
def test_doctor_reports_it_too(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    (world.home / "state").mkdir()
    result = run_on(world, world.home / "state", SEALED, "doctor", "--plan", "sonnet")
    assert result.code == 73, result.stderr


def test_a_run_needs_no_cache_folder(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    (world.home / "cache").write_text("in the way")
    assert world.autoroute(*RUN[:-1]).code == 0


def test_running_out_of_file_handles_is_not_reported_as_a_bug(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    result = run_with(world, subprocess.DEVNULL, *RUN, limit="ulimit -n 9")
    assert result.code == 73
    assert "a bug" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_in_progress_is_refused_with_the_process_that_runs_it(world: World) -> None:
    world.provide("anthropic", scripts.rules(code=(ScriptedReply(calls=(scripts.call("bash", command="sleep 30"),)),)))
    with world.start(*RUN, "--format", "jsonl") as process:
        wait_for(process, "tool_started", name="bash")
        result = world.autoroute("resume")
        process.terminate()
        process.communicate(timeout=60)
    assert result.code == 73
    assert f"is already running in process {process.pid} (autoroute run task.md --plan sonnet" in result.stderr


@pytest.mark.parametrize("name", ["state", "state/autoroute"])
def test_a_state_folder_without_access_is_not_reported_as_a_bug(world: World, name: str) -> None:
    if os.geteuid() == 0:
        pytest.skip("root enters every folder")
    (world.home / name).mkdir(parents=True)
    (world.home / name).chmod(0)
    try:
        result = world.autoroute("run", "task.md", "--plan", "sonnet")
    finally:
        (world.home / name).chmod(0o755)
    assert result.code == 73, result.stderr
    assert "Permission denied" in result.stderr
    assert "hint: check that you may read and write there" in result.stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_an_access_error_names_the_path_and_what_to_check(number: int) -> None:
    failure = map_access_error(OSError(number, os.strerror(number), "/place"))
    assert failure is not None
    assert (failure.message, failure.exit_code) == (f"/place: {os.strerror(number)}", 73)
    assert map_access_error(OSError(errno.ENOENT, "no such file")) is None
