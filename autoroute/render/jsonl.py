"""``--format jsonl``: every recorded event as one line of JSON on standard output, as the journal has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from autoroute.events import TRANSIENT, Event, to_json


class JsonLines:
    """One line per event. Fragments of replies are left out unless ``deltas`` is true."""

    def __init__(self, stdout: TextIO, *, deltas: bool) -> None:
        self._stdout = stdout
        self._deltas = deltas

    def show(self, event: Event) -> None:
        """Write the event's line and flush it."""
        if self._deltas or not isinstance(event, TRANSIENT):
            self._stdout.write(to_json(event) + "\n")
            self._stdout.flush()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do nothing: questions go to stderr."""
        yield

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: there is nothing to restore."""


def open_renderer(stdout: TextIO, _stderr: TextIO, deltas: bool) -> JsonLines:
    """See ``FORMATS``."""
    return JsonLines(stdout, deltas=deltas)
