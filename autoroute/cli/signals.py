"""Ctrl-C and SIGTERM end a run at once and in order: the first raises ``Cancelled``, a second one kills."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autoroute.errors import Cancelled, ExitCode

_EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@contextmanager
def cancellation() -> Iterator[None]:
    """Within it, SIGINT and SIGTERM raise ``Cancelled`` where the main thread stands. What is stored stays stored."""

    def cancel(number: int, _frame: FrameType | None) -> None:
        for known in _EXIT_CODES:
            signal.signal(known, signal.SIG_DFL)
        name = signal.Signals(number).name
        raise Cancelled(f"stopped by {name}", exit_code=_EXIT_CODES[signal.Signals(number)])

    before = {number: signal.signal(number, cancel) for number in _EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
