"""Who holds a run is said; who is gone, or has only the number of one who is, holds nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.store.run_lock import hold, is_held

HOLDER = """
import sys
from pathlib import Path
from autoroute.store.run_lock import hold
with hold(Path(sys.argv[1]), "run r1", "autoroute resume r1"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def try_to_hold(path: Path) -> None:
    with hold(path, "run r1"):
        pass


def test_the_holder_is_named_with_its_command_and_lets_go_when_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(path)
        with pytest.raises(WorkspaceError) as raised:
            try_to_hold(path)
        assert raised.value.message == f"run r1 is already running in process {holder.pid} (autoroute resume r1)"
        holder.kill()
    assert not is_held(path)
    try_to_hold(path)


@pytest.mark.parametrize("process", [1, 2**22 - 1])
def test_a_file_that_names_a_process_is_no_lock_whether_that_lives_or_not(tmp_path: Path, process: int) -> None:
    """As in a run folder that was copied, or after a crash when another process has got the number."""
    path = tmp_path / "lock"
    path.write_text(json.dumps({"process": process, "host": socket.gethostname(), "command": "autoroute run"}))
    assert not is_held(path)
    with hold(path, "run r1"):
        assert json.loads(path.read_text())["process"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"123", b"{}", b"\xff\0", b'["a"]'])
def test_a_holder_that_says_nothing_is_told_of_all_the_same(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    path.write_bytes(content)
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(WorkspaceError, match="run r1 is already running in another process"):
        try_to_hold(path)
    os.close(handle)


def test_a_holder_on_another_machine_is_said_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"process": 7, "host": "elsewhere", "command": ""}))
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(WorkspaceError, match=r"in process 7 on elsewhere$"):
        try_to_hold(path)
    os.close(handle)


def test_one_who_only_looks_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    asked: list[int] = []

    def busy_at_first(handle: int, operation: int) -> None:
        asked.append(operation)
        if len(asked) < 3:
            raise BlockingIOError(errno.EAGAIN, "somebody looks")

    with hold(path, "run r1", flock=busy_at_first):
        assert len(asked) == 3


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_filesystem_without_locks_is_refused_in_words(tmp_path: Path, number: int) -> None:
    def without(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    with (
        pytest.raises(WorkspaceError, match="cannot be locked") as raised,
        hold(tmp_path / "lock", "r1", flock=without),
    ):
        pass
    assert "local disk" in raised.value.hint
