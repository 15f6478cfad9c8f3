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

from autoroute.events import Committed, Event, Notice, PhaseEnded, RunEnded
from autoroute.render.clean import clean
from autoroute.render.frame import draw, summary
from autoroute.render.result import Result
from autoroute.render.screen import Screen

_FRAMES_A_SECOND = 8


class LiveScreen:
    """Shows a run on a terminal. A thread of Rich's redraws the frame; events only bring its state up to date."""

    def __init__(self, stdout: TextIO, stderr: TextIO, clock: Callable[[], float]) -> None:
        self._console = Console(file=stderr, markup=False, highlight=False, emoji=False)
        self._result = Result(stdout)
        self._screen = Screen()
        self._clock = clock
        # Rich draws in a thread of its own.
        self._lock = threading.Lock()
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_FRAMES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, event: Event) -> None:
        """Bring the screen up to date."""
        with self._lock:
            self._screen.add(event, self._clock())
        match event:
            case Notice():
                style = "yellow" if event.level == "warning" else "dim"
                self._console.print(Text(f"{event.level}: {clean(event.text)}", style=style))
            case Committed():
                self._console.print(Text(f"  commit {event.commit[:12]} {clean(event.subject)}", style="dim"))
            case PhaseEnded():
                self._console.print(summary(self._screen, event.phase, event.outcome, event.seconds))
            case RunEnded():
                self._live.stop()
                if event.outcome != "approved":
                    self._console.print(Text(clean(event.message), style="red"))
                if event.hint:
                    self._console.print(Text(f"hint: {clean(event.hint)}", style="dim"))
        self._result.add(event)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the screen away while the user is asked something."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start(refresh=True)

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(self._screen, self._console.width, self._console.height, self._clock())


def open_renderer(stdout: TextIO, stderr: TextIO) -> LiveScreen:
    """See ``FORMATS``."""
    return LiveScreen(stdout, stderr, time.monotonic)
