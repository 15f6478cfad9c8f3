"""A git that is interrupted is waited for, wherever the signal struck, and keeps no process and no lock behind."""

from __future__ import annotations

import io
import subprocess
from typing import NoReturn

import pytest

from autoroute.errors import Cancelled
from autoroute.workspace.git import _end

LONG = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 3"


class Striking(io.BytesIO):
    """The standard input of a process whose first ``communicate`` a signal interrupts before it has begun."""

    def flush(self) -> NoReturn:
        raise Cancelled("stopped by SIGINT")


@pytest.mark.parametrize("struck", [True, False])
def test_a_process_ends_by_itself_though_a_signal_struck_at_the_start_of_its_reading(struck: bool) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/sh", "-c", LONG], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        if struck:
            original, process.stdin = process.stdin, Striking()
            with pytest.raises(Cancelled):
                process.communicate(b"", timeout=30)
            process.stdin = original
        _end(process, finish_seconds=30)
        assert process.returncode == 3
