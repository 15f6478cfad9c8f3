"""The journal: one line of ASCII JSON for each event, numbered and checksummed, on disk before the run goes on.

    {"seq":1,"time":"2026-11-23T08:15:30.123Z","event":{"type":"run_started",...},"crc":"8a3f01c2"}

``crc`` is the CRC-32 of all bytes of the line before ``,"crc"``. A line counts when it ends with a newline, its
checksum fits and its number follows; what comes after the first line that does not is kept aside and cut off, so that
a torn write can never swallow the record after it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autoroute import __version__
from autoroute.errors import WorkspaceError
from autoroute.events import (
    TRANSIENT,
    ArtefactAccepted,
    Committed,
    Compacted,
    Decided,
    Delivered,
    Event,
    GatePassed,
    GateReached,
    PhaseEnded,
    RunEnded,
    RunResumed,
    RunStarted,
    SetUp,
    SubtaskEnded,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    VerifyStarted,
    decode,
    encode,
)

SYNCED = (
    RunStarted,
    RunResumed,
    TurnEnded,
    Decided,
    Compacted,
    ToolStarted,
    ToolEnded,
    ArtefactAccepted,
    SubtaskEnded,
    SetUp,
    VerifyStarted,
    Committed,
    Delivered,
    PhaseEnded,
    GateReached,
    GatePassed,
    RunEnded,
)
"""Events that must survive a power cut before the engine goes on; the others reach the disk with the next of these."""

_LINE = re.compile(rb'(\{"seq":(\d+),"time":"([^"]*)","event":(.*)),"crc":"([0-9a-f]{8})"\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Record:
    """An event as the journal keeps it; ``time`` is UTC in ISO 8601."""

    seq: int
    time: str
    event: Event


def read(path: Path) -> tuple[list[Record], int]:
    """The good records, and how many bytes of the file they take. Raises ``WorkspaceError`` if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from None
    records: list[Record] = []
    good = 0
    for line in _lines(data):
        record = _parse(line, len(records) + 1)
        if record is None:
            break
        records.append(record)
        good += len(line) + 1
    return records, good


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines that are complete; what follows the last newline is none."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end]
        start = end + 1


def _parse(line: bytes, expected: int) -> Record | None:
    found = _LINE.fullmatch(line)
    if found is None or int(found[2]) != expected or f"{zlib.crc32(found[1]):08x}".encode() != found[5]:
        return None
    try:
        return Record(expected, found[3].decode("ascii"), decode(json.loads(found[4])))
    except (ValueError, RecursionError):
        # It is whole, so nothing was torn: cutting it off would lose what another version knows.
        raise WorkspaceError(
            f"record {expected} of the journal is of no kind that autoroute {__version__} knows",
            hint="go on with the version that wrote it",
        ) from None


class Journal:
    """An open journal with one writer. After a write that failed it takes nothing more."""

    def __init__(self, path: Path, records: int, now: Callable[[], datetime]) -> None:
        self._path = path
        self._seq = records
        self._now = now
        self._broken = False
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    @classmethod
    def create(cls, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Journal:
        """A new journal; its folder entry is on disk when this returns."""
        try:
            journal = cls(path, 0, now)
            _sync_folder(path.parent)
        except OSError as error:
            raise _failure(path, error) from None
        return journal

    @classmethod
    def open(cls, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Journal:
        """Go on with a journal. A torn tail is copied to ``events.jsonl.torn-OFFSET`` and cut off."""
        records, good = read(path)
        try:
            if path.stat().st_size > good:
                path.with_name(f"{path.name}.torn-{good}").write_bytes(path.read_bytes()[good:])
                with path.open("r+b") as file:
                    file.truncate(good)
                    os.fsync(file.fileno())
                _sync_folder(path.parent)
            return cls(path, len(records), now)
        except OSError as error:
            raise _failure(path, error) from None

    def append(self, event: Event) -> None:
        """Write an event down; raises ``WorkspaceError`` when the disk does not take it."""
        if isinstance(event, TRANSIENT):
            return
        if self._broken:
            raise WorkspaceError(f"{self._path} takes no more events after a failed write")
        time = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = json.dumps(encode(event), ensure_ascii=True, separators=(",", ":"))
        head = f'{{"seq":{self._seq + 1},"time":"{time}","event":{body}'.encode("ascii")
        line = b'%s,"crc":"%08x"}\n' % (head, zlib.crc32(head))
        self._broken = True  # until the line is there whole: a cancellation may strike between any two of these steps
        try:
            written = os.write(self._handle, line)
            if written == len(line) and isinstance(event, SYNCED):
                os.fdatasync(self._handle)
        except OSError as error:
            raise _failure(self._path, error) from None
        if written < len(line):
            raise _failure(self._path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        self._seq += 1
        self._broken = False

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):
            os.close(self._handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failure(path: Path, error: OSError) -> WorkspaceError:
    mend = "free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
    return WorkspaceError(f"{path} cannot be written: {error.strerror}", hint=f"{mend}, then run again")
