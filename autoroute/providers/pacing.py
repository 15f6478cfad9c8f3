"""The pace of requests to an account, shared by all runs on this machine: concurrency, rate, and remaining allowance.

No method blocks, so that the caller can show the wait and cancel it. If a file cannot be used, nothing is paced and the
run goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from autoroute.messages import Allowance
from autoroute.routing import ProviderProfile, Route

_POLL_SECONDS = 0.25
"""After this time, a slot that is in use or a file that another process writes is tried again."""
_MAX_WAIT_SECONDS = 120.0
"""A limit that resets later is not waited for here: the request meets it, and recovery decides."""
_MINUTE_SECONDS = 60.0
_MAX_FILE_BYTES = 1 << 20

AccountId = tuple[str, str]
"""The provider and the account's label."""


class Pacer:
    """Lets requests start. The kernel frees a slot when the process that holds it ends, even by ``kill -9``."""

    def __init__(self, folder: Path, profiles: Mapping[str, ProviderProfile], now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._profiles = profiles
        self._now = now
        self._lock = threading.Lock()
        self._slots: dict[AccountId, list[int]] = {}
        self._allowances: dict[AccountId, dict[str, Allowance]] = {}

    def acquire(self, route: Route, tokens: int) -> float:
        """Return 0.0 if a request with a prompt of about ``tokens`` may start, else the seconds until the next try."""
        account, profile = (route.provider, route.account), self._profiles[route.provider]
        wait = self._until_reset(account, tokens)
        if not wait and profile.max_concurrent is not None:
            wait = self._take_slot(account, profile.max_concurrent)
        if not wait and profile.requests_per_minute is not None:
            wait = self._count_request(account, profile.requests_per_minute)
            if wait:
                self._free_slot(account)
        return wait

    def release(self, route: Route, allowances: Sequence[Allowance]) -> None:
        """Note that the request has ended, and what its response reported as left of the account's limits."""
        account = (route.provider, route.account)
        self._free_slot(account)
        if allowances:
            with self._lock:
                self._allowances.setdefault(account, {}).update(_tightest(allowances))

    def _until_reset(self, account: AccountId, tokens: int) -> float:
        """Return the seconds until a limit with too little left resets; 0.0 if that is too long to wait for here."""
        with self._lock:
            allowances = tuple(self._allowances.get(account, {}).values())
        short = [allowance for allowance in allowances if allowance.remaining < _needed(allowance, tokens)]
        if not short:
            return 0.0
        wait = (max(allowance.resets_at for allowance in short) - self._now()).total_seconds()
        return wait if 0.0 < wait <= _MAX_WAIT_SECONDS else 0.0

    def _take_slot(self, account: AccountId, count: int) -> float:
        """Lock one of the account's slots; return 0.0, or the seconds until the next try."""
        try:
            for number in range(count):
                handle = _try_lock(self._path(account, f"slot-{number}"))
                if handle is not None:
                    with self._lock:
                        self._slots.setdefault(account, []).append(handle)
                    return 0.0
        except OSError:
            return 0.0
        return _POLL_SECONDS

    def _free_slot(self, account: AccountId) -> None:
        """Free any slot that this object holds: they are equivalent."""
        with self._lock:
            slots = self._slots.get(account)
            handle = slots.pop() if slots else None
        if handle is not None:
            with suppress(OSError):
                _unlock(handle)

    def _count_request(self, account: AccountId, limit: int) -> float:
        """Add a request to the account's last minute if the limit allows it; return the seconds until it does."""
        try:
            handle = _try_lock(self._path(account, "minute"))
            if handle is None:
                return _POLL_SECONDS
            try:
                now = self._now().timestamp()
                times = sorted(time for time in _read_times(handle) if now - _MINUTE_SECONDS < time <= now)
                if len(times) >= limit:
                    return max(times[-limit] + _MINUTE_SECONDS - now, 0.001)
                _write_times(handle, [*times, now])
            finally:
                _unlock(handle)
        except OSError:
            return 0.0
        return 0.0

    def _path(self, account: AccountId, name: str) -> Path:
        """Return the path of a file of an account. Names of providers and accounts may be invalid as file names."""
        digest = hashlib.sha256(json.dumps(account).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.{name}"


def _tightest(allowances: Sequence[Allowance]) -> dict[str, Allowance]:
    """Return the allowance of each kind with the least left; on a tie, the one that resets later.

    Some providers report a limit a day beside one a minute.
    """
    by_room = sorted(allowances, key=lambda allowance: (-allowance.remaining, allowance.resets_at))
    return {allowance.kind: allowance for allowance in by_room}


def _needed(allowance: Allowance, tokens: int) -> int:
    """Return what must be left of a limit for a request with such a prompt. The length of its reply is unknown."""
    return max(tokens, 1) if allowance.kind in ("tokens", "input_tokens") else 1


def _try_lock(path: Path) -> int | None:
    """Return a handle that locks a file until it is closed; None if another handle locks it. Raises ``OSError``.

    Each call opens the file anew. ``flock`` belongs to the open file, so threads of one process exclude each other too.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        os.close(handle)
        raise
    return handle


def _unlock(handle: int) -> None:
    """Unlock, then close. A command that is being started has a copy of the handle until its ``exec``."""
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _read_times(handle: int) -> list[float]:
    """Return the times in the file, in seconds since 1970, one a line. A torn or other line is skipped."""
    times = []
    for line in os.pread(handle, _MAX_FILE_BYTES, 0).split(b"\n"):
        try:
            times.append(float(line))
        except ValueError:
            continue
    return times


def _write_times(handle: int, times: Sequence[float]) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, "".join(f"{time!r}\n" for time in times).encode(), 0)
