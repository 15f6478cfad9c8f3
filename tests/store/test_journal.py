from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.errors import WorkspaceError
from autoroute.events import TRANSIENT, Event, Notice, TurnUpdate
from autoroute.routing import Phase
from autoroute.store import RunFolder
from autoroute.store.journal import SYNCED, Journal, NotRecorded, read_events
from tests.store.examples import RUN, contents

KEPT = [event for event in RUN if not isinstance(event, TRANSIENT)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal.create(tmp_path / "events.jsonl")
    for event in RUN:
        journal.append(event)
    journal.close()
    return tmp_path / "events.jsonl"


def events(path: Path) -> list[Event]:
    return contents(read_events(path))


def test_there_is_an_example_of_every_kind_of_event() -> None:
    assert {type(event) for event in RUN} == set(get_args(Event))
    assert set(SYNCED) <= set(get_args(Event))


def test_everything_but_what_only_passes_by_comes_back(path: Path) -> None:
    assert events(path) == KEPT


def test_a_line_is_ascii_json_with_number_time_and_checksum(path: Path) -> None:
    before = 0
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        record = json.loads(line)
        assert list(record)[:4] == ["schema", "seq", "time", "type"]
        assert list(record)[-1] == "chain"
        assert (record["schema"], record["seq"]) == (1, number)
        assert record["time"].endswith("Z")
        before = zlib.crc32(line[: line.rindex(b',"chain"')], before)
        assert int(record["chain"], 16) == before
        assert line.isascii()


def test_recording_returns_the_event_as_it_will_be_read_back(tmp_path: Path) -> None:
    now = datetime(2026, 11, 23, 8, 15, 30, 123_999, tzinfo=UTC)
    journal = Journal.create(tmp_path / "events.jsonl", lambda: now)
    recorded = [journal.append(event) for event in KEPT]
    assert read_events(tmp_path / "events.jsonl") == recorded
    assert [event.seq for event in recorded] == list(range(1, len(KEPT) + 1))
    assert {event.at for event in recorded} == {now.replace(microsecond=123_000)}


def test_a_transient_event_gets_a_time_and_no_number(tmp_path: Path) -> None:
    now = datetime(2026, 11, 23, 8, 15, 30, tzinfo=UTC)
    journal = Journal.create(tmp_path / "events.jsonl", lambda: now)
    update = TurnUpdate(phase=Phase.CODING, turn=1, kind="text", text="I ed")
    assert journal.append(update) == replace(update, at=now)
    assert (tmp_path / "events.jsonl").read_bytes() == b""


@given(cut=st.integers(min_value=0), junk=st.sampled_from([b"", b"\0" * 40, b'{"seq":', b"\xff\n", b"\n", b"x" * 300]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_after_any_torn_write_every_complete_event_is_there_and_the_next_one_survives(
    path: Path, cut: int, junk: bytes
) -> None:
    whole = path.read_bytes()
    torn = path.with_name("torn.jsonl")
    kept = whole[: cut % (len(whole) + 1)]
    torn.write_bytes(kept + junk)
    # Junk may be just what was missing.
    kept, junk = (kept + junk, b"") if whole.startswith(kept + junk) else (kept, junk)
    complete = kept.count(b"\n")
    journal = Journal.open(torn)
    after = Notice(level="info", text="after the crash")
    journal.append(after)
    journal.close()
    assert events(torn) == [*KEPT[:complete], after]
    tail = kept.rpartition(b"\n")[2]
    aside = torn.with_name(f"torn.jsonl.torn-{len(kept) - len(tail)}")
    if tail or junk:
        assert aside.read_bytes() == tail + junk


def test_a_changed_byte_ends_what_is_believed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    third = [offset for offset, byte in enumerate(data) if byte == ord("\n")][2]
    data[third + 60] ^= 1
    path.write_bytes(data)
    assert events(path) == KEPT[:3]


def test_a_line_that_was_taken_out_ends_it_too(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[5:]))
    assert events(path) == KEPT[:4]


@pytest.mark.parametrize("place", [1, 3, len(KEPT) - 1])
def test_a_good_line_of_another_journal_is_not_believed(path: Path, tmp_path: Path, place: int) -> None:
    other = Journal.create(tmp_path / "other.jsonl")
    for number in range(len(KEPT)):
        other.append(Notice(level="info", text=f"of another run, {number}"))
    lines, others = (file.read_bytes().splitlines(keepends=True) for file in (path, tmp_path / "other.jsonl"))
    path.write_bytes(b"".join((*lines[:place], others[place], *lines[place:])))
    assert events(path) == KEPT[:place]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 3), (2, 6), (len(KEPT) - 1, len(KEPT))])
