"""The confinement that every backend enforces; the escape suite in ``benchmarks/reliability`` tries harder."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autoroute.cli.signals import Cancellation
from autoroute.errors import Cancelled
from autoroute.network import NetworkMode
from autoroute.workspace.sandbox.backends import try_backends
from tests.workspace.conftest import Nap
from tests.workspace.sandbox.conftest import SECRET, Ground, ground_of


def test_a_command_works_in_its_tree_and_its_files_remain(ground: Ground) -> None:
    result = ground.run("pwd; mkdir a && echo hello > a/b && mv a/b c && chmod +x c && cat c && exit 7")
    assert (result.exit_code, result.output) == (7, f"{ground.tree}\nhello\n")
    assert (ground.tree / "c").read_text() == "hello\n"
    assert (ground.tree / "c").stat().st_mode & stat.S_IXUSR


def test_common_developer_tools_work(ground: Ground) -> None:
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
    ],
)
def test_files_outside_the_tree_cannot_be_read(ground: Ground, command: str) -> None:
    assert SECRET not in ground.run(command.format(home=ground.home)).output


def test_the_environment_of_another_process_cannot_be_read(ground: Ground) -> None:
    secret = f"canary-{os.getpid()}"
    script = ["/bin/sh", "-c", "echo started; read line"]
    environ = {"SECRET": secret}
    with subprocess.Popen(script, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        # Before it has started, a process shows no environment.
        assert other.stdout is not None
        assert other.stdout.readline() == b"started\n"
        assert secret in Path(f"/proc/{other.pid}/environ").read_text()
        result = ground.run(f"cat /proc/{other.pid}/environ; cat /proc/[0-9]*/environ; echo over")
        other.kill()
    assert result.output.endswith("over\n")
    assert secret not in result.output


def test_a_user_folder_inside_a_system_folder_is_hidden(bubblewrap: Ground) -> None:
    place, confinement = Path("/usr/share"), bubblewrap.sandbox.confinement
    inner = next(folder for folder in sorted(place.iterdir()) if folder.is_dir() and any(folder.iterdir()))
    hidden = replace(confinement, readable=(*confinement.readable, inner), hidden=(place,))
    ground = Ground(bubblewrap.folder, replace(bubblewrap.sandbox, confinement=hidden))
    result = ground.run(f"ls -A {place}; ls -A {inner} | wc -l; touch {place}/new; touch {inner}/new")
    first, second, *refusals = result.output.splitlines()
    assert (first, int(second)) == (inner.name, len(list(inner.iterdir())))
    assert [line.rpartition(": ")[2] for line in refusals] == ["Read-only file system"] * 2


def test_a_backend_that_cannot_hide_such_a_folder_runs_nothing(tmp_path: Path) -> None:
    ground = ground_of("landlock", tmp_path)
    hidden = replace(ground.sandbox.confinement, hidden=(Path("/usr/share"),))
    with pytest.raises(OSError, match="Landlock cannot hide /usr/share"):
        Ground(tmp_path, replace(ground.sandbox, confinement=hidden)).run("echo hello")
    (candidate,) = try_backends("landlock", hidden, {})
    assert "Landlock cannot hide /usr/share" in candidate.reason


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
def test_files_outside_the_tree_cannot_be_written(ground: Ground, command: str) -> None:
    before = sorted(path.relative_to(ground.folder) for path in ground.folder.iterdir())
    ground.run(command.format(folder=ground.folder, home=ground.home))
    assert (ground.home / ".ssh/id").read_text() == SECRET
    assert sorted(path.relative_to(ground.folder) for path in ground.folder.iterdir() if path.name != "log") == before


@pytest.mark.parametrize("network", ["off", "on"])
@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (socket.SOCK_STREAM, "s.socket(s.AF_UNIX).connect({0})"),
        (socket.SOCK_DGRAM, "s.socket(s.AF_UNIX, s.SOCK_DGRAM).sendto(b'in', {0})"),
        (socket.SOCK_DGRAM, "a, b = s.socketpair(s.AF_UNIX, s.SOCK_DGRAM); a.sendto(b'in', {0})"),
    ],
)
def test_local_servers_cannot_be_reached(
    ground: Ground, network: NetworkMode, abstract: bool, kind: socket.SocketKind, way: str
) -> None:
    confinement = replace(ground.sandbox.confinement, network=network)
    ground = Ground(ground.folder, replace(ground.sandbox, confinement=confinement))
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(f"\0{ground.folder}" if abstract else str(ground.folder / "s"))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        name = str(listener.getsockname(), "ascii") if abstract else listener.getsockname()
        (ground.tree / "way.py").write_text(f"import socket as s\n{way.format(repr(name))}\nprint('in')\n")
        assert ground.run("python3 way.py").output.splitlines()[-1] != "in"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(2) if kind == socket.SOCK_DGRAM else listener.accept()


def test_a_command_can_talk_to_its_own_child_with_any_network_setting(ground: Ground) -> None:
    code = "import socket; a, b = socket.socketpair(); a.sendall(b'x'); print(b.recv(1))"
    for network in ("off", "on"):
        confinement = replace(ground.sandbox.confinement, network=network)
        result = Ground(ground.folder, replace(ground.sandbox, confinement=confinement)).run(f'python3 -c "{code}"')
        assert result.output == "b'x'\n"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_with_the_network_off_nothing_outside_is_reached(ground: Ground, family: socket.AddressFamily) -> None:
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
def test_no_process_outlives_its_command_even_without_its_mark(ground: Ground, nap: Nap, command: str) -> None:
    assert ground.run(command.format(nap.seconds)).output == "done\n"
    assert not nap.runs()


def test_the_launcher_ends_a_command_that_leads_no_process_group_yet(nap: Nap) -> None:
    code = (
        "import os, signal, sys; from autoroute.workspace.sandbox import launcher\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])\n"
        "child = os.fork() or os.execvp('sleep', ['sleep', sys.argv[1]])\n"
        "print(os.waitstatus_to_exitcode(launcher._wait(child, [signal.SIGTERM])))"
    )
    done = subprocess.run([sys.executable, "-c", code, nap.seconds], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{-signal.SIGTERM}\n", "")


def test_a_timeout_ends_everything_that_a_command_started(ground: Ground, nap: Nap) -> None:
    result = ground.run(
        f"echo started; trap '' TERM; (setsid env -i sleep {nap.seconds} &); sleep {nap.seconds}", timeout=2.0
    )
    assert (result.exit_code, result.output) == (None, "started\n")
    assert not nap.runs()


def test_the_number_of_processes_is_limited(ground: Ground) -> None:
    if os.geteuid() == 0 and ground.sandbox.confinement.user is None:
        pytest.skip("the kernel does not limit the processes of root")
    count = "for i in $(seq 1 80); do sleep 5 & done 2>&1 | grep -c -i fork; true"
    assert (
        "fork"
        in ground.limit(processes=40).run(f"({count}); for i in $(seq 1 80); do sleep 5 & done", timeout=20).output
    )


def test_other_processes_of_the_user_do_not_count(ground: Ground) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run commands as another user")
    user = 60_991  # used by this test only
    os.chown(ground.tree, user, user)
    confinement = replace(ground.sandbox.confinement, user=user)
    ground = Ground(ground.folder, replace(ground.sandbox, confinement=confinement)).limit(processes=20)
    others = [subprocess.Popen(["/bin/sleep", "120"], user=user, group=user, extra_groups=[]) for _ in range(30)]
    try:
        assert ground.run("echo hello | cat").output == "hello\n"
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_the_memory_of_all_processes_together_is_limited(ground: Ground) -> None:
    hold = "python3 -c 'import time; held = b\"x\" * (90 << 20); time.sleep(60)'"
    result = ground.limit(memory=200 << 20).run(f"{hold} & {hold} & {hold} & wait", timeout=50)
    assert result.exit_code is None
    assert "used more than 0.2 GiB of memory" in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="for other users the kernel enforces this limit")
def test_the_number_of_processes_is_limited_for_root(ground: Ground) -> None:
    confinement = replace(ground.sandbox.confinement, user=None)
    os.chown(ground.tree, 0, 0)
    ground = Ground(ground.folder, replace(ground.sandbox, confinement=confinement)).limit(processes=40)
    result = ground.run("for i in $(seq 1 120); do sleep 30 & done; wait", timeout=25)
    assert (result.exit_code, "it ran more than 40 processes at once" in result.output) == (None, True)


NO_LONGER_MAPPED = """
import mmap, time
pieces = []
for _ in range(10):
    pieces.append(mmap.mmap(-1, 40 << 20))
    pieces[-1].write(bytes(40 << 20))
    pieces[-1].madvise(mmap.MADV_DONTNEED)
