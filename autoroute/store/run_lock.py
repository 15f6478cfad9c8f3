"""Who works on a run: a lock that the system lets go of, however its holder ends, so that none is ever stale."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autoroute.errors import WorkspaceError

_LONGEST = 4_000
_COMMAND_SHOWN = 200
_MOMENT = 0.2

Flock = Callable[[int, int], None]
"""``fcntl.flock``, or what stands for a filesystem that has none. Raises ``OSError``."""


@contextmanager
def hold(path: Path, what: str, command: str = "", *, flock: Flock = fcntl.flock) -> Iterator[None]:
    """Hold the lock in this file. Raises ``WorkspaceError`` when another process does, and names it, or there is none.

    What the file says of a holder is for people alone: a process that is gone, or another that has its number by now,
    holds nothing.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        try:
            if not _take(handle, flock):
                raise _taken(what, handle)
        except OSError as error:
            raise WorkspaceError(
                f"{path} cannot be locked: {error.strerror}",
                hint="two runs could meet there: keep the repository on a filesystem that has locks (a local disk)",
            ) from None
        holder = {"process": os.getpid(), "host": socket.gethostname(), "command": command[:_COMMAND_SHOWN]}
        try:
            os.truncate(handle, 0)
            os.pwrite(handle, json.dumps(holder).encode(), 0)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be written: {error.strerror}", hint="free some space there") from None
        yield
    finally:
        os.close(handle)


def _take(handle: int, flock: Flock) -> bool:
    """Whether it is ours now. Somebody who lists the runs has it for a moment, and is waited for."""
    end = time.monotonic() + _MOMENT
    while True:
        try:
            flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_MOMENT / 20)
        else:
            return True


def is_held(path: Path) -> bool:
    """Whether a process holds the lock in this file; asking leaves no trace."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _taken(what: str, handle: int) -> WorkspaceError:
    """The error that says who holds it, as far as that is known here."""
    try:
        holder = json.loads(os.pread(handle, _LONGEST, 0))
        process, host, command = holder["process"], holder["host"], holder["command"]
    except (ValueError, KeyError, TypeError):
        return WorkspaceError(f"{what} is at work in another process", hint="wait for its end")
    elsewhere = "" if host == socket.gethostname() else f" on {host}"
    said = f" ({command})" if command else ""
    return WorkspaceError(
        f"{what} is at work in process {process}{elsewhere}{said}", hint="wait for its end, or stop it there"
    )
