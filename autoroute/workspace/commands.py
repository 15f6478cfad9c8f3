"""Running shell commands of models and verify commands: allow-listed environment, limits, nothing left running.

A ``Sandbox`` decides what they may see and change. Starting, reading and ending them is the same with every backend.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from autoroute.cancellation import CancelToken
from autoroute.redaction import RedactedStream, Redactor
from autoroute.workspace import CommandResult
from autoroute.workspace.available import find_available, use_environments
from autoroute.workspace.layers import Layers
from autoroute.workspace.processes import MARK_VARIABLE, kill_marked
from autoroute.workspace.resource_limits import ResourceMonitor
from autoroute.workspace.sandbox.confinement import Launch, Sandbox

_PASSED_VARIABLES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT", "PYENV_VERSION", "NVM_DIR", "NVM_BIN", "JAVA_HOME"),
        *("GOPATH", "GOROOT", "CARGO_HOME", "RUSTUP_HOME", "DOTNET_ROOT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    )
)
"""What a command inherits. Removing variables by name instead misses keys: ``DATABASE_URL``, ``*_PAT`` and the like."""
_SET_VARIABLES = {
    "TERM": "dumb",
    "CI": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
_MAX_SHOWN_BYTES = 30_000
_MAX_LOG_BYTES = 50 * 1024 * 1024
_GRACE_SECONDS = 2.0
"""How long a command may take to end after SIGTERM."""
_CANCEL_SECONDS = 3.0
"""The same when autoroute is canceled; ``launcher.py`` needs one second of it to end what the command started."""
_CHUNK_BYTES = 65_536
_POLL_SECONDS = 0.02
"""How often limits and cancellation are looked at, and, where the end of a process cannot be waited for, its end: a
process that it started may hold the pipe open."""


class LocalCommands:
    """Runs commands in a sandbox, or with the user's permissions without one. No key is in their environment.

    ``mark`` identifies the workspace that they belong to, "" for none. ``passed`` names variables of the user that
    commands inherit beyond the usual ones. ``redactor`` removes secrets from output and logs. A command that
    runs when ``cancel`` is set is killed, and ``run`` raises the token's error. Without a sandbox, ``layers`` has the
    environments that commands use; a sandbox has its own.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        mark: str = "",
        sandbox: Sandbox | None = None,
        passed: Sequence[str] = (),
        redactor: Redactor | None = None,
        cancel: CancelToken | None = None,
        layers: Layers | None = None,
    ) -> None:
        allowed = {*_PASSED_VARIABLES, *passed}
        inherited = {name: value for name, value in environ.items() if name in allowed or name.startswith("LC_")}
        self._environment = {"PATH": os.defpath, **inherited, **_SET_VARIABLES}
        self._mark = mark
        self._sandbox = sandbox
        self._layers = layers
        self._redactor = redactor or Redactor()
        self._cancel = cancel or CancelToken()

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        """Run one command with ``/bin/sh -c``, as ``Commands`` promises.

        The command ends when its shell ends. Processes that it left in the background, in any session, carry the mark
        of this call in their environment; where ``/proc`` exists they are found by it and killed.
        """
        mark = f"{self._mark}:{uuid.uuid4().hex}"
        started = time.monotonic()
        output = _Output(log, self._redactor.stream())
        ended = False
        # The callbacks run in reverse order, and each of them even if another one raises.
        with ExitStack() as cleanup:
            launch = self._prepare_launch(command, cwd, mark)
            cleanup.callback(launch.close)
            cleanup.callback(output.close)
            # A cancellation can strike during the start, before ``process`` is assigned; the mark finds it even then.
            # Where the end of the command is the end of all that it started, there is nothing to look for.
            cleanup.callback(lambda: (ended and launch.info_descriptor is not None) or kill_marked(mark))
            monitor = ResourceMonitor(self._sandbox.confinement.limits) if self._sandbox else None
            process = _start(launch, cwd)
            cleanup.callback(_cancel, process)
            ended = output.collect(process, started + timeout, monitor, self._cancel)
            if not ended:
                _signal_group(process.pid, signal.SIGTERM)
                output.collect(process, time.monotonic() + _GRACE_SECONDS)
                _kill(process)
        seconds = time.monotonic() - started
        return CommandResult(process.returncode if ended else None, output.text(), seconds, output.log)

    def _prepare_launch(self, command: str, cwd: Path, mark: str) -> Launch:
        environment = {**self._environment, MARK_VARIABLE: mark}
        if self._sandbox is None:
            if layers := self._layers:
                environment = use_environments(environment, find_available(layers), layers.tree, layers.home)
            return Launch(["/bin/sh", "-c", command], environment)
        return self._sandbox.prepare_launch(command, environment, cwd)

    def kill_leftovers(self) -> int:
        """Kill processes that any command of this run left running; return their number."""
        return kill_marked(f"{self._mark}:") if self._mark else 0