time.sleep(60)
"""


def test_memory_outside_any_process_is_not_limited_while_enough_is_left(ground: Ground) -> None:
    (ground.tree / "hold.py").write_text(NO_LONGER_MAPPED.replace("60", "1"))
    assert ground.limit(memory=200 << 20, spare_memory=0).run("python3 hold.py").passed


def test_the_memory_of_one_process_is_limited(ground: Ground) -> None:
    hold = "python3 -c 'import time; held = b\"x\" * (400 << 20); time.sleep(60)'"
    assert "used more than 0.2 GiB" in ground.limit(memory=200 << 20).run(hold, timeout=50).output


def test_reserved_but_unused_memory_does_not_count(ground: Ground) -> None:
    """Sanitizers and race detectors reserve terabytes of address space."""
    no_reserve = 0x4000
    code = f"import mmap; mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | {no_reserve}); print(1)"
    assert ground.run(f"python3 -c '{code}'").output == "1\n"


def test_the_size_of_a_file_is_limited(ground: Ground) -> None:
    result = ground.limit(file_size=1 << 20).run("head -c 3000000 /dev/zero > big; echo over")
    assert (ground.tree / "big").stat().st_size <= 1 << 20
    assert "over" in result.output


@pytest.mark.parametrize("command", ["chmod u+s f", "chmod 4755 f", "python3 -c 'import os; os.chmod(\"f\", 0o6755)'"])
def test_no_setuid_file_can_be_left_in_the_tree(ground: Ground, command: str) -> None:
    ground.run(f"cp /bin/sh f; {command}")
    assert not (ground.tree / "f").stat().st_mode & (stat.S_ISUID | stat.S_ISGID)


@pytest.mark.parametrize(
    "call",
    [
        *("unshare(0x10000000)", "unshare(0x20000)", 'mount(b"x", b".", b"tmpfs", 0, None)', 'umount2(b"/proc", 2)'),
        *('chroot(b".")', "ptrace(0, 0, 0, 0)", "setns(0, 0)"),
    ],
)
def test_namespaces_mounts_and_tracing_are_refused(ground: Ground, call: str) -> None:
    code = "import ctypes; c = ctypes.CDLL(None, use_errno=True)"
    (ground.tree / "call.py").write_text(f"{code}\nprint(c.{call}, ctypes.get_errno())\n")
    assert ground.run("python3 call.py").output == f"-1 {errno.EPERM}\n"


def test_commands_of_root_run_as_another_user(ground: Ground) -> None:
    user = ground.sandbox.confinement.user
    if os.geteuid() != 0 or user is None:
        pytest.skip(ground.sandbox.note or "the tests do not run as root")
    assert ground.run("id -u; id -G; cat /etc/shadow").output.startswith(f"{user}\n{user}\n")
    assert "root:" not in ground.run("cat /etc/shadow").output


def test_scratch_folders_are_deleted_and_descriptors_closed(ground: Ground) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        ground.run("echo x > $TMPDIR/file; mkdir -p $HOME/folder")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert {path.name for path in ground.folder.iterdir()} <= {"tree", "home", "log"}


def test_only_the_tree_is_shared_between_commands(ground: Ground) -> None:
    ground.run("echo planted > $HOME/.profile; echo planted > $TMPDIR/planted; touch kept")
    assert ground.run("ls -A $HOME $TMPDIR | grep planted; ls").output == "kept\n"


def wait_for(place: Path) -> None:
    pause = threading.Event()
    for _ in range(600):
        if place.exists():
            return
        pause.wait(0.05)
    pytest.fail(f"{place.name} was not created in time")


def test_a_command_ends_with_the_process_that_started_it(ground: Ground, nap: Nap) -> None:
    ready = ground.tree / "ready"
    pid = os.fork()
    if pid == 0:
        try:
            ground.run(f"touch ready; (setsid env -i sleep {nap.seconds} &); sleep {nap.seconds}", timeout=60)
        finally:
            os._exit(0)
    wait_for(ready)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    gone = threading.Event()
    for _ in range(100):
        if not nap.runs():
            return
        gone.wait(0.05)
    pytest.fail("the command still runs")


def test_the_sandbox_runs_no_helper_program_from_the_tree(ground: Ground) -> None:
    for name in ("setpriv", "prlimit", "env", "sh", "python3"):
        (ground.tree / name).write_text("#!/bin/sh\necho planted; id -u; cat /etc/shadow\n")
        (ground.tree / name).chmod(0o755)
    path = f"{ground.tree}:{os.environ['PATH']}"
    sandbox = replace(ground.sandbox, variables={**ground.sandbox.variables, "PATH": path})
    assert Ground(ground.folder, sandbox).run("echo ran").output == "ran\n"


def test_a_closed_pipe_ends_its_writer_with_sigpipe(ground: Ground) -> None:
    assert ground.run("yes | head -1").output == "y\n"


def test_memory_backed_folders_are_limited_or_read_only(ground: Ground) -> None:
    ground = ground.limit(temporary=1 << 20)
    for place in ("/run", "/dev", "/tmp", "/var/tmp", "/dev/shm"):
        fill = f"head -c 700M /dev/zero > {place}/big; stat -c %s {place}/big; rm -f {place}/big"
        size = ground.run(fill).output.split()[-1]
        assert not size.isdigit() or int(size) < 600 << 20, place


def test_a_cancellation_ends_processes_without_a_mark(ground: Ground, nap: Nap) -> None:
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
    wait_for(ready)
    os.kill(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not nap.runs()
