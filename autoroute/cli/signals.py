"""Signals that end a run at once and in order: Ctrl-C, SIGTERM, a closed terminal.

The first of them raises ``Cancelled``; a second one kills, after printing how to resume. A second SIGHUP does not: a
closing terminal causes two, one from the shell and one from the system.
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
_MUST_FINISH = {
    "_weakrefset": frozenset({"_remove"}),
    "subprocess": frozenset({"__init__"}),
    "threading": frozenset({"__enter__", "__exit__", "notify", "start"}),
    "weakref": frozenset({"__call__", "_exitfunc", "remove"}),
}
"""Functions of the standard library, by module, that end soon and must not be interrupted.

An error raised while an object is finalized is printed and lost. An interrupted start leaves a thread or a process
that is not tracked; an interrupted ``__enter__`` or ``__exit__`` leaves a lock that is never released.
"""
_RETRY_SECONDS = 0.02
"""When a cancellation that arrived within one of those is tried again."""


class Cancellation:
    """A block in which the three signals raise ``Cancelled`` in the main thread, at once or after a shield.

    ``last_words`` go to standard error when a second signal kills. ``indivisible`` are functions with an event in hand
    that is not stored yet: an error raised right in one of them would lose it.
    """

    def __init__(self, last_words: str = "", indivisible: Sequence[Callable[..., object]] = ()) -> None:
        self._indivisible = {function.__code__ for function in indivisible}
        self._last_words = last_words.encode("utf-8", "replace")
        self._shielded = False
        self._stopped = False
        self._pending: Cancelled | None = None

    def __enter__(self) -> Cancellation:
        # nohup ignores SIGHUP so that a run outlives its terminal: keep it ignored.
        heeded = [number for number in _EXIT_CODES if number != signal.SIGHUP or not _is_ignored(number)]
        self._before = {number: signal.signal(number, self._cancel) for number in heeded}
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._deliver)
        self._timer = signal.setitimer(signal.ITIMER_REAL, 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_raising()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, *self._timer)

    def shield(self) -> Shield:
        """Return a block in which a cancellation waits, so that what is written there is written whole."""
        return Shield(self)

    def stop_raising(self) -> None:
        """Raise nothing from here on, because the end of the run is on record. Only a second signal kills."""
        self._stopped = True

    def defer(self) -> None:
        """Begin a shield."""
        self._shielded = True

    def deliver_deferred(self) -> None:
        """End a shield, and raise the cancellation that waited."""
        self._shielded = False
        if self._pending and not self._stopped:
            pending, self._pending = self._pending, None
            raise pending

    def _cancel(self, number: int, frame: FrameType | None) -> None:
        for known in _EXIT_CODES:
            signal.signal(known, signal.SIG_IGN if known == signal.SIGHUP else self._kill)
        received = signal.Signals(number)
        self._pending = Cancelled(f"stopped by {received.name}", exit_code=_EXIT_CODES[received])
        self._deliver(number, frame)

    def _deliver(self, _number: int, frame: FrameType | None) -> None:
        if self._shielded or self._stopped or not self._pending:
            return
        if self._is_indivisible(frame) or _must_finish(frame):
            signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)
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
    """The block that ``Cancellation.shield`` returns.

    A class and not a generator: a signal could raise within contextlib, around the generator.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation

    def __enter__(self) -> None:
        self._cancellation.defer()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancellation.deliver_deferred()


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def _must_finish(frame: FrameType | None) -> bool:
    while frame:
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__", "")
        if name == "__del__" or name in _MUST_FINISH.get(module, ()):
            return True
        frame = frame.f_back
    return False
