"""A real pseudo-terminal to write to and to type at, and an emulator that says what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

import pyte

# One that is not there to its end is none of the text either.
_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*([@-~]|$)|\x1b][^\x07]*\x07|\x1b$|[\r\n]")
_PATIENCE = 20.0


class Terminal:
    """``file`` is the terminal, ``keyboard`` its other direction; leave the context before looking at ``lines``."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._chunks: list[bytes] = []
        self._changed = threading.Condition()
        self._seen = 0
        self._titles = 0

    def __enter__(self) -> Terminal:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))
        self.keyboard: TextIO = os.fdopen(os.dup(theirs), encoding="utf-8")
        self.file: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self.keyboard.close()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            with self._changed:
                self._chunks.append(data)
                self._changed.notify_all()

    @property
    def attributes(self) -> list[object]:
        """How the terminal is set: whether it echoes, waits for whole lines, and so on."""
        return termios.tcgetattr(self._ours)

    @property
    def text(self) -> str:
        """All that was ever shown, without colors, moves and line ends."""
        return _CONTROLS.sub("", self.written.decode(errors="ignore"))

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode(errors="surrogateescape"))

    def wait_for(self, words: str) -> None:
        """Wait until these words are shown, after those that were waited for last; where lines end does not count."""

        def shown() -> bool:
            place = self.text.find(words, self._seen)
            self._seen = self._seen if place < 0 else place + len(words)
            return place >= 0

        with self._changed:
            assert self._changed.wait_for(shown, _PATIENCE), f"{words!r} is not on the terminal"

    def settled(self) -> list[str]:
        """The lines, with all that was written until now; for as long as the context lasts."""
        self._settle()
        return self.lines

    def _settle(self) -> None:
        """Wait until all that was written is read: a title comes after it, which is not seen."""
        self._titles += 1
        title = f"\x1b]0;{self._titles}\x07"
        self.file.write(title)
        self.file.flush()
        with self._changed:
            assert self._changed.wait_for(lambda: title.encode() in self.written, _PATIENCE)
        self._seen = len(self.text)

    @contextmanager
    def person(self, *steps: tuple[str, str | Callable[[], object]]) -> Iterator[None]:
        """Somebody who sits there: each time the words are shown, they press the keys, or do something else."""
        missed: list[BaseException] = []
        self._settle()

        def act() -> None:
            try:
                for words, deed in steps:
                    self.wait_for(words)
                    self.press(deed) if isinstance(deed, str) else deed()
            except AssertionError as error:
                missed.append(error)
                self.press("\x04")  # whoever waits for a key waits no more

        sitting = threading.Thread(target=act)
        sitting.start()
        try:
            yield
        finally:
            sitting.join()
        assert not missed, missed[0]

    @property
    def written(self) -> bytes:
        return b"".join(self._chunks)

    @property
    def lines(self) -> list[str]:
        """All lines, those that scrolled away first, without the empty ones at the end."""
        screen = pyte.HistoryScreen(self.columns, self.rows, history=10_000)
        pyte.ByteStream(screen).feed(self.written)
        past = ["".join(row[column].data for column in range(self.columns)) for row in screen.history.top]
        lines = [line.rstrip() for line in [*past, *screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines
