"""Ctrl-C and SIGTERM end a run at once and in order: the first raises ``Cancelled``, a second one kills."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from autoroute.errors import Cancelled, ExitCode

_EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class Cancellation:
    """Within it, SIGINT and SIGTERM raise ``Cancelled`` where the main thread stands, at once or after a shield."""

    def __init__(self) -> None:
        self._shielded = False
        self._pending: Cancelled | None = None

    def __enter__(self) -> Cancellation:
        self._before = {number: signal.signal(number, self._cancel) for number in _EXIT_CODES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Within it a cancellation waits: what is written here is written whole."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._pending:
            pending, self._pending = self._pending, None
            raise pending

    def _cancel(self, number: int, _frame: FrameType | None) -> None:
        for known in _EXIT_CODES:
            signal.signal(known, signal.SIG_DFL)
        received = signal.Signals(number)
        error = Cancelled(f"stopped by {received.name}", exit_code=_EXIT_CODES[received])
        if not self._shielded:
            raise error
        self._pending = error
