"""The lock of a run. The system releases it however its holder ends, so it is never stale."""

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

_MAX_HOLDER_BYTES = 4_000
_MAX_COMMAND_CHARACTERS = 200
_RETRY_SECONDS = 0.2
"""How long to retry: a process that lists the runs holds the lock for an instant."""

Flock = Callable[[int, int], None]
"""``fcntl.flock``, or a double of a filesystem without locks. Raises ``OSError``."""


@contextmanager
def hold(path: Path, what: str, command: str = "", *, flock: Flock = fcntl.flock) -> Iterator[None]:
    """Hold the lock of this file within the block. ``what`` names the locked thing in messages.

    Raises ``WorkspaceError`` when another process holds it, and names that process, or when the filesystem has no
    locks. The text in the file is for people only: it may be about a process that has ended.
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
                hint="without locks two runs could collide: keep the repository on a local disk",
            ) from None
        holder = {"process": os.getpid(), "host": socket.gethostname(), "command": command[:_MAX_COMMAND_CHARACTERS]}
        try:
            os.truncate(handle, 0)
            os.pwrite(handle, json.dumps(holder).encode(), 0)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be written: {error.strerror}", hint="free some space there") from None
        yield
    finally:
        os.close(handle)


def _take(handle: int, flock: Flock) -> bool:
    """Take the lock, with a short retry; return whether that worked."""
    end = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_RETRY_SECONDS / 20)
        else:
            return True


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of this file. Does not change the file."""
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
    """Return the error that names the holder, as far as the file tells."""
    try:
        holder = json.loads(os.pread(handle, _MAX_HOLDER_BYTES, 0))
        process, host, command = holder["process"], holder["host"], holder["command"]
    except (ValueError, KeyError, TypeError):
        return WorkspaceError(f"{what} is already running in another process", hint="wait until it ends")
    elsewhere = "" if host == socket.gethostname() else f" on {host}"
    details = f" ({command})" if command else ""
    return WorkspaceError(
        f"{what} is already running in process {process}{elsewhere}{details}", hint="wait until it ends, or stop it"
    )