class _Output:
    """The output of a command: beginning and end in memory, and, once too long to show, all of it in a log.

    Output is bounded while it is read, in memory and on disk: a command may print without end.
    """

    def __init__(self, log: Path, redaction: RedactedStream) -> None:
        self._path = log
        self._redaction = redaction
        self._file: IO[bytes] | None = None
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    @property
    def log(self) -> Path | None:
        """The file with the whole output, None when it was short."""
        return self._path if self._file else None

    def collect(
        self,
        process: subprocess.Popen[bytes],
        deadline: float,
        monitor: ResourceMonitor | None = None,
        cancel: CancelToken | None = None,
    ) -> bool:
        """Read until the shell has ended and all that it wrote is read; return False at ``deadline`` instead.

        Return False, with a line of output, also when the monitor finds that the command exceeds a limit. Raise the
        error of ``cancel`` when it is set.
        """
        pipe = process.stdout
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        with selectors.DefaultSelector() as selector, _watch_end(process) as end:
            selector.register(pipe, selectors.EVENT_READ)
            if end is not None:
                selector.register(end, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if cancel:
                    cancel.check()
                if monitor and (excess := monitor.find_excess(process.pid)):
                    self._add(self._redaction.feed(f"\n[stopped: {excess}]\n".encode()))
                    return False
                # In this order, everything that the shell wrote is in the pipe when it is read after the end.
                ended = process.poll() is not None
                if not ended and not selector.select(timeout=min(left, _POLL_SECONDS)):
                    continue
                data = self._read(pipe)
                if data:
                    self._add(self._redaction.feed(data))
                elif ended:
                    return True
                elif data == b"" and pipe in selector.get_map():
                    selector.unregister(pipe)  # the command closed its output and still runs
        return False

    def close(self) -> None:
        """Write what the redaction has buffered, and close the log."""
        try:
            self._add(self._redaction.close())
        finally:
            if self._file:
                self._file.close()

    def text(self) -> str:
        """Return the text to show, with U+FFFD for bytes that are not UTF-8."""
        if not self._file:
            return bytes(self._head).decode("utf-8", "replace")
        omitted = self._total - len(self._head) - len(self._tail)
        head = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._head))
        tail = bytes(self._tail).decode("utf-8", "replace").lstrip("\ufffd")
        return f"{head}\n[... {omitted} bytes left out ...]\n{tail}"

    def _read(self, pipe: IO[bytes]) -> bytes | None:
        """Return the next bytes, b"" at the end of the output, None when there are none yet."""
        try:
            return os.read(pipe.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return None

    def _add(self, data: bytes) -> None:
        self._total += len(data)
        if self._file is None:
            self._head += data
            if self._total <= _MAX_SHOWN_BYTES:
                return
            self._file = self._path.open("wb")
            data = bytes(self._head)
            self._tail = self._head[_MAX_SHOWN_BYTES // 2 :]
            del self._head[_MAX_SHOWN_BYTES // 2 :]
        else:
            self._tail += data
        del self._tail[: max(0, len(self._tail) - _MAX_SHOWN_BYTES // 2)]
        if self._total <= _MAX_LOG_BYTES:
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


@contextmanager
def _watch_end(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """Provide a descriptor that can be read once the process has ended, None where there is none (Linux has it)."""
    handle = None
    if sys.platform == "linux":
        with suppress(OSError):
            handle = os.pidfd_open(process.pid)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _cancel(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, kill what is left of its process group, and close its output.

    SIGTERM comes first, because ``launcher.py`` then kills all its descendants, even those without a mark.
    """
    try:
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_CANCEL_SECONDS)
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
