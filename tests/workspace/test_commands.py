from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoroute.cancellation import CancelToken
from autoroute.errors import Cancelled
from autoroute.workspace import CommandResult
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.resource_limits import ResourceLimits
from autoroute.workspace.sandbox.confinement import Confinement, Launch, Sandbox
from tests.workspace.conftest import Nap

CANARIES = {
    name: f"canary-{number}"
    for number, name in enumerate(
        [
            *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ZAI_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"),
            *("GITHUB_TOKEN", "GH_PAT", "DATABASE_URL", "NPM_TOKEN", "SSH_AUTH_SOCK", "DOCKER_HOST", "KUBECONFIG"),
            *("CLAUDE_CODE_OAUTH_TOKEN", "AUTOROUTE_CONFIG", "MY_SECRET", "PGPASSWORD", "VAULT_TOKEN", "GIT_ASKPASS"),
        ]
    )
}


def run(command: str, folder: Path, *, timeout: float = 20.0, environ: dict[str, str] | None = None) -> CommandResult:
    commands = LocalCommands(environ or {"PATH": os.environ["PATH"]})
    return commands.run(command, timeout=timeout, cwd=folder, log=folder / "full.log")


def test_stdout_and_stderr_come_in_order_with_the_exit_code(tmp_path: Path) -> None:
    result = run("echo out; echo err >&2; echo out again; exit 3", tmp_path)
    assert (result.exit_code, result.output, result.log) == (3, "out\nerr\nout again\n", None)
    assert not result.passed


def test_a_command_runs_in_its_folder_without_standard_input(tmp_path: Path) -> None:
    assert run("pwd; cat", tmp_path).output.strip() == str(tmp_path)


