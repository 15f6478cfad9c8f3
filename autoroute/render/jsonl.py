"""``--format jsonl``: every event as one line of JSON on standard output, and nothing else there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from autoroute.events import Event, encode
from autoroute.render.clean import ascii_json


class JsonLines:
    """A line an event, those that only pass by included."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def show(self, event: Event) -> None:
        """Write the event's line, at once."""
        self._stdout.write(ascii_json(encode(event)) + "\n")
        self._stdout.flush()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Nothing to hold back."""
        yield

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to restore."""


def open_renderer(stdout: TextIO, _stderr: TextIO) -> JsonLines:
    """See ``FORMATS``."""
    return JsonLines(stdout)
