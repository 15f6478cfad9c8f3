"""The entry point of ``autoroute`` and ``python -m autoroute``. Loading the command line behind it takes a moment."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130
"""As ``ExitCode.INTERRUPTED``, which is not loaded yet."""


def _exit(_number: int, _frame: FrameType | None) -> None:
    """End the process at once: it has done nothing yet that needs a message or a cleanup."""
    os._exit(_INTERRUPTED)


def main() -> NoReturn:
    """Run the command line. Ctrl-C while it is loading ends the process without a traceback."""
    from autoroute.config.process import harden_process

    # Before anything that takes time: the environment holds keys, and what runs beside us may be a model's command.
    harden_process()
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _exit)
    from autoroute.cli.app import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    finally:
        # The exit code is decided: a late Ctrl-C must not replace it with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
