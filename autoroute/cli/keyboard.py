"""Single keys and lines from a terminal, which is left as it was found, by whatever program had it meanwhile."""

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

_LOOK_UP = 0.5
"""Seconds."""
END = "\x04"
"""Ctrl-D, where keys are read singly."""

_AT_ONCE = 4096
# What arrow and function keys send: it holds letters, and means none of them.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\x1b])?", re.DOTALL)


class Keyboard:
    """What a person types. ``closed`` once nothing more will come, which is at once where there is no terminal."""

    def __init__(self, stdin: TextIO) -> None:
        self.closed = False
        try:
            self._number = stdin.fileno()
            self._found = termios.tcgetattr(self._number)
        except (OSError, ValueError, termios.error):
            self.closed = True

    @contextmanager
    def singly(self) -> Iterator[None]:
        """Within it a key is there as soon as it is pressed, and is not echoed. What was typed before is forgotten."""
        with self._kept():
            if not self.closed:
                self._set_singly()
            yield

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within it another program has the terminal, and Ctrl-C is for that program alone."""
        with self._kept(), _interrupts_left_alone():
            yield

    def forget(self) -> None:
        """What was typed before this answers nothing that is asked from now on."""
        if not self.closed:
            with suppress(termios.error):  # the terminal is gone, and so is what was typed
                termios.tcflush(self._number, termios.TCIFLUSH)

    def press(self, within: float | None) -> str:
        """The keys that were pressed next, "" when none was within so many seconds; an arrow key is one escape."""
        if self.closed:
            if within is not None:
                select.select([], [], [], within)
            return ""
        return _SEQUENCE.sub("\x1b", self._read()) if self._is_pressed(math.inf if within is None else within) else ""

    def line(self) -> str:
        """A line, as it was typed; "" at the end of the input."""
        typed = ""
        while not self.closed and not typed.endswith("\n"):
            typed += self._read() if self._is_pressed(math.inf) else ""
        return typed.strip()

    def _is_pressed(self, within: float) -> bool:
        """Whether a key is there within so many seconds.

        It looks up now and then: a signal that the system gave to another thread wakes nobody here.
        """
        ends = time.monotonic() + within
        while True:
            left = ends - time.monotonic()
            ready, _, _ = select.select([self._number], [], [], max(0.0, min(left, _LOOK_UP)))
            if ready or left <= 0:
                return bool(ready)

    def _read(self) -> str:
        """What is there, at least a key; bytes that are no text are shown as such."""
        try:
            data = os.read(self._number, _AT_ONCE)
        except OSError:  # the terminal is gone
            data = b""
        self.closed = not data
        return data.decode("utf-8", "replace")

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """However the terminal is set within it, afterwards it is as it was found."""
        if self.closed:
            yield
            return
        try:
            try:
                yield
            finally:
                self._restore()
        finally:
            # Once more: a signal raises where the program stands, here included; a second one ends the process.
            self._restore()

    def _set_singly(self) -> None:
        try:
            tty.setcbreak(self._number)
        except termios.error:
            self.closed = True

    def _restore(self) -> None:
        # What fails, fails because the terminal is gone, and its attributes with it.
        with suppress(termios.error):
            termios.tcsetattr(self._number, termios.TCSANOW, self._found)


@contextmanager
def _interrupts_left_alone() -> Iterator[None]:
    """Within it SIGINT, which a terminal sends to all who have it, does nothing to this process."""

    def nothing(_number: int, _frame: FrameType | None) -> None:
        # A handler: it is gone in a program that is started, where SIG_IGN would stay.
        pass

    before = signal.signal(signal.SIGINT, nothing)
    try:
        yield
    finally:
        # After a SIGTERM it is another one by now: the second signal kills.
        if signal.getsignal(signal.SIGINT) is nothing:
            signal.signal(signal.SIGINT, before)
