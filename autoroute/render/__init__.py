"""What a person or a script sees of a run. Renderers see events only; progress goes to stderr, the result to stdout.

live.py           a screen that is redrawn, for a terminal (view_model.py is its state, layout.py its picture)
plain.py          one line for each event, for logs
jsonl.py          the events themselves, on stdout
result.py         how a run ended, on stdout, for live and plain
receipt_lines.py  a receipt for people, for ``autoroute show``
panel.py          why a phase cannot continue and what can be done, for a question at the terminal
labels.py         words for problems, options, decisions, times and durations
patch.py          a change, on stdout
clean.py          makes every text from elsewhere visible and harmless before it is shown
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
    """What shows a run. A context manager: leaving it restores the terminal, whatever happened."""

    def show(self, event: Event) -> None:
        """Show one event."""
        ...

    def pause(self) -> AbstractContextManager[None]:
        """Return a context in which the terminal is free for a question to the user."""
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
        hint = did_you_mean(requested, FORMATS, limit=1, otherwise=f"use {', '.join(FORMATS)}")
        raise UsageError(f"unknown format {requested!r} in --format", hint=hint)
    return requested


def open_renderer(format: str, *, stdout: TextIO, stderr: TextIO, deltas: bool = False) -> Renderer:
    """Return the renderer of a format from ``choose_format``; ``deltas`` adds fragments of replies to jsonl."""
    opener: Callable[[TextIO, TextIO, bool], Renderer] = import_module(FORMATS[format]).open_renderer
    return opener(stdout, stderr, deltas)
