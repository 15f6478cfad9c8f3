"""The journal: one line of ASCII JSON for each event, numbered and checksummed, on disk before the run goes on.

    {"schema":1,"seq":1,"time":"2026-11-23T08:15:30.123Z","type":"run_started",...,"chain":"8a3f01c2"}

``chain`` is the CRC-32 of all bytes of the line before ``,"chain"``, continued from the previous line (0 for the
first), so that a valid line of another journal does not fit. A line counts when it ends with a newline, its checksum
fits and its number follows; a repeated line counts once. Everything after the first line that does not count is set
aside and cut off, so that a torn write can never swallow the record after it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from autoroute.errors import WorkspaceError, map_resource_error
from autoroute.events import (
    TRANSIENT,
    ArtifactAccepted,
    BaselineEnded,
    BaselineStarted,
    CanaryStarted,
    Committed,
    ConversationCompacted,
    Event,
    GateDecided,
    GateReached,
    NewerSchema,
    PhaseEnded,
    Published,
    RecoveryDecided,
    RunEnded,
    RunResumed,
    RunStarted,
    SetupEnded,
    SubtaskEnded,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    VerifyStarted,
    WorkspaceCompared,
    decode,
    to_json,
)
from autoroute.patterns import pattern
from autoroute.regular_files import MAX_FILE_BYTES, format_limit, open_regular
from autoroute.version import __version__

SYNCED = (
    RunStarted,
    RunResumed,
    TurnEnded,
    RecoveryDecided,
    ConversationCompacted,
    ToolStarted,
    ToolEnded,
    ArtifactAccepted,
    SubtaskEnded,
    SetupEnded,
    WorkspaceCompared,
    BaselineStarted,
    BaselineEnded,
    VerifyStarted,
    CanaryStarted,
    Committed,
    Published,
    PhaseEnded,
    GateReached,
    GateDecided,
    RunEnded,
)
"""Events that must survive a power cut before the engine continues; others reach the disk with the next of these."""

_LINE = pattern(rb'(\{"schema":\d+,"seq":(\d+),.*),"chain":"([0-9a-f]{8})"\}', re.DOTALL)
_TYPE = pattern(rb'\{"schema":\d+,"seq":\d+,"time":"[^"]*","type":"([a-z_]+)"')
_MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is read: four times the longest reply that is taken from a provider."""


class NotRecorded(WorkspaceError):
    """An event could not be written, so nothing that depends on it may happen.

    ``lost`` is True when the journal is gone, and the run cannot be resumed.
    """

    lost = False


class Reader:
    """The events of a journal file, one after the other, for as long as they count.

    After the last one, ``good`` is the number of bytes that count, and ``seq`` and ``checksum`` are those of the last
    record. ``wanted`` are the types of event that are yielded; others are checked and not decoded. A repository
    can bring a journal: no more than one record of it is held.
    """

    def __init__(self, path: Path, wanted: Collection[str] | None = None) -> None:
        self.good = self.seq = self.checksum = 0
        self._path = path
        self._wanted = wanted
        self._checksums = array("L")

    def __iter__(self) -> Iterator[Event]:
        """Yield the events. Raises ``WorkspaceError`` where the file or a whole record cannot be read."""
        try:
            with open_regular(self._path, MAX_FILE_BYTES) as file:
                yield from self._read(file)
        except OSError as error:
            raise WorkspaceError(
                f"{self._path} cannot be read: {error.strerror}", hint="check the file and its permissions"
            ) from None

    def _read(self, file: BinaryIO) -> Iterator[Event]:
        # What follows the last newline is not a line.
        while (line := file.readline(_MAX_LINE_BYTES)).endswith(b"\n"):
            found = _LINE.fullmatch(line, 0, len(line) - 1)
            if found is None:
                return
            if not self._is_repeated(found):
                checksum = zlib.crc32(found[1], self.checksum)
                if int(found[2]) != self.seq + 1 or checksum != int(found[3], 16):
                    return
                if self._is_wanted(line):
                    yield self._decode(found[1])
                self.seq, self.checksum = self.seq + 1, checksum
                self._checksums.append(checksum)
            self.good += len(line)
        if len(line) == _MAX_LINE_BYTES:
            # Nothing of autoroute's is that long. To cut it off as a torn line could lose something all the same.
            raise OSError(errno.EFBIG, f"record {self.seq + 1} is longer than {format_limit(_MAX_LINE_BYTES)}")

    def _is_repeated(self, found: re.Match[bytes]) -> bool:
        """Return whether a line repeats an earlier one, as after a copy that was interrupted and started again."""
        number = int(found[2])
        return 0 < number <= self.seq and self._checksums[number - 1] == int(found[3], 16)

    def _is_wanted(self, line: bytes) -> bool:
        head = _TYPE.match(line)
        return self._wanted is None or head is None or head[1].decode("ascii") in self._wanted

    def _decode(self, head: bytes) -> Event:
        # The line is whole, so nothing was torn. To cut it off would lose what another version knows.
        try:
            return decode(json.loads(head + b"}"))
        except NewerSchema as error:
            message = f"record {self.seq + 1} of the journal has {error} (autoroute {__version__})"
        except (ValueError, RecursionError):
            message = f"record {self.seq + 1} of the journal is not an event that autoroute {__version__} knows"
        raise WorkspaceError(message, hint="use the version of autoroute that wrote it")


