"""What every layer holds a command to, whichever it is; the escape suite under ``benchmarks/reliability`` tries harder."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autoroute.cli.signals import Cancellation
from autoroute.errors import Cancelled
from tests.workspace.conftest import Nap
from tests.workspace.sandbox.conftest import SECRET, Ground


def test_a_command_works_in_its_tree_and_its_files_are_there_afterwards(ground: Ground) -> None:
    result = ground.run("pwd; mkdir a && echo hello > a/b && mv a/b c && chmod +x c && cat c && exit 7")
    assert (result.exit_code, result.output) == (7, f"{ground.tree}\nhello\n")
    assert (ground.tree / "c").read_text() == "hello\n"
    assert (ground.tree / "c").stat().st_mode & stat.S_IXUSR


def test_the_tools_of_a_developer_work(ground: Ground) -> None:
    git = "git init -q . && git -c user.name=a -c user.email=a@b.example commit -q --allow-empty -m x && git log --oneline"
    python = "python3 -c 'import sqlite3, subprocess, tempfile, ssl; tempfile.TemporaryFile(); print(1)'"
    pipes = "seq 1 5 | sort -r | head -1 > /dev/null; echo $HOME > $HOME/x; cat /dev/null"
    result = ground.run(f"{git} && {python} && {pipes}")
    assert result.passed, result.output


@pytest.mark.parametrize(
    "command",
    [
        "cat {home}/.ssh/id",
        "cat ../home/.ssh/id",
        "ln -s {home}/.ssh/id link; cat link",
        "cat /proc/self/root{home}/.ssh/id",
        "tar cf - {home} | base64 -w0; cat {home}/.ssh/*",
        "python3 -c 'print(open(\"{home}/.ssh/id\").read())'",
        "cat /proc/$PPID/environ; cat /proc/*/environ",
    ],
)
def test_nothing_beside_the_tree_is_read(ground: Ground, command: str) -> None:
    result = ground.run(command.format(home=ground.home), environ={"LC_SECRET": "of no weight"})
    assert SECRET not in result.output


@pytest.mark.parametrize(
    "command",
    [
        "echo x > {folder}/outside",
        "echo x > ../outside",
        "ln -s .. up; echo x > up/outside",
        "echo x >> {home}/.ssh/id",
        "rm -rf {home}; rm -f ../home/.ssh/id",
        "mv {home} .",
        "mkdir {folder}/new",
        "ln {home}/.ssh/id mine && echo x > mine",
        "truncate -s 0 {home}/.ssh/id",
    ],
)
def test_nothing_beside_the_tree_is_written(ground: Ground, command: str) -> None:
    before = sorted(path.relative_to(ground.folder) for path in ground.folder.iterdir())
    ground.run(command.format(folder=ground.folder, home=ground.home))
    assert (ground.home / ".ssh/id").read_text() == SECRET
    assert sorted(path.relative_to(ground.folder) for path in ground.folder.iterdir() if path.name != "log") == before


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_with_the_network_off_nobody_outside_is_reached(ground: Ground, family: socket.AddressFamily) -> None:
    place = str(ground.folder / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0)
    with socket.socket(family) as listener:
        listener.bind(place)
        listener.listen()
        listener.settimeout(0.2)
        target = repr(listener.getsockname())
        code = (
            f"import socket; s = socket.socket(socket.{family.name}); s.settimeout(3); s.connect({target}); print('in')"
        )
        assert "in\n" not in ground.run(f'python3 -c "{code}"').output
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "command",
    [
        "sleep {0} & echo done",
        "setsid sleep {0} & echo done",
        "(setsid env -i sleep {0} &) ; echo done",
        'env -i python3 -c \'import os; os.fork() or (os.setsid(), os.fork() or os.execvp("sleep", ["sleep", "{0}"]))\'; echo done',
    ],
)
def test_nothing_survives_a_command_even_without_its_mark(ground: Ground, nap: Nap, command: str) -> None:
    assert ground.run(command.format(nap.seconds)).output == "done\n"
    assert not nap.runs()


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(ground: Ground, nap: Nap) -> None:
    result = ground.run(
        f"echo begun; trap '' TERM; (setsid env -i sleep {nap.seconds} &); sleep {nap.seconds}", timeout=2.0
    )
    assert (result.exit_code, result.output) == (None, "begun\n")
    assert not nap.runs()


def test_processes_are_bounded(ground: Ground) -> None:
    if os.geteuid() == 0 and ground.sandbox.confinement.user is None:
        pytest.skip("the kernel counts no processes of root's, and refuses none")
    count = "for i in $(seq 1 80); do sleep 5 & done 2>&1 | grep -c -i fork; true"
    assert (
        "fork"
        in ground.allow(processes=40).run(f"({count}); for i in $(seq 1 80); do sleep 5 & done", timeout=20).output
    )


def test_memory_of_all_processes_together_is_bounded(ground: Ground) -> None:
    hold = "python3 -c 'import time; held = b\"x\" * (90 << 20); time.sleep(60)'"
    result = ground.allow(memory=200 << 20).run(f"{hold} & {hold} & {hold} & wait", timeout=50)
    assert result.exit_code is None
    assert "held more than 0.2 GiB of memory" in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel itself refuses more to others than root")
def test_processes_of_roots_are_bounded(ground: Ground) -> None:
    confinement = replace(ground.sandbox.confinement, user=None)
    os.chown(ground.tree, 0, 0)
    ground = Ground(ground.folder, replace(ground.sandbox, confinement=confinement)).allow(processes=40)
    result = ground.run("for i in $(seq 1 120); do sleep 30 & done; wait", timeout=25)
    assert (result.exit_code, "it ran more than 40 processes at once" in result.output) == (None, True)


IN_SOCKETS = """
import socket, time
pairs, held = [], 0
while held < 400 << 20:
    pairs.append(socket.socketpair())
    for end in pairs[-1]:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        try:
            while True:
                held += end.send(bytes(1 << 16))
        except BlockingIOError:
            pass
