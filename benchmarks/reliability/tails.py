"""Journals after a power cut, on a bad disk or badly copied: is every record kept, and does the next one survive?

python benchmarks/reliability/tails.py [HOW_MANY] [SEED]

The journal is from a real run. Each state of it is opened, gets one more event, and is read again.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forked import RUN, Worker, share

from autoroute.events import Event, Notice
from autoroute.store.journal import SYNCED, Journal, read_events

_AFTER = Notice(level="info", text="after the crash")
_SECTOR = 512
_MEMORY = Path("/dev/shm")
"""States that are only looked at need no disk."""


@dataclass(frozen=True)
class State:
    """A journal's bytes, and the minimum number of records that must be in it."""

    kind: str
    data: bytes
    durable: int


@dataclass(frozen=True)
class Source:
    """A run's journal: its bytes, its events, the end of each line; ``other`` has the lines of another run."""

    data: bytes
    events: Sequence[Event]
    ends: Sequence[int]
    other: Sequence[bytes]

    def complete(self, size: int) -> int:
        """Return how many lines are complete in the first ``size`` bytes."""
        return sum(end <= size for end in self.ends)


def cut(source: Source, chance: random.Random) -> State:
    """Cut the journal at any byte."""
    size = chance.randint(0, len(source.data))
    return State("cut at a byte", source.data[:size], source.complete(size))


def nul(source: Source, chance: random.Random) -> State:
    """Cut the journal and append NULs: the file system stored the new size but not the bytes."""
    state = cut(source, chance)
    return State("NUL tail", state.data + bytes(chance.randint(1, 4096)), state.durable)


def junk(source: Source, chance: random.Random) -> State:
    """Cut the journal and append old data of the disk."""
    state = cut(source, chance)
    return State("junk tail", state.data + chance.randbytes(chance.randint(1, 600)) + b"\n", state.durable)


def repeated(source: Source, chance: random.Random) -> State:
    """Repeat some lines, and what follows them."""
    lines = source.data.splitlines(keepends=True)
    first = chance.randrange(len(lines))
    last = min(len(lines), first + chance.randint(1, 5))
    data = b"".join((*lines[:last], *lines[first:last], *lines[last:]))
    return State("lines twice", data, len(lines))


def foreign(source: Source, chance: random.Random) -> State:
    """Append a valid line of another run's journal, with the next number."""
    lines = source.data.splitlines(keepends=True)
    place = chance.randint(1, min(len(lines), len(source.other)) - 1)
    return State("line of another run", b"".join((*lines[:place], source.other[place])), place)


def unsynced(source: Source, chance: random.Random) -> State:
    """Simulate a power cut: after the last synced record, any of the sectors may be missing."""
    synced = chance.choice([number for number, event in enumerate(source.events) if isinstance(event, SYNCED)])
    start = source.ends[synced]
    end = min(len(source.data), start + chance.randint(1, 6_000))
    data = bytearray(source.data[:end])
    for offset in range(start - start % _SECTOR, end, _SECTOR):
        if chance.random() < 0.5:
            begin, stop = max(offset, start), min(offset + _SECTOR, end)
            data[begin:stop] = bytes(max(0, stop - begin))
    return State("sectors lost after a sync", bytes(data), synced + 1)


KINDS: Sequence[Callable[[Source, random.Random], State]] = (cut, cut, nul, junk, repeated, foreign, unsynced)


def complaint(source: Source, state: State, folder: Path) -> str:
    """Return what is wrong with a state after it was opened and continued; "" if nothing is."""
    path = folder / "events.jsonl"
    path.write_bytes(state.data)
    journal = Journal.open(path)
    after = journal.append(_AFTER)
    journal.close()
    found = read_events(path)
    for torn in folder.glob("*.torn-*"):
        torn.unlink()
    if len(found) <= state.durable:
        return f"{state.durable - len(found) + 1} durable records lost"
    if found[-1] != after:
        return "the next record did not survive"
    return "" if found[:-1] == list(source.events[: len(found) - 1]) else "a record that was never written"


def is_wrong_naively(source: Source, state: State) -> bool:
    """Return whether a journal that appends, and skips invalid lines, loses the next record or accepts a wrong one."""
    text = state.data + json.dumps({"after": "the crash"}).encode() + b"\n"
    believed = []
    for line in text.split(b"\n"):
        with suppress(ValueError):
            json.loads(line)
            believed.append(line + b"\n")
    written = source.data.splitlines(keepends=True)[: len(believed) - 1]
    return believed != [*written, b'{"after": "the crash"}\n']


def journals(worker: Worker, cases: Sequence[Any]) -> Iterator[bytes]:
    """Return the journals of several runs."""
    for _ in cases:
        with worker.place() as place:
            place.run(RUN)
            yield place.journal.read_bytes() if place.journal else b""


def source_of(data: bytes, other: bytes) -> Source:
    """Return a journal as this benchmark needs it."""
    lines = data.splitlines(keepends=True)
    ends = [sum(map(len, lines[: number + 1])) for number in range(len(lines))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(data)
        events = read_events(path)
    return Source(data, events, ends, other.splitlines(keepends=True))


def main() -> int:
    """Print the findings; return 1 if a record was lost in any state."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    chance, started = random.Random(seed), time.monotonic()
    data, other = share(journals, [0, 1], at_once=1)
    source = source_of(data, other)
    states: Counter[str] = Counter()
    wrong_naively: Counter[str] = Counter()
    bad: list[tuple[State, str]] = []
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        for number in range(many):
            state = KINDS[number % len(KINDS)](source, chance)
            states[state.kind] += 1
            wrong_naively[state.kind] += is_wrong_naively(source, state)
            if found := complaint(source, state, Path(folder)):
                bad.append((state, found))
    print(f"seed {seed}: a journal of {len(source.events)} records and {len(data)} bytes, {many} states")
    print(f"{'state':<28}{'states':>8}{'bad':>6}   control: a naive journal is wrong")
    for kind, count in states.items():
        print(f"{kind:<28}{count:>8}{sum(state.kind == kind for state, _ in bad):>6}   {wrong_naively[kind]:>8}")
    print(f"durable records lost, appends that did not survive: {len(bad)}; took {time.monotonic() - started:.0f} s")
    for state, found in bad[:10]:
        print(f"{state.kind}: {found}; the last 200 bytes: {state.data[-200:]!r}")
    return 1 if bad or not sum(wrong_naively.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
