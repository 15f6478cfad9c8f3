"""What a run needs from whoever calls it: somewhere to keep it, someone to watch it, and a safe hand-over."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from autoroute.events import Event
from autoroute.receipt import Receipt


class Observer(Protocol):
    """Whoever wants to see a run: a screen, a log, an exporter.

    It gets every event, in order, after the event is on disk, on the thread that drives the run. It cannot reach back:
    one that raises is dropped with a warning, and the run goes on.
    """

    def notify(self, event: Event) -> None:
        """Take one event."""
        ...


class Store(Protocol):
    """Where a run is kept. ``store.RunFolder`` is the usual one, which ``resume`` and ``show`` read."""

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    @property
    def path(self) -> Path:
        """The run's own folder."""
        ...

    @property
    def logs(self) -> Path:
        """The folder for output that was cut."""
        ...

    @property
    def patch(self) -> Path:
        """The file for the whole change, as a patch."""
        ...

    @property
    def begun(self) -> bool:
        """Whether an event is on record."""
        ...

    @property
    def resume_command(self) -> str:
        """The command that resumes the run, for messages; flags of ``autoroute resume`` may be appended to it."""
        ...

    def record(self, event: Event) -> Event:
        """Keep an event so that it survives a crash; return it with its number ``seq`` and its time ``at``.

        Raises ``NotRecorded`` when that is impossible, ``FileNotWritten`` when a file derived from it was not written.
        """
        ...

    def current_receipt(self) -> Receipt:
        """Return the receipt of what is on record."""
        ...

    def lock(self, command: str = "") -> AbstractContextManager[None]:
        """Hold the run within a block. Raises ``WorkspaceError`` when another process holds it."""
        ...


class Guard(Protocol):
    """What keeps an asynchronous cancellation, such as a signal handler that raises, from losing an event."""

    def shield(self) -> AbstractContextManager[object]:
        """Return a block within which nothing is raised asynchronously; what came meanwhile is raised at its end."""
        ...

    def stop_raising(self) -> None:
        """Raise nothing from here on: the end of the run is on record."""
        ...


class NoGuard:
    """The guard where nothing is raised asynchronously: a thread, a notebook, a test."""

    def shield(self) -> AbstractContextManager[object]:
        """Return a block that does nothing."""
        return nullcontext()

    def stop_raising(self) -> None:
        """Do nothing."""