def test_only_allowed_variables_are_inherited(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/me", "LC_TIME": "de_DE", **CANARIES}
    output = run("env", tmp_path, environ=environ).output
    assert "canary" not in output
    assert "HOME=/home/me" in output
    assert "LC_TIME=de_DE" in output


def test_a_command_is_stopped_at_its_timeout(tmp_path: Path, nap: Nap) -> None:
    started = time.monotonic()
    result = run(f"echo before; sleep {nap.seconds}; echo after", tmp_path, timeout=1.0)
    assert (result.exit_code, result.output) == (None, "before\n")
    assert time.monotonic() - started < 20
    assert not nap.runs()


def test_a_command_that_ignores_the_first_signal_is_killed(tmp_path: Path, nap: Nap) -> None:
    result = run(f"trap '' TERM; echo set; sleep {nap.seconds}; sleep {nap.seconds}", tmp_path, timeout=2.0)
    assert (result.exit_code, result.output) == (None, "set\n")
    assert not nap.runs()


@pytest.mark.parametrize(
    "command",
    [
        "sleep {0} & echo done",
        "nohup sleep {0} >/dev/null 2>&1 & echo done",
        "setsid sleep {0} & echo done",
        "(setsid sh -c 'sleep {0}; true' &) ; echo done",
    ],
)
def test_background_processes_are_killed_and_do_not_delay_the_result(tmp_path: Path, nap: Nap, command: str) -> None:
    started = time.monotonic()
    assert run(command.format(nap.seconds), tmp_path).output == "done\n"
    assert time.monotonic() - started < 15
    assert not nap.runs()


def test_other_processes_of_the_user_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        run("setsid sleep 60 & true", tmp_path)
        assert other.poll() is None
        other.kill()


def test_a_command_is_killed_when_another_thread_cancels(tmp_path: Path) -> None:
    cancel, started = CancelToken(), tmp_path / "started"
    commands = LocalCommands({"PATH": os.environ["PATH"]}, cancel=cancel)

    def cancel_once_it_runs() -> None:
        while not started.exists() or not started.read_text():
            time.sleep(0.01)
        cancel.cancel("enough")

    canceller = threading.Thread(target=cancel_once_it_runs)
    canceller.start()
    with pytest.raises(Cancelled, match="enough"):
        commands.run(f"echo $$ > {started}; sleep 60; touch late", timeout=60, cwd=tmp_path, log=tmp_path / "log")
    canceller.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
    assert not (tmp_path / "late").exists()


KILLED = """
import os, sys
from pathlib import Path
from autoroute.workspace.commands import LocalCommands
commands = LocalCommands({"PATH": os.environ["PATH"]}, sys.argv[1])
commands.run(sys.argv[2], timeout=60, cwd=Path(sys.argv[3]), log=Path(sys.argv[3], "log"))
"""


@contextmanager
def killed_amid(command: str, run: str, folder: Path, nap: Nap) -> Iterator[None]:
    """What an autoroute leaves that is killed while it runs this: a shell, and a child of it, whatever else."""
    # The child says so itself: a shell that says it has not begun its next process yet.
    waiting = f"{command} sh -c 'touch ready; exec sleep {nap.seconds}'; true"
    with subprocess.Popen([sys.executable, "-c", KILLED, run, waiting, str(folder)]) as other:
        deadline = time.monotonic() + 20
        while not (folder / "ready").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        other.kill()
    try:
        yield
    finally:
        LocalCommands({}, run).kill_leftovers()


@pytest.mark.parametrize(
    "command", ["", "sleep {0} &", "setsid sleep {0} &", "(setsid sh -c 'sleep {0}; true' &) ;", "trap '' TERM;"]
)
def test_commands_of_a_killed_autoroute_are_killed(tmp_path: Path, nap: Nap, command: str) -> None:
    name = f"fix-{nap.seconds}"
    commands = LocalCommands({}, name)
    with killed_amid(command.format(nap.seconds), name, tmp_path, nap):
        assert commands.kill_leftovers() >= 2
        assert commands.kill_leftovers() == 0
        assert not nap.runs()


def test_leftovers_of_other_runs_are_not_killed(tmp_path: Path, nap: Nap) -> None:
    name = f"fix-{nap.seconds}"
    with killed_amid("", name, tmp_path, nap):
        for run in (name[:-1], f"{name}0", name[1:], "fix", ""):
            assert LocalCommands({}, run).kill_leftovers() == 0
        assert nap.runs()
        assert LocalCommands({}, name).kill_leftovers() >= 2


def test_the_process_that_kills_leftovers_does_not_kill_itself(tmp_path: Path) -> None:
    code = "from autoroute.workspace.commands import LocalCommands; print(LocalCommands({}, 'r1').kill_leftovers())"
    environ = {**os.environ, "AUTOROUTE_COMMAND": "r1:0"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_command_outside_any_run_leaves_nothing_running(tmp_path: Path, nap: Nap) -> None:
    assert run(f"setsid sleep {nap.seconds} & echo $AUTOROUTE_COMMAND", tmp_path).output.startswith(":")
    assert not nap.runs()


def test_long_output_is_cut_in_the_middle_and_logged_in_full(tmp_path: Path) -> None:
    result = run("echo first; seq 1 100000; echo last", tmp_path)
    assert result.output.startswith("first\n1\n2\n")
    assert result.output.endswith("100000\nlast\n")
    assert "bytes left out" in result.output
    assert len(result.output) < 31_000
    assert result.log is not None
    assert result.log.read_text().splitlines() == ["first", *map(str, range(1, 100_001)), "last"]


def test_endless_output_is_limited_in_memory_and_on_disk(tmp_path: Path) -> None:
    result = run("head -c 80000000 /dev/zero", tmp_path)
    assert len(result.output) < 31_000
    assert result.log is not None
    assert result.log.stat().st_size <= 50 * 1024 * 1024


def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path) -> None:
    assert run(r"printf 'a\377b\342\202\254\n'", tmp_path).output == "a\ufffdb€\n"


def test_a_command_that_closes_its_output_is_waited_for(tmp_path: Path, nap: Nap) -> None:
    assert run("exec >&- 2>&-; sleep 0.1; exit 4", tmp_path).exit_code == 4
    assert run(f"exec >&- 2>&-; sleep {nap.seconds}", tmp_path, timeout=0.2).exit_code is None
    assert not nap.runs()


@dataclass
class Bare:
    """A layer that holds nothing back, with a scratch folder and a descriptor to give back."""

    name: str = "bare"
    is_weaker: bool = True
    bypasses_permissions: bool = True
    mounts: bool = False

    def check_available(self) -> None:
        return None

    def supports_allowlist(self) -> bool:
        return True

    def prepare_launch(
        self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path
    ) -> Launch:
        scratch = confinement.path_policy.root / "scratch"
        scratch.mkdir()
        descriptor = os.open(os.devnull, os.O_RDONLY)
        return Launch(["/bin/sh", "-c", command], environment, (descriptor,), scratch=scratch)


def bare(folder: Path, memory: int = 8 << 30) -> LocalCommands:
    sandbox = Sandbox(Bare(), Confinement(PathPolicy(folder), limits=ResourceLimits(memory=memory)))
    return LocalCommands({"PATH": os.environ["PATH"]}, sandbox=sandbox)


def test_a_command_that_closes_its_output_is_still_monitored(tmp_path: Path, nap: Nap) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("nothing is weighed without /proc")
    code = f"import time; held = b'x' * (90 << 20); time.sleep({nap.seconds})"
    command = f'exec >/dev/null 2>&1; {sys.executable} -c "{code}"'
    result = bare(tmp_path, 60 << 20).run(command, timeout=10, cwd=tmp_path, log=tmp_path / "log")
    assert (result.exit_code, "used more than 0.1 GiB of memory" in result.output) == (None, True)
    assert not nap.runs()


def test_nothing_is_left_behind_when_the_log_cannot_be_written(tmp_path: Path, nap: Nap) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(IsADirectoryError):
        bare(tmp_path).run(f"seq 1 10000; sleep {nap.seconds}", timeout=10, cwd=tmp_path, log=tmp_path)
    assert not (tmp_path / "scratch").exists()
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert not nap.runs()
