"""The JSON form that is written without pydantic is the one that pydantic writes, and reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from autoroute.events import Event
from autoroute.json_form import to_data
from autoroute.receipt import Receipt
from autoroute.routing import Phase
from tests.store.examples import RUN


@dataclass(frozen=True)
class Inner:
    phase: Phase
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    inner: Inner | None
    at: datetime
    rates: Mapping[str, float]
    anything: Mapping[str, Any]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-3))])


@pytest.mark.parametrize("event", RUN, ids=lambda event: type(event).__name__)
def test_each_event_is_written_as_pydantic_writes_it(event: Event) -> None:
    assert to_data(event) == TypeAdapter(type(event)).dump_python(event, mode="json")


def test_a_receipt_is_written_as_pydantic_writes_it() -> None:
    receipt = Receipt.of(RUN)
    assert to_data(receipt) == TypeAdapter(Receipt).dump_python(receipt, mode="json")


@given(
    st.builds(
        Outer,
        inner=st.none() | st.builds(Inner, phase=st.sampled_from(Phase), texts=st.lists(st.text()).map(tuple)),
        at=st.datetimes(timezones=ZONES),
        rates=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
        anything=st.dictionaries(st.text(), PLAIN, max_size=3),
    )
)
def test_any_value_is_written_as_pydantic_writes_it(value: Outer) -> None:
    assert to_data(value) == TypeAdapter(Outer).dump_python(value, mode="json")


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError):
        to_data({"a": object()})
