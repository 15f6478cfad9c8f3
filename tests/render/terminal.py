"""A real pseudo-terminal to write to, and an emulator that says what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
from types import TracebackType
from typing import TextIO

import pyte


class Terminal:
    """``file`` is the terminal; leave the context before looking at ``lines``."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._chunks: list[bytes] = []

    def __enter__(self) -> Terminal:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))
        self.file: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            self._chunks.append(data)

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