def read_events(path: Path) -> list[Event]:
    """Return every event that counts. Raises ``WorkspaceError`` if the file cannot be read."""
    return list(Reader(path))


class Journal:
    """An open journal with one writer. After a write that failed it takes nothing more."""

    def __init__(self, path: Path, now: Callable[[], datetime], seq: int = 0, checksum: int = 0) -> None:
        self._path = path
        self._seq, self._checksum = seq, checksum
        self._now = now
        self._failure = ""
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    @classmethod
    def create(cls, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Journal:
        """Create a journal; its folder entry is on disk when this returns."""
        try:
            journal = cls(path, now)
            sync_folder(path.parent)
        except OSError as error:
            raise _failure(path, error) from None
        return journal

    @classmethod
    def open(cls, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Journal:
        """Open a journal for appending. A torn tail is copied to ``events.jsonl.torn-OFFSET`` and cut off."""
        reader = Reader(path)
        for _ in reader:
            pass
        try:
            if path.stat().st_size > reader.good:
                _set_aside(path, reader.good)
            return cls(path, now, reader.seq, reader.checksum)
        except OSError as error:
            raise _failure(path, error) from None

    def append(self, event: Event) -> Event:
        """Write an event down; return it with its number and time. A transient one gets its time and is not written.

        Raises ``NotRecorded`` when it cannot be written. A part of it that was written is then cut off, if possible:
        the event counts as not having happened.
        """
        now = self._now()
        at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if isinstance(event, TRANSIENT):
            return replace(event, at=at)
        if self._failure:
            raise NotRecorded(f"{self._path} cannot be written any more: {self._failure}", hint="check the disk")
        stamped = replace(event, seq=self._seq + 1, at=at)
        head = to_json(stamped).removesuffix("}").encode("ascii")
        checksum = zlib.crc32(head, self._checksum)
        # Set until the line is complete: a signal may raise between any two of these steps.
        self._failure = "a write was interrupted"
        try:
            self._write(b'%s,"chain":"%08x"}\n' % (head, checksum), synced=isinstance(event, SYNCED))
        except OSError as error:
            self._failure = error.strerror or str(error)
            raise _failure(self._path, error) from None
        self._seq += 1
        self._checksum = checksum
        self._failure = ""
        return stamped

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._handle)

    def _write(self, line: bytes, *, synced: bool) -> None:
        """Write all of a line, or leave nothing of it."""
        facts = os.fstat(self._handle)
        if not facts.st_nlink and not self._path.exists():
            raise FileNotFoundError(errno.ENOENT, "it was deleted while the run was in progress")
        size = facts.st_size
        try:
            written = 0
            while written < len(line):
                # A full disk takes a part first; the next write raises the error that says why.
                written += os.write(self._handle, line[written:])
            if synced:
                os.fdatasync(self._handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, size)
            raise


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk. Raises ``OSError``."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _set_aside(path: Path, good: int) -> None:
    """Copy the bytes after ``good`` to a second file, then cut them off: at any instant one of the two has them."""
    with path.open("r+b") as file, path.with_name(f"{path.name}.torn-{good}").open("wb") as aside:
        file.seek(good)
        aside.write(file.read())
        aside.flush()
        os.fsync(aside.fileno())
        sync_folder(path.parent)
        file.truncate(good)
        os.fsync(file.fileno())


def _failure(path: Path, error: OSError) -> NotRecorded:
    failure = map_resource_error(error)
    found = NotRecorded(
        f"{path} cannot be written: {error.strerror}", hint=failure.hint if failure else "check the disk"
    )
    if isinstance(error, FileNotFoundError):
        found.lost, found.hint = True, "start again: autoroute run TASK"
    return found
