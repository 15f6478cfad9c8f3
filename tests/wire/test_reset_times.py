"""Every form in which providers state when a limit is reset."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoroute.messages import Allowance, Message, Reply, Text
from autoroute.wire.reset_times import (
    SpentPlan,
    find_reset_time,
    find_spent_limit,
    find_spent_plan,
    parse_reset_text,
    read_allowances,
    read_retry_after,
)
from tests.wire.raw_server import serve, stream
from tests.wire.speakers import SPEAKERS, SpokenReply, model, request

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MONTH = timedelta(days=35)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ("0", 0),
        ("-5", 0),
        ("-301", None),
        ("86400", 86_400),
        ("3024000", 3_024_000),
        ("3024001", None),
        ("1795435260", 60),
        ("1795435260.5", 60.5),
        ("1795435260500", 60.5),
        ("1795435100", 0),
        ("1795434000", None),
        ("120ms", 0.12),
        ("20s", 20),
        ("1m30s", 90),
        ("1m30.5s", 90.5),
        ("6m0s", 360),
        ("2h", 7200),
        ("1h2m3.5s", 3723.5),
        ("2d", 172_800),
        ("500µs", 0.0005),
        ("2026-11-23T12:01:00Z", 60),
        ("2026-11-23T12:01:00.123456789Z", 60.123456),
        ("2026-11-23T13:01:00+01:00", 60),
        ("2026-11-23 20:01:00 +0800", 60),
        ("2026-11-23T12:01:00", 60),
        ("2026-11-23T12:01", 60),
        ("2026-11-23 12:01:00 UTC", 60),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 14:01:00 +0200", 60),
        ("Mon, 23 Nov 2026 11:58:00 GMT", 0),
        ("Mon, 23 Nov 2026 11:54:00 GMT", None),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("2026-13-23T12:01:00Z", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e30", None),
        ("9" * 20, None),
        ("9" * 5000, None),
        ("5 apples", None),
        ("", None),
    ],
)
def test_every_form_of_a_header_is_read(value: str, seconds: float | None) -> None:
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert read_retry_after({"retry-after": value}, NOW) == expected
    assert find_reset_time({}, [value], "", NOW) == expected


def test_milliseconds_precede_seconds() -> None:
    assert read_retry_after({"retry-after-ms": "1500", "retry-after": "9"}, NOW) == NOW + timedelta(seconds=1.5)
    assert read_retry_after({"retry-after-ms": "soon", "retry-after": "9"}, NOW) == NOW + timedelta(seconds=9)


@pytest.mark.parametrize("hours", [8, 0, -3.5])
def test_a_time_without_a_zone_is_in_the_providers_zone(hours: float) -> None:
    local = NOW + timedelta(hours=hours, minutes=1)
    words = f"Your limit will reset at {local:%Y-%m-%d %H:%M:%S}"
    assert parse_reset_text(words, NOW, utc_offset=hours) == NOW + timedelta(minutes=1)
    field = f"{local:%Y-%m-%dT%H:%M:%S}"
    assert find_reset_time({}, [field], "", NOW, utc_offset=hours) == NOW + timedelta(minutes=1)
    assert parse_reset_text(words + "Z", NOW, utc_offset=hours) == parse_reset_text(words + "Z", NOW)


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("You've hit your 5-hour limit · resets 3:30am (UTC)", "2026-11-24T03:30:00Z"),
        ("You've hit your limit · resets 8pm (America/New_York)", "2026-11-24T01:00:00Z"),
        ("You've hit your weekly limit · resets Nov 27, 8pm (America/New_York)", "2026-11-28T01:00:00Z"),
        ("limit · resets Nov 27 at 8:15 PM (Europe/Berlin) · progress saved", "2026-11-27T19:15:00Z"),
        ("resets Nov 27, 2026, 8pm (UTC)", "2026-11-27T20:00:00Z"),
        ("spend limit · resets Dec 1 (America/Los_Angeles)", "2026-12-01T08:00:00Z"),
        ("5-hour limit reached ∙ resets 3pm", "2026-11-23T15:00:00Z"),
        ("Free quota used (30 requests / 5h). Resets at 13:00 UTC. Top up", "2026-11-23T13:00:00Z"),
        ("resets 12am (UTC)", "2026-11-24T00:00:00Z"),
        ("resets 12pm (UTC)", "2026-11-23T12:00:00Z"),
        ("Claude AI usage limit reached|1795446000", "2026-11-23T15:00:00Z"),
        ("Usage limit reached for 5 hour. Your limit will reset at 2026-11-23 15:00:00", "2026-11-23T15:00:00Z"),
        ("overage blocked. Resets at 2026-11-23T15:00:00Z", "2026-11-23T15:00:00Z"),
        ("You will regain access on 2026-12-01 at 00:00 UTC.", "2026-12-01T00:00:00Z"),
        ("Your limit will reset at 1795446000000", "2026-11-23T15:00:00Z"),
        ("您的限额将在 2026-11-23 15:00:00 重置。", "2026-11-23T15:00:00Z"),
        ("usage limit, resets at 2026-11-23T15:00:00+01:00, please try again later", "2026-11-23T14:00:00Z"),
        ("resets in 2h 14m", "2026-11-23T14:14:00Z"),
        ("Your limit resets in 3 days", "2026-11-26T12:00:00Z"),
        ("Please try again in 20s. Visit https://x.test/20 to learn more", "2026-11-23T12:00:20Z"),
        ("Please try again in 6m0s.", "2026-11-23T12:06:00Z"),
        ("Limit 6000, Used 5900. Please try again in 1h2m3.5s", "2026-11-23T13:02:03.5Z"),
        ("Please retry in 12.5s.", "2026-11-23T12:00:12.5Z"),
        ("Your quota will reset after 13h22m9s.", "2026-11-24T01:22:09Z"),
        ("Please wait 90 seconds before retrying", "2026-11-23T12:01:30Z"),
        ("wait for 1 hour, 2 minutes and 3 seconds", "2026-11-23T13:02:03Z"),
        ("retry in 500 milliseconds", "2026-11-23T12:00:00.5Z"),
    ],
)
def test_messages_that_state_a_time(words: str, moment: str) -> None:
    assert parse_reset_text(words, NOW) == at(moment)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Overloaded",
        "try again later",
        "resets soon",
        "resets 8pm (Atlantis/Center)",
        "resets 8pm (../../etc/passwd)",
        "resets 8pm (America)",
        "resets 8pm (at noon)",
        "resets 13pm (UTC)",
        "resets 0am (UTC)",
        "resets 25:00 (UTC)",
        "resets 10:75 (UTC)",
        "resets 8",
        "resets Feb 30, 8pm (UTC)",
        "resets Nov 20, 8pm (UTC)",
        "resets in 3 months",
        "resets in 36 days",
        "limit of 10 requests in 60 seconds",
        "reset at 2026-99-09 05:38:28",
        "reset at 2026-09-09 05:38:28",
        "your retry number 3",
        "usage limit reached|17",
        "wait " + "9" * 3000 + " days",
    ],
)
def test_messages_that_state_no_time(words: str) -> None:
    assert parse_reset_text(words, NOW) is None


@pytest.mark.parametrize(
    ("now", "words", "moment"),
    [
        # A minute on either side of a reset, and of midnight.
        ("2026-11-23T20:02:00Z", "resets 8pm (UTC)", "2026-11-23T20:02:00Z"),
        ("2026-11-23T20:05:00Z", "resets 8pm (UTC)", "2026-11-23T20:05:00Z"),
        ("2026-11-23T20:05:01Z", "resets 8pm (UTC)", "2026-11-24T20:00:00Z"),
        ("2026-11-23T23:59:00Z", "resets 12am (UTC)", "2026-11-24T00:00:00Z"),
        ("2026-11-24T00:02:00Z", "resets 11:58pm (UTC)", "2026-11-24T00:02:00Z"),
        ("2026-11-24T03:00:00Z", "resets 11pm (America/New_York)", "2026-11-24T04:00:00Z"),
        ("2026-12-31T23:00:00Z", "resets Jan 2, 1am (UTC)", "2027-01-02T01:00:00Z"),
        ("2027-01-01T00:01:00Z", "resets Dec 31, 11:58pm (UTC)", "2027-01-01T00:01:00Z"),
        ("2028-02-20T00:00:00Z", "resets Feb 29, 1am (UTC)", "2028-02-29T01:00:00Z"),
        # Spring: 2:30 does not happen, and is read with the offset from before.
        ("2026-03-08T05:00:00Z", "resets 2:30am (America/New_York)", "2026-03-08T07:30:00Z"),
        ("2026-03-29T00:00:00Z", "resets 2:30am (Europe/Berlin)", "2026-03-29T01:30:00Z"),
        ("2026-03-08T05:00:00Z", "resets 3am (America/New_York)", "2026-03-08T07:00:00Z"),
        ("2026-03-08T05:00:00Z", "resets 8pm (America/New_York)", "2026-03-09T00:00:00Z"),
        # Autumn: 1:30 and 2:30 happen twice; the next of the two counts.
        ("2026-11-01T04:00:00Z", "resets 1:30am (America/New_York)", "2026-11-01T05:30:00Z"),
        ("2026-11-01T05:45:00Z", "resets 1:30am (America/New_York)", "2026-11-01T06:30:00Z"),
        ("2026-11-01T06:45:00Z", "resets 1:30am (America/New_York)", "2026-11-02T06:30:00Z"),
        ("2026-10-24T23:00:00Z", "resets 2:30am (Europe/Berlin)", "2026-10-25T00:30:00Z"),
        ("2026-10-25T00:45:00Z", "resets 2:30am (Europe/Berlin)", "2026-10-25T01:30:00Z"),
        ("2026-10-25T00:45:00Z", "resets 8pm (Europe/Berlin)", "2026-10-25T19:00:00Z"),
    ],
)
def test_a_time_of_day_is_the_next_one_in_its_zone(now: str, words: str, moment: str) -> None:
    assert parse_reset_text(words, at(now)) == at(moment)


@pytest.mark.parametrize("off", [timedelta(hours=7), timedelta(days=-400), timedelta(0)])
def test_a_wrong_clock_on_this_machine_does_not_matter(off: timedelta) -> None:
    ours = NOW + off
    date = {"date": "Mon, 23 Nov 2026 12:00:00 GMT"}
    in_a_minute = ours + timedelta(minutes=1)
    for value in ("Mon, 23 Nov 2026 12:01:00 GMT", "2026-11-23T12:01:00Z", "1795435260", "60", "1m"):
        assert read_retry_after({**date, "retry-after": value}, ours) == in_a_minute
    assert find_reset_time(date, (), "resets 12:01pm (UTC)", ours) == in_a_minute
    assert find_reset_time(date, (), "reset at 2026-11-23 20:01:00", ours, utc_offset=8) == in_a_minute
    left = {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "2026-11-23T12:01:00Z"}
    assert read_allowances({**date, **left}, ours) == (Allowance("tokens", 5, in_a_minute),)


def test_an_invalid_date_header_is_ignored() -> None:
    assert read_retry_after({"date": "yesterday", "retry-after": "2026-11-23T12:01:00Z"}, NOW) == NOW + timedelta(
        minutes=1
    )


UNIFIED = "anthropic-ratelimit-unified"


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ({"status": "rejected", "representative-claim": "five_hour"}, "five_hour"),
        ({"representative-claim": "seven_day"}, "week"),
        ({"representative-claim": "seven_day_opus"}, "week"),
        ({"representative-claim": "seven_day_sonnet"}, "week"),
        ({"representative-claim": "seven_day_overage_included"}, "week"),
        ({"representative-claim": "overage"}, "spend"),
        ({"representative-claim": "novelty"}, ""),
        ({"status": "rejected", "7d-status": "rejected", "5h-status": "allowed"}, "week"),
        ({"status": "rejected"}, ""),
        ({"overage-status": "rejected"}, "spend"),
        ({"overage-status": "allowed"}, ""),
        ({"status": "allowed"}, None),
        ({}, None),
    ],
)
def test_the_limit_of_a_plan_is_read_from_the_headers(headers: dict[str, str], limit: str | None) -> None:
    plan = find_spent_plan({f"{UNIFIED}-{name}": value for name, value in headers.items()})
    assert (plan.limit if plan else None) == limit


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({f"{UNIFIED}-reset": "1795438800", f"{UNIFIED}-5h-reset": "1795442400", "retry-after": "9"}, 3600),
        ({f"{UNIFIED}-5h-reset": "1795442400", f"{UNIFIED}-7d-reset": "1795446000", "retry-after": "9"}, 7200),
        ({f"{UNIFIED}-reset": "never", "retry-after": "9"}, 9),
        ({}, None),
    ],
)
def test_the_reset_of_a_plan_precedes_all_others(headers: dict[str, str], seconds: int | None) -> None:
    plan = SpentPlan("five_hour", (f"{UNIFIED}-reset", f"{UNIFIED}-5h-reset"))
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert find_reset_time(headers, (), "", NOW, plan=plan) == expected


REQUESTS = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"}
TOKENS = {"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "2m0s"}


@pytest.mark.parametrize(
    ("headers", "limit", "fields", "words", "seconds"),
    [
        ({"retry-after": "5", **REQUESTS}, "requests", ["9"], "try again in 20s", 5),
        ({**REQUESTS, **TOKENS}, "", ["9"], "try again in 20s", 60),
        ({**REQUESTS, **TOKENS}, "tokens", [], "", 60),
        (TOKENS, "tokens", ["9"], "", 120),
        (TOKENS, "requests", ["9"], "try again in 20s", 9),
        (TOKENS, "", ["soon", ""], "try again in 20s", 20),
        ({**REQUESTS, "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3m"}, "", [], "", 180),
    ],
)
def test_sources_of_a_reset_are_asked_in_order(
    headers: Any, limit: Any, fields: list[str], words: str, seconds: int
) -> None:
    assert find_reset_time(headers, fields, words, NOW, limit=limit) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ({}, ""),
        (TOKENS, ""),
        (REQUESTS, "requests"),
        ({"x-ratelimit-remaining-tokens": "0"}, "tokens"),
        ({"x-ratelimit-remaining-tokens": "-12"}, "tokens"),
        ({"x-ratelimit-remaining": "0"}, "requests"),
        ({"x-ratelimit-remaining-requests-day": "0"}, "day"),
        ({"anthropic-ratelimit-input-tokens-remaining": "0"}, "tokens"),
        ({"anthropic-ratelimit-output-tokens-remaining": "0"}, "tokens"),
        ({"anthropic-ratelimit-requests-remaining": "0"}, "requests"),
        ({"anthropic-ratelimit-requests-remaining": "none"}, ""),
    ],
)
def test_the_spent_limit_is_read_from_the_headers(headers: dict[str, str], limit: str) -> None:
    assert find_spent_limit(headers) == limit


def test_allowances_are_read_in_every_form() -> None:
    soon = NOW + timedelta(minutes=1)
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-23T12:01:00Z",
        "anthropic-ratelimit-input-tokens-remaining": "1000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:01:00Z",
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-23T12:01:00Z",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "1m0s",
        "x-ratelimit-remaining": "3",
        "x-ratelimit-reset": "1795435260000",
    }
    assert read_allowances(headers, NOW) == (
        Allowance("requests", 49, soon),
        Allowance("input_tokens", 1000, soon),
        Allowance("output_tokens", 0, soon),
        Allowance("tokens", 149984, soon),
        Allowance("requests", 3, soon),
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-remaining-tokens": "5"},
        {"x-ratelimit-reset-tokens": "5s"},
        {"x-ratelimit-remaining-tokens": "many", "x-ratelimit-reset-tokens": "5s"},
        {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "soon"},
    ],
)
def test_an_incomplete_allowance_is_ignored(headers: dict[str, str]) -> None:
    assert read_allowances(headers, NOW) == ()


@pytest.mark.parametrize("wire", SPEAKERS)
def test_a_reply_has_the_allowances_of_its_headers(wire: str) -> None:
    events = SPEAKERS[wire].events(SpokenReply("Hello"))
    left = {"x_ratelimit_remaining_tokens": "7", "x_ratelimit_reset_tokens": "2m0s"}
    with serve(stream(*events, **left)) as server, closing(model(wire, server.url)) as asked:
        *_, reply = asked.ask(request(Message("user", (Text("hi"),))))
    assert isinstance(reply, Reply)
    (allowance,) = reply.allowances
    assert (allowance.kind, allowance.remaining) == ("tokens", 7)
    assert timedelta(0) < allowance.resets_at - datetime.now(UTC) <= timedelta(minutes=2)


NAMES = [
    "retry-after",
    "retry-after-ms",
    "date",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    f"{UNIFIED}-reset",
    f"{UNIFIED}-representative-claim",
]
PIECES = [
    "resets ",
    "Nov ",
    "8pm",
    "3:30am",
    " (America/New_York)",
    "(UTC)",
    "in ",
    "try again ",
    "2026-11-2",
    "3T12:00",
]
VALUES = (
    st.text(max_size=30)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes().map(str)
    | st.timedeltas().map(lambda span: f"{span.total_seconds()}s")
    | st.lists(st.sampled_from([*PIECES, "1", "99", "m", "h", "s", "-", ":", "Z", "+08:00", "|"]), max_size=8).map(
        "".join
    )
)


@settings(max_examples=400, deadline=None)
@given(
    headers=st.dictionaries(st.sampled_from(NAMES), VALUES),
    fields=st.lists(VALUES, max_size=2),
    words=VALUES,
    now=st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)),
    hours=st.floats(-14, 14),
)
def test_any_text_is_read_as_a_plausible_time_or_none(
    headers: dict[str, str], fields: list[str], words: str, now: datetime, hours: float
) -> None:
    ours = now.replace(tzinfo=UTC)
    plan = find_spent_plan(headers)
    found = [
        read_retry_after(headers, ours),
        parse_reset_text(words, ours, utc_offset=hours),
        find_reset_time(headers, fields, words, ours, limit=find_spent_limit(headers), plan=plan, utc_offset=hours),
        *(allowance.resets_at for allowance in read_allowances(headers, ours)),
    ]
    for moment in found:
        assert moment is None or (moment.utcoffset() == timedelta(0) and ours <= moment <= ours + MONTH)
