"""The JSON form of events, which journals and ``--format jsonl`` hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from autoroute.events import Event, NewerSchema, Notice, decode, encode, to_json
from tests.store.examples import RUN

AT = datetime(2026, 11, 23, 8, 15, 30, 123_000, tzinfo=UTC)
NOTICE = Notice(level="info", text="hello", seq=12, at=AT)
DATA = {
    "schema": 1,
    "seq": 12,
    "time": "2026-11-23T08:15:30.123Z",
    "type": "notice",
    "level": "info",
    "text": "hello",
}


def test_an_event_is_one_flat_object_with_its_envelope_first() -> None:
    assert encode(NOTICE) == DATA
    assert list(encode(NOTICE)) == list(DATA)


def test_what_is_not_recorded_yet_has_neither_number_nor_time() -> None:
    assert list(encode(Notice(level="info", text="hello"))) == ["schema", "type", "level", "text"]


def test_the_time_is_written_in_utc() -> None:
    there = timezone(timedelta(hours=-5))
    assert encode(replace(NOTICE, at=AT.astimezone(there))) == DATA


@pytest.mark.parametrize("event", RUN, ids=lambda event: event.type)
@pytest.mark.parametrize("stamp", [{}, {"seq": 3, "at": AT}], ids=["new", "recorded"])
def test_an_event_comes_back_from_its_json_form_as_it_was(event: Event, stamp: Mapping[str, Any]) -> None:
    stamped = replace(event, **stamp)
    assert decode(json.loads(to_json(stamped))) == stamped


def test_a_line_is_printable_ascii_whatever_a_text_holds() -> None:
    line = to_json(replace(NOTICE, text="\x1b[2J \x7f \x85 \u2028 \U000e0041 ✓ \n"))
    assert line.isascii()
    assert line.isprintable()


def test_a_field_that_a_newer_version_added_is_ignored() -> None:
    assert decode({**DATA, "mood": {"good": True}}) == NOTICE


def test_a_newer_schema_is_refused_in_words() -> None:
    with pytest.raises(NewerSchema, match="events of schema 2; the newest that this version reads is 1"):
        decode({**DATA, "schema": 2})


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": None},
        {"schema": 0},
        {"schema": "1"},
        {"type": "mystery"},
        {"time": "2026-11-23T08:15:30"},
        {"text": 7},
    ],
)
def test_anything_else_is_not_an_event(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode({**DATA, **wrong})
