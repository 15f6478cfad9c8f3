"""``--format live``: a screen that is redrawn while a run works; each finished phase leaves a line above it."""

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
from autoroute.render.labels import describe_decision, describe_problem
from autoroute.render.layout import draw, summary
from autoroute.render.result import print_result
from autoroute.render.view_model import ViewModel

_FRAMES_PER_SECOND = 8
_MAX_JOIN_SECONDS = 2.0
"""How long the redrawing thread may take to end."""


class LiveScreen:
    """Shows a run on a terminal. A thread redraws the frame; events update its state."""

    def __init__(self, stdout: TextIO, stderr: TextIO, clock: Callable[[], float]) -> None:
        self._console = Console(file=stderr, markup=False, highlight=False, emoji=False)
        self._stdout = stdout
        self._view = ViewModel()
        self._clock = clock
        # Held while drawing, from the first look at the state to the last byte. Rich's own refresh thread would not
        # hold it: a line printed while that redraws a frame of another height erases lines above the frame.
        # Reentrant, for _draw.
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
        """Update the screen; the last event prints the result."""
        with self._lock:
            self._view.apply(event, self._clock())
            self._print(event)
        if isinstance(event, RunEnded):
            print_result(self._view.run, self._stdout, colored=self._stdout.isatty() and not self._console.no_color)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Remove the screen while the user is asked something."""
        with self._lock:
            self._live.stop()
        try:
            yield
        finally:
            with self._lock:
                # A new Live: the old one would first erase as many lines as its frame had.
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
        # A cancellation may have interrupted the thread while it took the lock, which is then never released.
        self._redrawing.join(_MAX_JOIN_SECONDS)
        self._live.stop()

    def _redraw(self) -> None:
        while not self._ended.wait(1 / _FRAMES_PER_SECOND):
            with self._lock:
                if self._live.is_started:
                    self._live.refresh()

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(self._view, self._console.width, self._console.height, self._clock())

    def _print(self, event: Event) -> None:
        """Print what an event leaves above the frame."""
        match event:
            case Notice():
                style = "yellow" if event.level == "warning" else "dim"
                self._console.print(Text(f"{event.level}: {clean(event.text)}", style=style))
            case Committed():
                self._console.print(Text(f"  commit {event.commit[:12]} {clean(event.subject)}", style="dim"))
            case RunResumed():
                self._console.print(Text(f"run {clean(event.run)} resumes at {event.phase}", style="dim"))
            case RecoveryNeeded():
                self._console.print(Text(f"! {event.phase:<9} {describe_problem(event)}", style="yellow"))
            case RecoveryDecided(by="policy"):
                # What a person decided was printed where they were asked.
                self._console.print(Text(f"  {describe_decision(event)}", style="cyan"))
            case GateDecided():
                words = f": {clean(event.words)}" if event.words else ""
                self._console.print(Text(f"  {event.phase} {event.decision}{words}", style="dim"))
            case PhaseEnded():
                self._console.print(summary(self._view, event.phase, event.outcome, event.seconds))
            case RunEnded():
                self._live.stop()
                if self._stdout.isatty():
                    return  # the result says it all, on the same terminal
                if event.outcome != "approved":
                    style = "yellow" if event.outcome in ("waiting", "limited") else "red"
                    self._console.print(Text(clean(event.message), style=style), soft_wrap=True)
                if event.hint:
                    # Wrapped by the terminal only, so that a command in it can be copied whole.
                    self._console.print(Text(f"hint: {clean(event.hint)}", style="dim"), soft_wrap=True)


def open_renderer(stdout: TextIO, stderr: TextIO, _deltas: bool) -> LiveScreen:
    """See ``FORMATS``."""
    return LiveScreen(stdout, stderr, time.monotonic)
