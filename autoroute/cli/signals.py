"""Ctrl-C, SIGTERM and a terminal that is closed end a run at once and in order.

The first of them raises ``Cancelled``, a second one kills, after last words. Not a second SIGHUP: a terminal that is
closed sends two of them, by its shell and by the system.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType

from autoroute.errors import Cancelled, ExitCode

_EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,
}
_BRIEF = {
    "_weakrefset": frozenset({"_remove"}),
    "subprocess": frozenset({"__init__"}),
    "threading": frozenset({"__enter__", "__exit__", "notify", "start"}),
    "weakref": frozenset({"__call__", "_exitfunc", "remove"}),
}
"""Functions of Python's own, by module, that are soon over and cannot be broken off.

As an object dies, Python prints an error that is raised and goes on. A start that is broken off leaves a thread or a
process that nobody knows of, a lock one that is never free again.
"""
_SOON = 0.02
"""Seconds until a cancellation that came in the middle of those is tried again."""


class Cancellation:
    """Within it, the three signals raise ``Cancelled`` where the main thread stands, at once or after a shield.

    ``last_words`` go to standard error when a second one kills. ``indivisible`` are functions with an event in hand
    that is not stored yet: an error raised right in one of them would lose it.
    """

    def __init__(self, last_words: str = "", indivisible: Sequence[Callable[..., object]] = ()) -> None:
        self._indivisible = {function.__code__ for function in indivisible}
        self._last_words = last_words.encode("utf-8", "replace")
        self._shielded = False
        self._settled = False
        self._pending: Cancelled | None = None

    def __enter__(self) -> Cancellation:
        # A run under nohup outlives its terminal: that was asked for.
        heeded = [number for number in _EXIT_CODES if number != signal.SIGHUP or not _is_ignored(number)]
        self._before = {number: signal.signal(number, self._cancel) for number in heeded}
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._deliver)
        self._timer = signal.setitimer(signal.ITIMER_REAL, 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, *self._timer)

    def shield(self) -> Shield:
        """Within it a cancellation waits: what is written here is written whole."""
        return Shield(self)

    def settle(self) -> None:
        """How it ended is decided: nothing is raised any more, and only a second signal kills."""
        self._settled = True

    def hold_back(self) -> None:
        """See ``shield``."""
        self._shielded = True

    def let_through(self) -> None:
        """What waited is raised here."""
        self._shielded = False
        if self._pending and not self._settled:
            pending, self._pending = self._pending, None
            raise pending

    def _cancel(self, number: int, frame: FrameType | None) -> None:
        for known in _EXIT_CODES:
            signal.signal(known, signal.SIG_IGN if known == signal.SIGHUP else self._kill)
        received = signal.Signals(number)
        self._pending = Cancelled(f"stopped by {received.name}", exit_code=_EXIT_CODES[received])
        self._deliver(number, frame)

    def _deliver(self, _number: int, frame: FrameType | None) -> None:
        if self._shielded or self._settled or not self._pending:
            return
        if self._is_indivisible(frame) or _in_the_middle(frame):
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        pending, self._pending = self._pending, None
        raise pending

    def _is_indivisible(self, frame: FrameType | None) -> bool:
        """Return whether an event could be lost between the run, the shield and the store."""
        return frame is not None and (frame.f_code in self._indivisible or frame.f_globals.get("__name__") == __name__)

    def _kill(self, number: int, _frame: FrameType | None) -> None:
        for known in (signal.SIGINT, signal.SIGTERM):
            signal.signal(known, signal.SIG_DFL)
        with suppress(OSError):
            os.write(2, self._last_words)
        os.kill(os.getpid(), number)


class Shield:
    """No generator: a cancellation could strike in the machinery around it."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation

    def __enter__(self) -> None:
        self._cancellation.hold_back()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancellation.let_through()


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def _in_the_middle(frame: FrameType | None) -> bool:
    while frame:
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__", "")
        if name == "__del__" or name in _BRIEF.get(module, ()):
            return True
        frame = frame.f_back
    return False