time.sleep(60)
"""
NO_LONGER_MAPPED = """
import mmap, time
pieces = []
for _ in range(10):
    pieces.append(mmap.mmap(-1, 40 << 20))
    pieces[-1].write(bytes(40 << 20))
    pieces[-1].madvise(mmap.MADV_DONTNEED)
time.sleep(60)
"""


@pytest.mark.parametrize("code", [IN_SOCKETS, NO_LONGER_MAPPED], ids=["sockets", "shared"])
def test_memory_that_no_process_shows_is_bounded_where_the_machine_runs_short(ground: Ground, code: str) -> None:
    (ground.tree / "hold.py").write_text(code)
    # To this bound a machine is short that has any memory in use.
    result = ground.allow(memory=200 << 20, spare=1).run("python3 hold.py", timeout=50)
    assert result.exit_code is None
    assert "more than 0.2 GiB of memory went where no process shows it" in result.output


def test_memory_that_no_process_shows_may_be_anybodys_while_there_is_enough(ground: Ground) -> None:
    (ground.tree / "hold.py").write_text(NO_LONGER_MAPPED.replace("60", "1"))
    assert ground.allow(memory=200 << 20, spare=0).run("python3 hold.py").passed


def test_memory_of_one_process_is_bounded(ground: Ground) -> None:
    result = ground.allow(memory=200 << 20).run("python3 -c 'held = bytearray(400 << 20)'")
    assert "MemoryError" in result.output


def test_a_file_cannot_grow_beyond_its_bound(ground: Ground) -> None:
    result = ground.allow(file_size=1 << 20).run("head -c 3000000 /dev/zero > big; echo over")
    assert (ground.tree / "big").stat().st_size <= 1 << 20
    assert "over" in result.output


@pytest.mark.parametrize("command", ["chmod u+s f", "chmod 4755 f", "python3 -c 'import os; os.chmod(\"f\", 0o6755)'"])
def test_nothing_setuid_is_left_in_the_tree(ground: Ground, command: str) -> None:
    ground.run(f"cp /bin/sh f; {command}")
    assert not (ground.tree / "f").stat().st_mode & (stat.S_ISUID | stat.S_ISGID)


@pytest.mark.parametrize(
    "command", ["unshare -Ur true", "mount -t tmpfs x .", "strace -V >/dev/null; strace true", "chroot ."]
)
def test_namespaces_mounts_and_tracing_are_refused(ground: Ground, command: str) -> None:
    assert not ground.run(command).passed


def test_a_command_of_roots_is_not_roots(ground: Ground) -> None:
    user = ground.sandbox.confinement.user
    if os.geteuid() != 0 or user is None:
        pytest.skip(ground.sandbox.note or "the tests are not run by root")
    assert ground.run("id -u; id -G; cat /etc/shadow").output.startswith(f"{user}\n{user}\n")
    assert "root:" not in ground.run("cat /etc/shadow").output


def test_scratch_folders_and_descriptors_are_gone_afterwards(ground: Ground) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        ground.run("echo x > $TMPDIR/file; mkdir -p $HOME/folder")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert {path.name for path in ground.folder.iterdir()} <= {"tree", "home", "log"}


def test_nothing_of_one_command_reaches_the_next_but_the_tree(ground: Ground) -> None:
    ground.run("echo planted > $HOME/.profile; echo planted > $TMPDIR/planted; touch kept")
    assert ground.run("ls -A $HOME $TMPDIR | grep planted; ls").output == "kept\n"


def test_it_is_ended_with_the_process_that_started_it(ground: Ground, nap: Nap) -> None:
    ready = ground.tree / "ready"
    pid = os.fork()
    if pid == 0:
        try:
            ground.run(f"touch ready; (setsid env -i sleep {nap.seconds} &); sleep {nap.seconds}", timeout=60)
        finally:
            os._exit(0)
    while not ready.exists():
        os.sched_yield()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    gone = threading.Event()
    for _ in range(100):
        if not nap.runs():
            return
        gone.wait(0.05)
    pytest.fail("it goes on")


def test_no_program_of_the_tree_stands_between_the_sandbox_and_a_command(ground: Ground) -> None:
    for name in ("setpriv", "prlimit", "env", "sh", "python3"):
        (ground.tree / name).write_text("#!/bin/sh\necho planted; id -u; cat /etc/shadow\n")
        (ground.tree / name).chmod(0o755)
    path = f"{ground.tree}:{os.environ['PATH']}"
    sandbox = replace(ground.sandbox, variables={**ground.sandbox.variables, "PATH": path})
    assert Ground(ground.folder, sandbox).run("echo ran").output == "ran\n"


def test_a_reader_that_leaves_ends_a_writer_as_everywhere(ground: Ground) -> None:
    assert ground.run("yes | head -1").output == "y\n"


def test_folders_in_memory_are_bounded_or_cannot_be_written(ground: Ground) -> None:
    ground = ground.allow(temporary=1 << 20)
    for place in ("/run", "/dev", "/tmp", "/var/tmp", "/dev/shm"):
        fill = f"head -c 700M /dev/zero > {place}/big; stat -c %s {place}/big; rm -f {place}/big"
        size = ground.run(fill).output.split()[-1]
        assert not size.isdigit() or int(size) < 600 << 20, place


def test_a_cancellation_ends_what_has_lost_its_mark_too(ground: Ground, nap: Nap) -> None:
    ready = ground.tree / "ready"
    pid = os.fork()
    if pid == 0:
        try:
            with Cancellation():
                ground.run(f'env -i setsid sh -c "touch ready; sleep {nap.seconds}; true" & wait', timeout=60)
        except Cancelled:
            os._exit(0)
        finally:
            os._exit(1)
    while not ready.exists():
        os.sched_yield()
    os.kill(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not nap.runs()
