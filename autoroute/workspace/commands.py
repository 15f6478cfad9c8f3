"""Shell commands of models and verify commands: an allow-listed environment, bounds, nothing left running.

What they may see and change is the matter of a ``Sandbox``; how they are started, read and ended is the same with any.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from autoroute.redaction import RedactedStream, Redactor
from autoroute.workspace import CommandResult
from autoroute.workspace.processes import MARK, kill_marked
from autoroute.workspace.resource_limits import ResourceMonitor
from autoroute.workspace.sandbox.confinement import Launch, Sandbox

_PASSED = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT", "PYENV_VERSION", "NVM_DIR", "NVM_BIN", "JAVA_HOME"),
        *("GOPATH", "GOROOT", "CARGO_HOME", "RUSTUP_HOME", "DOTNET_ROOT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    )
)
_SET = {
    "TERM": "dumb",
    "CI": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
_SHOWN = 30_000
_KEPT = 50 * 1024 * 1024
_GRACE = 2.0
_BREAKING_OFF = 3.0
"""Seconds that a command gets to end with all that it started once nobody waits for it; a launcher takes one."""
_CHUNK = 65_536
_POLL = 0.02
"""Seconds between looks at a shell that has ended while something of its own holds the pipe open, or is dying."""


class LocalCommands:
    """Runs commands in a sandbox; without one, with the user's rights. No key is in their environment.

    ``mark`` is that of the workspace that they belong to, "" for commands of none. ``passed`` are variables of the
    user's that reach commands beside those that always do; ``redactor`` knows what no log may hold.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        mark: str = "",
        sandbox: Sandbox | None = None,
        passed: Sequence[str] = (),
        redactor: Redactor | None = None,
    ) -> None:
        known = {*_PASSED, *passed}
        kept = {name: value for name, value in environ.items() if name in known or name.startswith("LC_")}
        self._environment = {"PATH": os.defpath, **kept, **_SET}
        self._mark = mark
        self._sandbox = sandbox
        self._redactor = redactor or Redactor()

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        """Run one command with ``/bin/sh -c``; see ``Commands`` for the promises.

        A command is over when its shell has ended. Whatever it left behind, in its session or in one of its own,
        carries the mark of this call in its environment, is found by it where there is a ``/proc``, and is killed.
        """
        mark = f"{self._mark}:{uuid.uuid4().hex}"
        started = time.monotonic()
        output = _Output(log, self._redactor.stream())
        # The last step is taken first, and each of them whatever becomes of the others.
        with ExitStack() as steps:
            launch = self._launch(command, cwd, mark)
            steps.callback(launch.close)
            steps.callback(output.close)
            # A cancellation may strike anywhere, in the middle of the start too: the mark finds what then runs.
            steps.callback(kill_marked, mark)
            scales = ResourceMonitor(self._sandbox.confinement.limits) if self._sandbox else None
            process = _start(launch, cwd)
            steps.callback(_break_off, process)
            ended = output.collect(process, started + timeout, scales)
            if not ended:
                _signal_group(process.pid, signal.SIGTERM)
                output.collect(process, time.monotonic() + _GRACE)
                _kill(process)
        seconds = time.monotonic() - started
        return CommandResult(process.returncode if ended else None, output.text(), seconds, output.log)

    def _launch(self, command: str, cwd: Path, mark: str) -> Launch:
        environment = {**self._environment, MARK: mark}
        if self._sandbox is None:
            return Launch(["/bin/sh", "-c", command], environment)
        return self._sandbox.launch(command, environment, cwd)

    def kill_leftovers(self) -> int:
        """Kill what an earlier autoroute left running of this run, whatever call it came from; how many there were."""
        return kill_marked(f"{self._mark}:") if self._mark else 0


class _Output:
    """What a command prints: head and tail in memory, all of it (bounded) in a file once it is too much to show."""

    def __init__(self, log: Path, redaction: RedactedStream) -> None:
        self._path = log
        self._redaction = redaction
        self._file: IO[bytes] | None = None
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    @property
    def log(self) -> Path | None:
        """Where the whole output is, None when it was short."""
        return self._path if self._file else None

    def collect(self, process: subprocess.Popen[bytes], deadline: float, scales: ResourceMonitor | None = None) -> bool:
        """Read until the shell has ended and what it wrote is read; whether that was before ``deadline``.

        A command that is too heavy for the scales is ended like one that is late; its output says so.
        """
        pipe = process.stdout
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if scales and (excess := scales.excess(process.pid)):
                    self._add(self._redaction.feed(f"\n[stopped: {excess}]\n".encode()))
                    return False
                # Asked before reading: what was written before the end is then in the pipe for certain.
                ended = process.poll() is not None
                if not ended and not selector.select(timeout=min(left, _POLL)):
                    continue
                data = self._read(pipe)
                if data:
                    self._add(self._redaction.feed(data))
                elif ended:
                    return True
                elif data == b"":
                    selector.unregister(pipe)  # it closed its output and goes on
        return False

    def close(self) -> None:
        """Nothing comes any more: let go of the file."""
        try:
            self._add(self._redaction.close())
        finally:
            if self._file:
                self._file.close()

    def text(self) -> str:
        """What is shown of it, as text; what is no UTF-8 shows as U+FFFD."""
        if not self._file:
            return bytes(self._head).decode("utf-8", "replace")
        left_out = self._total - len(self._head) - len(self._tail)
        head = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._head))
        tail = bytes(self._tail).decode("utf-8", "replace").lstrip("\ufffd")
        return f"{head}\n[... {left_out} bytes left out ...]\n{tail}"

    def _read(self, pipe: IO[bytes]) -> bytes | None:
        """What is there; b"" at the end, None when there is nothing yet."""
        try:
            return os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return None

    def _add(self, data: bytes) -> None:
        self._total += len(data)
        if self._file is None:
            self._head += data
            if self._total <= _SHOWN:
                return
            self._file = self._path.open("wb")
            data = bytes(self._head)
            self._tail = self._head[_SHOWN // 2 :]
            del self._head[_SHOWN // 2 :]
        else:
            self._tail += data
        del self._tail[: max(0, len(self._tail) - _SHOWN // 2)]
        if self._total <= _KEPT:
            self._file.write(data)


def _start(launch: Launch, cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        launch.arguments,
        cwd=cwd,
        env=launch.environment,
        pass_fds=launch.descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _break_off(process: subprocess.Popen[bytes]) -> None:
    """End what still runs: a launcher that is told to ends all that descends from it, which no mark may find."""
    try:
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_BREAKING_OFF)
    finally:
        _kill(process)
        if process.stdout:
            process.stdout.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