def test_lines_that_are_there_twice_count_once_and_hide_nothing(path: Path, first: int, last: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((*lines[:last], *lines[first:last], *lines[last:])))
    assert events(path) == KEPT
    journal = Journal.open(path)
    journal.append(Notice(level="info", text="after it"))
    assert events(path) == [*KEPT, Notice(level="info", text="after it")]


def test_a_clock_that_jumps_by_years_neither_stops_nor_reorders_it(tmp_path: Path) -> None:
    times = iter([datetime(year, 1, 1, tzinfo=UTC) for year in (2026, 2036, 2016, 2026)])
    path = tmp_path / "events.jsonl"
    notices = [Notice(level="info", text=str(number)) for number in range(4)]
    journal = Journal.create(path, lambda: next(times))
    for notice in notices[:2]:
        journal.append(notice)
    journal.close()
    journal = Journal.open(path, lambda: next(times))
    for notice in notices[2:]:
        journal.append(notice)
    journal.close()
    assert events(path) == notices


def test_reading_changes_nothing(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"torn")
    before = path.read_bytes()
    assert events(path) == KEPT
    assert path.read_bytes() == before


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from autoroute.errors import WorkspaceError
from autoroute.events import Notice
from autoroute.store.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.create(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for _ in range(2):
    try:
        while True:
            journal.append(Notice(level="info", text="x" * 100))
    except WorkspaceError as error:
        print(error.message, error.exit_code)
"""


def test_a_write_that_fails_is_said_and_nothing_is_taken_after_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "cannot be written: File too large" in first
    assert first.endswith("73")
    assert "cannot be written any more: File too large" in second
    assert len(events(path)) == 4
    # The half of a line that the disk took was cut off again.
    assert path.read_bytes().count(b"\n") == 4
    assert path.read_bytes().endswith(b"\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_journal_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read"):
        read_events(tmp_path / "none.jsonl")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        Journal.create(tmp_path / "no/such/folder.jsonl")


def test_a_journal_that_was_deleted_takes_nothing_and_says_so(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "events.jsonl")
    journal.append(KEPT[0])
    (tmp_path / "events.jsonl").unlink()
    with pytest.raises(NotRecorded, match="it was deleted while the run was in progress") as raised:
        journal.append(KEPT[1])
    assert raised.value.lost


def test_only_the_user_can_read_it(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def peak(action: Callable[[], object]) -> int:
    """Return how many bytes an action held at once."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_list_of_runs_holds_no_more_than_one_record_of_a_journal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    journal = Journal.create(tmp_path / "events.jsonl")
    for event in RUN:
        journal.append(event)
    expected = folder.summary()
    for _ in range(200):
        journal.append(Notice(level="info", text="x" * 64 * 1024))
    journal.close()
    assert peak(folder.summary) < 1024 * 1024
    assert folder.summary() == expected
    # The control: all events together take what the file takes.
    assert peak(folder.events) > 200 * 64 * 1024


def test_a_record_that_is_too_long_to_be_one_of_ours_is_not_cut_off(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, size + 65 * 1024 * 1024)
    with pytest.raises(WorkspaceError, match=rf"record {len(KEPT) + 1} is longer than 64 MiB"):
        Journal.open(path)
    assert path.stat().st_size > size
    assert RunFolder(path.parent).summary().state == "unreadable"
