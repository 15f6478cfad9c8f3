"""How fast an account is asked, by all runs on this machine together: its places, its minute, and what it has left.

Nothing here blocks, so that waiting can be shown and cancelled. When files fail nothing is paced, and a run goes on.
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

_NEXT_LOOK = 0.25
"""Seconds until a place that is taken, or a file that somebody writes, is looked at again."""
_LONGEST_WAIT = 120.0
"""Seconds. A limit that resets later is met, and recovery decides."""
_MINUTE = 60.0
_MOST_READ = 1 << 20

Account = tuple[str, str]


class Pacer:
    """Lets requests go. The system gives a place back when the process that holds it ends, however it ends."""

    def __init__(self, folder: Path, profiles: Mapping[str, ProviderProfile], now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._profiles = profiles
        self._now = now
        self._lock = threading.Lock()
        self._places: dict[Account, list[int]] = {}
        self._left: dict[Account, dict[str, Allowance]] = {}

    def enter(self, route: Route, tokens: int) -> float:
        """0.0 lets a request with a prompt of about so many tokens go; else the seconds after which to ask again."""
        account, profile = (route.provider, route.account), self._profiles[route.provider]
        wait = self._until_reset(account, tokens)
        if not wait and profile.max_concurrent is not None:
            wait = self._take_place(account, profile.max_concurrent)
        if not wait and profile.requests_per_minute is not None:
            wait = self._count(account, profile.requests_per_minute)
            if wait:
                self._give_back(account)
        return wait

    def leave(self, route: Route, allowances: Sequence[Allowance]) -> None:
        """The request is over; what its answer said is left of the account's limits."""
        account = (route.provider, route.account)
        self._give_back(account)
        if allowances:
            with self._lock:
                self._left.setdefault(account, {}).update(_binding(allowances))

    def _until_reset(self, account: Account, tokens: int) -> float:
        """Seconds until a limit of which too little is left resets; 0.0 when that is too long to wait for here."""
        with self._lock:
            left = tuple(self._left.get(account, {}).values())
        short = [allowance for allowance in left if allowance.remaining < _needed(allowance, tokens)]
        if not short:
            return 0.0
        wait = (max(allowance.resets_at for allowance in short) - self._now()).total_seconds()
        return wait if 0.0 < wait <= _LONGEST_WAIT else 0.0

    def _take_place(self, account: Account, count: int) -> float:
        """Hold one of the account's places."""
        try:
            for number in range(count):
                handle = _hold(self._path(account, f"place-{number}"))
                if handle is not None:
                    with self._lock:
                        self._places.setdefault(account, []).append(handle)
                    return 0.0
        except OSError:
            return 0.0
        return _NEXT_LOOK

    def _give_back(self, account: Account) -> None:
        """Any of the places held here: one is as good as another."""
        with self._lock:
            places = self._places.get(account)
            handle = places.pop() if places else None
        if handle is not None:
            with suppress(OSError):
                _let_go(handle)

    def _count(self, account: Account, most: int) -> float:
        """Enter a request in the account's last minute, if there is room; seconds until there is."""
        try:
            handle = _hold(self._path(account, "minute"))
            if handle is None:
                return _NEXT_LOOK
            try:
                now = self._now().timestamp()
                times = sorted(time for time in _read_times(handle) if now - _MINUTE < time <= now)
                if len(times) >= most:
                    return max(times[-most] + _MINUTE - now, 0.001)
                _write_times(handle, [*times, now])
            finally:
                _let_go(handle)
        except OSError:
            return 0.0
        return 0.0

    def _path(self, account: Account, name: str) -> Path:
        """A file of an account; names of providers and accounts need not be names of files."""
        digest = hashlib.sha256(json.dumps(account).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.{name}"


def _binding(allowances: Sequence[Allowance]) -> dict[str, Allowance]:
    """Of each kind the one that binds first: a day's, beside a minute's, mostly has more left. On a tie the longer."""
    by_room = sorted(allowances, key=lambda allowance: (-allowance.remaining, allowance.resets_at))
    return {allowance.kind: allowance for allowance in by_room}


def _needed(allowance: Allowance, tokens: int) -> int:
    """What must be left of a limit for a request with such a prompt; nobody knows how long its reply will be."""
    return max(tokens, 1) if allowance.kind in ("tokens", "input_tokens") else 1


def _hold(path: Path) -> int | None:
    """A handle that holds a file's lock until it is closed; None while somebody else's does. Raises ``OSError``.

    Each call opens the file anew, so that the threads of one process keep each other out too.
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


def _let_go(handle: int) -> None:
    """Unlock, then close: a command that starts just now has a copy of the handle until its program is loaded."""
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _read_times(handle: int) -> list[float]:
    """Times in seconds, one a line; a line of anything else, as a torn one, is none."""
    times = []
    for line in os.pread(handle, _MOST_READ, 0).split(b"\n"):
        try:
            times.append(float(line))
        except ValueError:
            continue
    return times


def _write_times(handle: int, times: Sequence[float]) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, "".join(f"{time!r}\n" for time in times).encode(), 0)
