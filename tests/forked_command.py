"""A command in a forked process: set up like a new process, and run to its end.

A fork of a process that has loaded the program needs no start of Python and no import.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def run_command(
    command: Callable[[], object],
    *,
    cwd: Path | str,
    environ: Mapping[str, str],
    streams: Sequence[int],
    crash_code: int = 1,
) -> int:
    """Run ``command`` in this forked process, and return the exit code that Python would end with.

    ``streams`` are the file descriptors of standard input, output and error. An exception prints its traceback and
    gives ``crash_code``. The caller ends the process with ``os._exit``.
    """
    for number, handle in enumerate(streams):
        os.dup2(handle, number)
    for handle in set(streams) - set(range(len(streams))):
        os.close(handle)
    # The inherited stream objects keep how they were opened, as on a terminal: open new ones, with Python's buffering.
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", buffering, "utf-8", errors=stream.errors, closefd=False)
        for number, buffering, stream in ((1, -1, sys.stdout), (2, 1, sys.stderr))
    )
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    tempfile.tempdir = None  # found again, with the new TMPDIR
    try:
        command()
    except SystemExit as ending:
        code = ending.code if ending.code is not None else 0
    except BaseException:  # noqa: BLE001 - as Python itself ends with any exception
        traceback.print_exc()
        code = crash_code
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1
