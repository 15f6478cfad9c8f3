"""Single keys and lines from a terminal, which is left as it was found."""

from __future__ import annotations

import os
import re
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

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
        if self.closed:
            yield
            return
        try:
            try:
                self._set_singly()
                yield
            finally:
                self._restore()
        finally:
            # Once more: a signal raises where the program stands, here included; a second one ends the process.
            self._restore()

    def press(self, within: float | None) -> str:
        """The keys that were pressed next, "" when none was within so many seconds; an arrow key is one escape."""
        if self.closed:
            if within is not None:
                select.select([], [], [], within)
            return ""
        ready, _, _ = select.select([self._number], [], [], within)
        return _SEQUENCE.sub("\x1b", self._read()) if ready else ""

    def line(self) -> str:
        """A line, as it was typed; "" at the end of the input."""
        typed = ""
        while not self.closed and not typed.endswith("\n"):
            typed += self._read()
        return typed.strip()

    def _read(self) -> str:
        """What is there, at least a key; bytes that are no text are shown as such."""
        try:
            data = os.read(self._number, _AT_ONCE)
        except OSError:  # the terminal is gone
            data = b""
        self.closed = not data
        return data.decode("utf-8", "replace")

    def _set_singly(self) -> None:
        try:
            tty.setcbreak(self._number)
        except termios.error:
            self.closed = True

    def _restore(self) -> None:
        # What fails, fails because the terminal is gone, and its attributes with it.
        with suppress(termios.error):
            termios.tcsetattr(self._number, termios.TCSANOW, self._found)
