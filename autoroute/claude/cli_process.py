"""The process of one conversation: JSON lines in and out, three timeouts, and no process left running."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoroute.errors import BadReply, ConfigError, Unreachable
from autoroute.parsing import ParseLimits, Unreadable, read_object
from autoroute.routing import Clocks
from autoroute.wire.payload import dump_json

_CHUNK_BYTES = 65_536
_LINE_LIMITS = ParseLimits(bytes=64 * 1024 * 1024, depth=128, names=2_000_000, lenient=True)
_EXIT_GRACE_SECONDS = 2.0
"""The process may use this time to exit after SIGTERM, before SIGKILL."""
_MAX_QUOTE_CHARACTERS = 400
"""Of the process's output that an error message quotes."""
_LIFELINE = '(read -r _ </dev/fd/{end}; kill -9 0) </dev/null >/dev/null 2>&1 & exec "$@"'
"""A shell script that starts the command, and kills it when the other end of the pipe is closed.

If autoroute is killed, each tool call of an orphaned Claude Code fails, and it keeps asking its model.
"""


class Deadline:
    """The timeouts of one turn: the first content, silence, and the whole turn."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._turn_ends = time.monotonic() + clocks.turn
        self._silent_until = time.monotonic() + clocks.first_byte
        self._message = f"no response within {clocks.first_byte:g} s"

    def note_activity(self) -> None:
        """Restart the silence timeout, because content of the reply arrived."""
        self._silent_until = time.monotonic() + self._clocks.idle
        self._message = f"no new content for {self._clocks.idle:g} s"

    def remaining(self) -> float:
        """Return the seconds until the next timeout. Raises ``Unreachable`` after a timeout."""
        now = time.monotonic()
        if now >= self._turn_ends:
            raise Unreachable(f"the turn took longer than {self._clocks.turn:g} s")
        if now >= self._silent_until:
            raise Unreachable(self._message)
        return min(self._turn_ends, self._silent_until) - now


class CliProcess:
    """A running process. Reads and writes take turns, so that neither side can block the other forever."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], root: Path) -> None:
        """Start the process in the folder ``root``. Raises ``ConfigError`` if it cannot be started."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._command = str(command[0])
        self._has_output = False
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._searched = 0
        far_end, self._lifeline = os.pipe()
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LIFELINE.format(end=far_end), "sh", *command],
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                pass_fds=(far_end,),
            )
        except OSError as error:
            self._stderr.close()
            os.close(self._lifeline)
            self._close_wakers()
            raise ConfigError(f"cannot run {command[0]}: {error.strerror}") from None
        finally:
            os.close(far_end)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        os.set_blocking(self._output.fileno(), False)

    @property
    def is_alive(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    def send(self, data: Mapping[str, Any]) -> None:
        """Queue a line; it is written while the next line is awaited."""
        self._outgoing += dump_json(data) + b"\n"

    def read_line(self, deadline: Deadline) -> dict[str, Any]:
        """Return the next line.

        Raises ``Unreachable`` after a timeout, after ``interrupt`` or at the end of the process, ``BadReply`` for a
        line that is not a JSON object, ``ConfigError`` for a process that fails before its first output.
        """
        while (line := self._take_line()) is None:
            self._exchange(deadline.remaining())
        return _parse(line)

    def unread_lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that have arrived and were not read, without waiting. A malformed line ends them."""
        with suppress(OSError):
            self._incoming += os.read(self._output.fileno(), _CHUNK_BYTES)
        with suppress(BadReply):
            while (line := self._take_line()) is not None:
                yield _parse(line)

    def interrupt(self) -> None:
        """Make ``read_line`` raise ``Unreachable`` at once. Any thread may call this; the reader closes the process."""
        with suppress(OSError):
            self._waker.send(b"!")

    def clear_interrupt(self) -> None:
        """Discard an interrupt that came after the last line was read."""
        with suppress(BlockingIOError):
            self._woken.recv(_CHUNK_BYTES)

    def close(self) -> None:
        """End the process and all its children.

        Its input stays open until it has exited. Else a pending tool call would fail, and Claude Code would ask the
        model again.
        """
        try:
            self._signal(signal.SIGTERM)
            self._process.wait(_EXIT_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            with suppress(OSError):
                self._input.close()
            self._output.close()
            self._stderr.close()
            os.close(self._lifeline)
            self._close_wakers()

    def _close_wakers(self) -> None:
        self._woken.close()
        self._waker.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _take_line(self) -> bytes | None:
        end = self._incoming.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._incoming)
            if self._searched > _LINE_LIMITS.bytes:
                raise BadReply(f"Claude Code wrote a line of more than {_LINE_LIMITS.bytes} bytes")
            return None
        line = bytes(self._incoming[:end])
        del self._incoming[: end + 1]
        self._searched = 0
        return line

    def _exchange(self, seconds: float) -> None:
        """Wait up to ``seconds`` until the process can be read or written, then do so once."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            if self._outgoing:
                selector.register(self._input, selectors.EVENT_WRITE)
            for key, _ in selector.select(seconds):
                if key.fileobj is self._woken:
                    raise Unreachable("the request was interrupted")
                if key.fileobj is self._input:
                    self._write()
                else:
                    self._receive()

    def _write(self) -> None:
        try:
            written = os.write(self._input.fileno(), self._outgoing[:_CHUNK_BYTES])
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # it has exited: the next read reports that
            return
        del self._outgoing[:written]

    def _receive(self) -> None:
        try:
            data = os.read(self._output.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            ending = self._describe_exit()
            code = self._process.returncode
            if not self._has_output and code is not None and code > 0:
                raise ConfigError(
                    f"{self._command} failed to start: {ending}", hint="run claude update, or set claude.binary"
                )
            raise Unreachable(f"Claude Code {ending} during the conversation")
        self._has_output = True
        self._incoming += data

    def _describe_exit(self) -> str:
        """Return how the process ended, with the end of its standard error."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_GRACE_SECONDS)
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _CHUNK_BYTES))
        quote = " ".join(self._stderr.read().decode("utf-8", "replace").split())[-_MAX_QUOTE_CHARACTERS:]
        code = self._process.returncode
        ending = "closed its output" if code is None else f"ended with exit code {code}"
        return f"{ending} ({quote})" if quote else ending


def _parse(line: bytes) -> dict[str, Any]:
    try:
        return read_object(line, _LINE_LIMITS)
    except Unreadable as error:
        quote = line[:_MAX_QUOTE_CHARACTERS].decode("utf-8", "replace")
        raise BadReply(f"Claude Code wrote an invalid line ({error}): {quote!r}") from None
