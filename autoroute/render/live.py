"""``--format live``: a screen that is redrawn as a run goes on; finished phases stay behind as a line each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from autoroute.events import (
    Committed,
    Event,
    GateDecided,
    Notice,
    PhaseEnded,
    RecoveryDecided,
    RecoveryNeeded,
    RunEnded,
    RunResumed,
)
from autoroute.render.clean import clean
from autoroute.render.labels import deed, problem
from autoroute.render.layout import draw, summary
from autoroute.render.result import Result
from autoroute.render.view_model import ViewModel

_FRAMES_A_SECOND = 8
_GOODBYE = 2.0
"""Seconds that the redrawing thread has to end."""


class LiveScreen:
    """Shows a run on a terminal. A thread redraws the frame; events bring its state up to date."""

    def __init__(self, stdout: TextIO, stderr: TextIO, clock: Callable[[], float]) -> None:
        self._console = Console(file=stderr, markup=False, highlight=False, emoji=False)
        self._result = Result(stdout)
        self._screen = ViewModel()
        self._clock = clock
        # Whoever draws holds it from the first look at the state to the last byte. Rich's own thread would not: a line
        # printed while it redraws a frame of another height wipes out lines above it. Reentrant, for _draw.
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._redrawing = threading.Thread(target=self._redraw, name="live screen", daemon=True)
        self._live = self._open_live()

    def _open_live(self) -> Live:
        return Live(
            console=self._console,
            get_renderable=self._draw,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, event: Event) -> None:
        """Bring the screen up to date."""
        with self._lock:
            self._screen.add(event, self._clock())
            self._print(event)
        self._result.add(event)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the screen away while the user is asked something."""
        with self._lock:
            self._live.stop()
        try:
            yield
        finally:
            with self._lock:
                # A new one: the old one would first wipe out as many lines as its frame had.
                self._live = self._open_live()
                self._live.start(refresh=True)

    def __enter__(self) -> LiveScreen:
        self._live.start()
        self._redrawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # A cancellation may have struck in the middle of taking the lock, which is then never free again.
        self._redrawing.join(_GOODBYE)
        self._live.stop()

    def _redraw(self) -> None:
        while not self._ended.wait(1 / _FRAMES_A_SECOND):
            with self._lock:
                if self._live.is_started:
                    self._live.refresh()

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(self._screen, self._console.width, self._console.height, self._clock())

    def _print(self, event: Event) -> None:
        """What stays behind of an event, above the frame."""
        match event:
            case Notice():
                style = "yellow" if event.level == "warning" else "dim"
                self._console.print(Text(f"{event.level}: {clean(event.text)}", style=style))
            case Committed():
                self._console.print(Text(f"  commit {event.commit[:12]} {clean(event.subject)}", style="dim"))
            case RunResumed():
                self._console.print(Text(f"run {clean(event.run)} goes on with {event.phase}", style="dim"))
            case RecoveryNeeded():
                self._console.print(Text(f"! {event.phase:<9} {problem(event)}", style="yellow"))
            case RecoveryDecided(by="policy"):
                # What a person has decided was said where they were asked.
                self._console.print(Text(f"  {event.by}: {deed(event)}", style="cyan"))
            case GateDecided():
                words = f": {clean(event.words)}" if event.words else ""
                self._console.print(Text(f"  {event.phase} {event.decision}{words}", style="dim"))
            case PhaseEnded():
                self._console.print(summary(self._screen, event.phase, event.outcome, event.seconds))
            case RunEnded():
                self._live.stop()
                if event.outcome != "approved":
                    style = "yellow" if event.outcome in ("waiting", "limited") else "red"
                    self._console.print(Text(clean(event.message), style=style), soft_wrap=True)
                if event.hint:
                    # Wrapped by the terminal alone: a command in it can be copied whole.
                    self._console.print(Text(f"hint: {clean(event.hint)}", style="dim"), soft_wrap=True)


def open_renderer(stdout: TextIO, stderr: TextIO, _deltas: bool) -> LiveScreen:
    """See ``FORMATS``."""
    return LiveScreen(stdout, stderr, time.monotonic)
