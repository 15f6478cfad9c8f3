"""What a person or a script sees of a run. Renderers see events only; the result goes to stdout, progress to stderr.

live.py     a screen that is redrawn, for a terminal (view_model.py is its state, layout.py its picture)
plain.py    a line an event, for logs
jsonl.py    the events themselves, on stdout
result.py   how it ended, on stdout, for live and plain
panel.py    why a phase cannot go on and what can be done, for whoever asks at the terminal
labels.py   how problems, ways out, times and waits are said
patch.py    a change, on stdout
clean.py    what every text from elsewhere passes through first
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from types import MappingProxyType, TracebackType
from typing import Protocol, TextIO

from autoroute.errors import UsageError
from autoroute.events import Event
from autoroute.text import did_you_mean


class Renderer(Protocol):
    """Shows a run. A context manager: leaving it restores the terminal, whatever happened."""

    def show(self, event: Event) -> None:
        """Show one event."""
        ...

    def pause(self) -> AbstractContextManager[None]:
        """Within it the terminal belongs to whoever asks the user something."""
        ...

    def __enter__(self) -> Renderer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


FORMATS: Mapping[str, str] = MappingProxyType(
    {"live": "autoroute.render.live", "plain": "autoroute.render.plain", "jsonl": "autoroute.render.jsonl"}
)
"""Name of a format -> the module whose ``open_renderer(stdout, stderr, deltas)`` makes it."""


def choose_format(requested: str | None, *, tty: bool, no_color: bool, dumb: bool, deltas: bool = False) -> str:
    """Return the requested format, else ``live`` where a terminal can show it, else ``plain``.

    Raises ``UsageError`` for an unknown format, and for ``deltas`` with any format but ``jsonl``.
    """
    if deltas and requested != "jsonl":
        raise UsageError("--deltas needs --format jsonl", hint="add --format jsonl, or leave --deltas out")
    if requested is None:
        return "live" if tty and not no_color and not dumb else "plain"
    if requested not in FORMATS:
        hint = did_you_mean(requested, FORMATS, limit=1, otherwise=f"there are {', '.join(FORMATS)}")
        raise UsageError(f"--format {requested}: no such format", hint=hint)
    return requested


def open_renderer(format: str, *, stdout: TextIO, stderr: TextIO, deltas: bool = False) -> Renderer:
    """Return the renderer of a format from ``choose_format``; ``deltas`` adds fragments of replies to jsonl."""
    opener: Callable[[TextIO, TextIO, bool], Renderer] = import_module(FORMATS[format]).open_renderer
    return opener(stdout, stderr, deltas)
