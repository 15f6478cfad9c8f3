"""Single keys and lines from a terminal, whose settings are restored whatever happens meanwhile."""

from __future__ import annotations

import math
import os
import re
import select
import signal
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from autoroute.patterns import pattern

_POLL_SECONDS = 0.5
"""A signal that the system delivers to another thread does not end a ``select`` here, so it is short."""
END = "\x04"
"""Ctrl-D, as a single key press."""

_MAX_READ_BYTES = 4096
# Arrow and function keys send an escape sequence with letters in it, which must not count as those letters.
_ESCAPE_SEQUENCE = pattern(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\x1b])?", re.DOTALL)


class Keyboard:
    """The keyboard of a terminal. ``closed`` is True once no more input can come, at once without a terminal."""

    def __init__(self, stdin: TextIO) -> None:
        self.closed = False
        try:
            self._number = stdin.fileno()
            self._found = termios.tcgetattr(self._number)
        except (OSError, ValueError, termios.error):
            self.closed = True

    @contextmanager
    def single_keys(self) -> Iterator[None]:
        """Deliver each key as soon as it is pressed, without echo, within this block. Discard what was typed before."""
        with self._restored():
            if not self.closed:
                self._set_single_keys()
            yield

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give the terminal to another program within this block; Ctrl-C is for that program only."""
        with self._restored(), _ignore_interrupts():
            yield

    def discard_typed(self) -> None:
        """Discard what was typed so far, so that it cannot answer the next question."""
        if not self.closed:
            with suppress(termios.error):  # the terminal is gone, and what was typed with it
                termios.tcflush(self._number, termios.TCIFLUSH)

    def press(self, within: float | None) -> str:
        """Return the keys pressed next, or "" when none was within so many seconds. An arrow key counts as Escape."""
        if self.closed:
            if within is not None:
                select.select([], [], [], within)
            return ""
        return (
            _ESCAPE_SEQUENCE.sub("\x1b", self._read())
            if self._is_pressed(math.inf if within is None else within)
            else ""
        )

    def line(self) -> str:
        """Return a typed line without surrounding space; "" at the end of the input."""
        typed = ""
        while not self.closed and not typed.endswith("\n"):
            typed += self._read() if self._is_pressed(math.inf) else ""
        return typed.strip()

    def _is_pressed(self, within: float) -> bool:
        """Return whether a key is pressed within so many seconds."""
        ends = time.monotonic() + within
        while True:
            left = ends - time.monotonic()
            ready, _, _ = select.select([self._number], [], [], max(0.0, min(left, _POLL_SECONDS)))
            if ready or left <= 0:
                return bool(ready)

    def _read(self) -> str:
        """Return the keys that are waiting; bytes that are not UTF-8 become U+FFFD."""
        try:
            data = os.read(self._number, _MAX_READ_BYTES)
        except OSError:  # the terminal is gone
            data = b""
        self.closed = not data
        return data.decode("utf-8", "replace")

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """Restore the terminal's settings after this block."""
        if self.closed:
            yield
            return
        try:
            try:
                yield
            finally:
                self._restore()
        finally:
            # Twice: the handler of a first signal may raise in the call above; a second signal ends the process.
            self._restore()

    def _set_single_keys(self) -> None:
        try:
            tty.setcbreak(self._number)
        except termios.error:
            self.closed = True

    def _restore(self) -> None:
        # An error means that the terminal is gone, and its settings with it.
        with suppress(termios.error):
            termios.tcsetattr(self._number, termios.TCSANOW, self._found)


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore SIGINT in this process within this block: a terminal sends it to every process in front."""

    def nothing(_number: int, _frame: FrameType | None) -> None:
        # A handler, because a program that we start would inherit SIG_IGN.
        pass

    before = signal.signal(signal.SIGINT, nothing)
    try:
        yield
    finally:
        # A SIGTERM meanwhile has set another handler, which must stay: it lets a second signal kill.
        if signal.getsignal(signal.SIGINT) is nothing:
            signal.signal(signal.SIGINT, before)
