"""The process of one conversation: lines of JSON in and out, with three clocks, and nothing left running."""

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

_CHUNK = 65_536
_LINE = ParseLimits(bytes=64 * 1024 * 1024, depth=128, names=2_000_000, lenient=True)
_GRACE = 2.0
"""Seconds that it has to end by itself."""
_SAID = 400
"""Characters of its last words that are shown."""
_LIFELINE = '(read -r _ </dev/fd/{end}; kill -9 0) </dev/null >/dev/null 2>&1 & exec "$@"'
"""Shell words that start a program, and end it with whoever holds the other end of a pipe.

A program whose orchestrator was killed would fail each tool call, and ask its model on and on.
"""


class Deadline:
    """The clocks of one turn; ``words`` say which one ran out."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._turn_ends = time.monotonic() + clocks.turn
        self._silent_until = time.monotonic() + clocks.first_byte
        self._words = f"no response within {clocks.first_byte:g} s"

    def heard(self) -> None:
        """Something of the reply has come."""
        self._silent_until = time.monotonic() + self._clocks.idle
        self._words = f"no new content for {self._clocks.idle:g} s"

    def left(self) -> float:
        """Seconds until the first clock runs out. Raises ``Unreachable`` when one has."""
        now = time.monotonic()
        if now >= self._turn_ends:
            raise Unreachable(f"the turn took longer than {self._clocks.turn:g} s")
        if now >= self._silent_until:
            raise Unreachable(self._words)
        return min(self._turn_ends, self._silent_until) - now


class CliProcess:
    """A running process. Written to and read from together, so that neither side waits for the other for ever."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], root: Path) -> None:
        """Start it. Raises ``ConfigError`` when that cannot be done."""
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the session
        self._command = str(command[0])
        self._has_spoken = False
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
                stderr=self._last_words,
                start_new_session=True,
                pass_fds=(far_end,),
            )
        except OSError as error:
            self._last_words.close()
            os.close(self._lifeline)
            self._close_wakers()
            raise ConfigError(f"{command[0]} cannot be run: {error.strerror}") from None
        finally:
            os.close(far_end)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        os.set_blocking(self._output.fileno(), False)

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def send(self, data: Mapping[str, Any]) -> None:
        """Say something; it goes out while the next line is waited for."""
        self._outgoing += dump_json(data) + b"\n"

    def read(self, deadline: Deadline) -> dict[str, Any]:
        """The next line.

        Raises ``Unreachable`` at a clock's or the process's end and after ``interrupt``, ``BadReply`` for what is no
        JSON, ``ConfigError`` for a program that ends before it has said anything.
        """
        while (line := self._take_line()) is None:
            self._exchange(deadline.left())
        return _parse(line)

    def unread(self) -> Iterator[dict[str, Any]]:
        """The lines that have come and were not read; nothing is waited for, and what cannot be read ends them."""
        with suppress(OSError):
            self._incoming += os.read(self._output.fileno(), _CHUNK)
        with suppress(BadReply):
            while (line := self._take_line()) is not None:
                yield _parse(line)

    def interrupt(self) -> None:
        """Have ``read`` raise ``Unreachable`` at once, from any thread; it is up to the reader to close the process."""
        with suppress(OSError):
            self._waker.send(b"!")

    def clear_interrupt(self) -> None:
        """Forget an interrupt that came after the last line was read."""
        with suppress(BlockingIOError):
            self._woken.recv(_CHUNK)

    def close(self) -> None:
        """End it, and all that it started.

        Its input stays open until it is gone: at its end a tool call that waits would fail, and the model be asked on.
        """
        try:
            self._signal(signal.SIGTERM)
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            with suppress(OSError):
                self._input.close()
            self._output.close()
            self._last_words.close()
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
            if self._searched > _LINE.bytes:
                raise BadReply(f"claude wrote a line of more than {_LINE.bytes} bytes")
            return None
        line = bytes(self._incoming[:end])
        del self._incoming[: end + 1]
        self._searched = 0
        return line

    def _exchange(self, seconds: float) -> None:
        """Read and write what can be, waiting for it at most so long."""
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
            written = os.write(self._input.fileno(), self._outgoing[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # it is gone: reading says so, with its last words
            return
        del self._outgoing[:written]

    def _receive(self) -> None:
        try:
            data = os.read(self._output.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not data:
            ending = self._ending()
            code = self._process.returncode
            if not self._has_spoken and code is not None and code > 0:
                raise ConfigError(f"{self._command} does not start: {ending}", hint="claude update, or claude.binary")
            raise Unreachable(f"claude {ending} in the middle of the conversation")
        self._has_spoken = True
        self._incoming += data

    def _ending(self) -> str:
        """What is said of a process that has ended in the middle."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        size = self._last_words.seek(0, os.SEEK_END)
        self._last_words.seek(max(0, size - _CHUNK))
        words = " ".join(self._last_words.read().decode("utf-8", "replace").split())[-_SAID:]
        code = self._process.returncode
        ending = "closed its output" if code is None else f"ended with exit code {code}"
        return f"{ending} ({words})" if words else ending


def _parse(line: bytes) -> dict[str, Any]:
    try:
        return read_object(line, _LINE)
    except Unreadable as error:
        said = line[:_SAID].decode("utf-8", "replace")
        raise BadReply(f"claude wrote a line that is {error}: {said!r}") from None
