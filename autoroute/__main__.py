"""``autoroute`` and ``python -m autoroute``: the door, which is there at once; what is behind it takes a moment."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Nothing was done yet, so that nothing is left to be said or put away."""
    os._exit(_INTERRUPTED)


def main() -> NoReturn:
    """Run the command line; Ctrl-C while it is loaded ends the process without a traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)
    from autoroute.cli.app import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    finally:
        # What the process ends with is decided.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
