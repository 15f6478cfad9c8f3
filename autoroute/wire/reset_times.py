"""When a limit ends: every form in which providers say a time -> a moment in UTC. No I/O, and no exception.

A header of the limit that was hit counts before the body, and a field of the body before its words. Words are read in
error bodies only, never in what a model says. A time that cannot be is no time: more than 35 days ahead, or past. One
that has only just passed is now.

The server's clock is what its ``Date`` header says. A moment is read as so long after that, so that a wrong clock on
this machine makes nobody wait; a duration needs no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Literal

from autoroute.errors import Limit
from autoroute.messages import Allowance

_JUST_PASSED = timedelta(minutes=5)
"""A time that lies no further back is taken for now: clocks differ, and answers are late. "resets 8pm", read at 8:02
in the evening, does not mean tomorrow."""
_FURTHEST = timedelta(days=35)
"""A month, the longest window that anybody has, and some days."""
_LONGEST_VALUE = 100
_LONGEST_TEXT = 4000


@dataclass(frozen=True, slots=True)
class _Clocks:
    """The same moment on our clock and on the server's, and the zone of times that it gives without one."""

    ours: datetime
    theirs: datetime
    zone: tzinfo = UTC

    def place(self, moment: datetime) -> datetime | None:
        """A moment of the server's clock on ours, in UTC; None for one that cannot be meant."""
        ahead = moment.astimezone(UTC) - self.theirs
        return None if ahead > _FURTHEST or ahead < -_JUST_PASSED else self.ours + max(ahead, timedelta(0))


_Reader = Callable[[str, _Clocks], datetime | None]
"""Reads one form of a time, on the server's clock. May raise ``ValueError``, ``OverflowError`` and their like."""

_UNREADABLE = (ValueError, OverflowError, OSError, TypeError, LookupError)
"""``LookupError`` for what zoneinfo and the standard library's parser of dates do not know."""


def _read(readers: Iterable[_Reader], text: str, clocks: _Clocks) -> datetime | None:
    """What the first reader makes of a text that can make anything of it, on our clock."""
    for reader in readers:
        try:
            moment = reader(text, clocks)
            placed = clocks.place(moment) if moment else None
        except _UNREADABLE:
            continue
        if placed:
            return placed
    return None


# One value: a header, or a field of a body.

_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_ISO = r"\d{4}-\d\d-\d\d(?:[T ]| at )\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?"
_MOMENT = re.compile(_ISO, re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:d|h|ms|m|s|us|µs|ns))+")
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|us|µs|ns|d|h|m|s)", re.IGNORECASE)
_FIRST_EPOCH = 10**9
_FIRST_EPOCH_MS = 10**11

_UNITS: Mapping[str, float] = MappingProxyType(
    {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "milli": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
)


def _number(text: str, clocks: _Clocks) -> datetime | None:
    """Seconds from now; so large a number is seconds, or milliseconds, since 1970."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if value < _FIRST_EPOCH:
        return clocks.theirs + timedelta(seconds=value)
    return datetime.fromtimestamp(value / 1000 if value >= _FIRST_EPOCH_MS else value, UTC)


def _milliseconds(text: str, clocks: _Clocks) -> datetime | None:
    return clocks.theirs + timedelta(milliseconds=float(text)) if _NUMBER.fullmatch(text) else None


def _duration(text: str, clocks: _Clocks) -> datetime | None:
    """As Go writes them: ``1m30.5s``."""
    return clocks.theirs + _sum(text) if _DURATION.fullmatch(text) else None


def _sum(text: str) -> timedelta:
    """All that stands in ``6m0s`` or ``2 hours and 14 minutes`` together. A unit's first letter tells it."""
    parts = ((float(amount), unit.lower()) for amount, unit in _MEASURE.findall(text))
    return timedelta(seconds=sum(amount * _UNITS[unit] for amount, unit in parts))


def _moment(text: str, clocks: _Clocks) -> datetime | None:
    """ISO 8601, with a space or "at" for the T, and in the provider's own zone when it names none."""
    if not _MOMENT.fullmatch(text):
        return None
    plain = text.upper().replace(" AT ", " ").replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+")
    moment = datetime.fromisoformat(plain)
    return moment if moment.tzinfo else moment.replace(tzinfo=clocks.zone)


def _http_date(text: str, _clocks: _Clocks) -> datetime | None:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)


_VALUES: tuple[_Reader, ...] = (_number, _duration, _moment, _http_date)


# Words.

_PROSE_UNIT = (
    r"(?:ms|milliseconds?|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])"  # "6m0s" has no gap
)
_SPAN = rf"\d+(?:\.\d+)?\s*{_PROSE_UNIT}(?:(?:\s*,)?(?:\s+and)?\s*\d+(?:\.\d+)?\s*{_PROSE_UNIT})*"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_WORDS_EPOCH = re.compile(r"(?:\||\breset\w*(?: at)?:?\s)(\d{13}|\d{10})\b", re.ASCII | re.IGNORECASE)
_WORDS_MOMENT = re.compile(
    rf"(?:\b(?:reset\w*|available|again|after|until|regain access)\b|将在)\D{{0,12}}({_ISO})", re.IGNORECASE
)
_WORDS_WAIT = re.compile(
    r"\b(?:(?:resets?|retry|again|available|refresh\w*|renew\w*)\b\D{0,40}?\b(?:in|after|within)|wait(?:\s+for)?)\s+"
    rf"(?:about\s+|another\s+)?({_SPAN})",
    re.IGNORECASE,
)
_WORDS_CLOCK = re.compile(
    rf"""\bresets?(?:\s+at|\s+on|:)?\s+
    (?:(?P<month>{"|".join(_MONTHS)})[a-z]*\.?\s+(?P<day>\d{{1,2}})\b(?:,?\s+(?P<year>\d{{4}})\b)?(?:,|\s+at\b)?\s*)?
    (?:(?P<hour>\d{{1,2}})(?::(?P<minute>\d\d))?\s*(?P<half>[ap])\.?m\b\.?|(?P<hour24>\d{{1,2}}):(?P<minute24>\d\d))?
    (?:\s*\((?P<zone>[^()]{{1,60}})\)|\s+(?P<utc>UTC|GMT)\b)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def _said_epoch(text: str, clocks: _Clocks) -> datetime | None:
    """``usage limit reached|1764273600``."""
    found = _WORDS_EPOCH.search(text)
    return _number(found[1], clocks) if found else None


def _said_moment(text: str, clocks: _Clocks) -> datetime | None:
    """``Your limit will reset at 2026-09-09 05:38:28``, ``您的限额将在 2026-08-25 07:41:44 重置``.

    ``You will regain access on 2026-12-01 at 00:00 UTC``.
    """
    found = _WORDS_MOMENT.search(text)
    return _moment(found[1], clocks) if found else None


def _said_clock(text: str, clocks: _Clocks) -> datetime | None:
    """``resets 3:30am (UTC)``, ``resets Nov 27, 8pm (America/New_York)``: the next such time in its zone."""
    for found in _WORDS_CLOCK.finditer(text):
        if found["month"] or found["hour"] or found["hour24"]:
            zone = _zone(found["zone"]) if found["zone"] else UTC if found["utc"] else clocks.zone
            return next((at for at in sorted(_times(found, zone, clocks)) if at >= clocks.theirs - _JUST_PASSED), None)
    return None


def _said_wait(text: str, clocks: _Clocks) -> datetime | None:
    """``Please try again in 6m0s``, ``resets in 3 days``."""
    found = _WORDS_WAIT.search(text)
    return clocks.theirs + _sum(found[1]) if found else None


_WORDS: tuple[_Reader, ...] = (_said_epoch, _said_moment, _said_clock, _said_wait)


def _zone(name: str) -> tzinfo:
    """A zone by its name in the tz database. Raises for one that is unknown here: a guess could be hours wrong."""
    from zoneinfo import ZoneInfo  # which looks where its data is: not when this module is loaded

    return UTC if name.strip().upper() in ("UTC", "GMT") else ZoneInfo(name.strip())


def _times(found: re.Match[str], zone: tzinfo, clocks: _Clocks) -> Iterator[datetime]:
    """The moments around now, in UTC, at which a clock in the zone shows what was found."""
    hour = int(found["hour24"] or found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    at = time(hour, int(found["minute24"] or found["minute"] or 0))
    for day in _days(found, clocks.theirs.astimezone(zone).date()):
        yield from _on_the_clock(datetime.combine(day, at), zone)


def _days(found: re.Match[str], today: date) -> Iterator[date]:
    """The days that are meant: those around today, or that day of the year, of last year, of next year."""
    if not found["month"]:
        yield from (today + timedelta(days=days) for days in (-1, 0, 1))
        return
    month = _MONTHS.index(found["month"].lower()) + 1
    for year in [int(found["year"])] if found["year"] else [today.year - 1, today.year, today.year + 1]:
        with suppress(ValueError):  # the 29th of February of most years
            yield date(year, month, int(found["day"]))


def _on_the_clock(local: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The moments, in UTC, at which clocks in the zone show ``local``.

    An hour that clocks go through twice in autumn is two moments. One that they leave out in spring is read with the
    offset from before, which lies after the gap (as RFC 5545 has it).
    """
    for fold in (0, 1):
        moment = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if fold == 0 or moment.astimezone(zone).replace(tzinfo=None, fold=0) == local:
            yield moment


# Headers.

_WAITS: tuple[tuple[str, _Reader], ...] = (
    ("retry-after-ms", _milliseconds),
    *(("retry-after", reader) for reader in _VALUES),
)


@dataclass(frozen=True, slots=True)
class _Window:
    """The headers of one limit: what is left of it, and when it is whole again."""

    kind: Literal["requests", "tokens", "input_tokens", "output_tokens"]
    limit: Limit
    remaining: str
    reset: str


_ANTHROPIC = "anthropic-ratelimit"
_WINDOWS: tuple[_Window, ...] = (
    # https://platform.claude.com/docs/en/api/rate-limits
    _Window("requests", "requests", f"{_ANTHROPIC}-requests-remaining", f"{_ANTHROPIC}-requests-reset"),
    _Window("tokens", "tokens", f"{_ANTHROPIC}-tokens-remaining", f"{_ANTHROPIC}-tokens-reset"),
    _Window("input_tokens", "tokens", f"{_ANTHROPIC}-input-tokens-remaining", f"{_ANTHROPIC}-input-tokens-reset"),
    _Window("output_tokens", "tokens", f"{_ANTHROPIC}-output-tokens-remaining", f"{_ANTHROPIC}-output-tokens-reset"),
    # https://platform.openai.com/docs/guides/rate-limits, and most compatible servers
    _Window("requests", "requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    _Window("tokens", "tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    # Cerebras
    _Window("requests", "day", "x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    _Window("tokens", "tokens", "x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
    # OpenRouter
    _Window("requests", "requests", "x-ratelimit-remaining", "x-ratelimit-reset"),
)

_PLAN = "anthropic-ratelimit-unified"
# A claim names the window of a subscription that a refusal rests on; longer names begin with these.
_CLAIMS: tuple[tuple[str, Limit, str], ...] = (
    ("five_hour", "five_hour", "5h"),
    ("seven_day_overage_included", "week", "7d_oi"),
    ("seven_day", "week", "7d"),
    ("overage", "spend", "overage"),
)


@dataclass(frozen=True, slots=True)
class SpentPlan:
    """A subscription that has nothing left: of which limit, "" when that is not said, and the headers of its reset."""

    limit: Limit = ""
    resets: tuple[str, ...] = ()


def find_spent_plan(headers: Mapping[str, str]) -> SpentPlan | None:
    """Which limit of a subscription a 429 stands for; None for one of the server, which passes sooner.

    Claude Code draws the same line: a limit of the server names no claim.
    """
    claim = headers.get(f"{_PLAN}-representative-claim", "")
    if not claim and headers.get(f"{_PLAN}-status") != "rejected" and f"{_PLAN}-overage-status" not in headers:
        return None
    for name, limit, window in _CLAIMS:
        if claim.startswith(name) or (not claim and headers.get(f"{_PLAN}-{window}-status") == "rejected"):
            return SpentPlan(limit, (f"{_PLAN}-reset", f"{_PLAN}-{window}-reset"))
    return SpentPlan("", (f"{_PLAN}-reset",))


def find_spent_limit(headers: Mapping[str, str]) -> Limit:
    """The limit of which the headers say that nothing is left; "" when they name none."""
    return next((window.limit for window in _WINDOWS if _count(headers.get(window.remaining, "")) == 0), "")


def read_allowances(headers: Mapping[str, str], now: datetime) -> tuple[Allowance, ...]:
    """What the headers of an answer say is left of the provider's limits, and until when."""
    clocks = _clocks(headers, now)
    found = []
    for window in _WINDOWS:
        remaining = _count(headers.get(window.remaining, ""))
        resets_at = _header(headers, window.reset, _VALUES, clocks)
        if remaining is not None and resets_at is not None:
            found.append(Allowance(window.kind, remaining, resets_at))
    return tuple(found)


def read_retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """When the answer's ``Retry-After`` ends, whatever it answers."""
    clocks = _clocks(headers, now)
    waits = (_header(headers, name, (reader,), clocks) for name, reader in _WAITS)
    return next((at for at in waits if at), None)


def find_reset_time(
    headers: Mapping[str, str],
    fields: Sequence[str],
    words: str,
    now: datetime,
    *,
    limit: Limit = "",
    plan: SpentPlan | None = None,
    utc_offset: float = 0.0,
) -> datetime | None:
    """When a limit that was hit ends, in UTC; None when nobody says.

    ``fields`` are values of the error's body that state a time, ``words`` its message, and ``utc_offset`` the hours
    from UTC of times without a zone.
    """
    clocks = _clocks(headers, now, utc_offset)
    for name in plan.resets if plan else ():
        at = _header(headers, name, _VALUES, clocks)
        if at:
            return at
    return (
        read_retry_after(headers, now)
        or _window_reset(headers, limit, clocks)
        or next((at for field in fields if (at := _value(field, clocks))), None)
        or parse_reset_text(words, now, theirs=clocks.theirs, utc_offset=utc_offset)
    )


def parse_reset_text(
    text: str, now: datetime, *, theirs: datetime | None = None, utc_offset: float = 0.0
) -> datetime | None:
    """The time that an error's words state, in UTC. ``theirs`` is ``now`` on the server's clock, where it is known."""
    zone = timezone(timedelta(hours=utc_offset))
    return _read(_WORDS, text[:_LONGEST_TEXT], _Clocks(now, theirs or now, zone))


def _clocks(headers: Mapping[str, str], now: datetime, utc_offset: float = 0.0) -> _Clocks:
    zone = timezone(timedelta(hours=utc_offset))
    try:
        date = _http_date(headers.get("date", ""), _Clocks(now, now))
        return _Clocks(now, date.astimezone(UTC) if date else now, zone)
    except _UNREADABLE:
        return _Clocks(now, now, zone)


def _header(headers: Mapping[str, str], name: str, readers: Iterable[_Reader], clocks: _Clocks) -> datetime | None:
    value = headers.get(name, "").strip()
    return _read(readers, value[:_LONGEST_VALUE], clocks) if value else None


def _value(text: str, clocks: _Clocks) -> datetime | None:
    return _read(_VALUES, text.strip()[:_LONGEST_VALUE], clocks)


def _window_reset(headers: Mapping[str, str], limit: Limit, clocks: _Clocks) -> datetime | None:
    """The last reset among the windows of which nothing is left; without one, among those of the limit that was hit."""
    spent = [window for window in _WINDOWS if _count(headers.get(window.remaining, "")) == 0]
    hit = spent or [window for window in _WINDOWS if limit and window.limit == limit]
    times = (_header(headers, window.reset, _VALUES, clocks) for window in hit)
    return max((at for at in times if at), default=None)


def _count(text: str) -> int | None:
    """What is left, in whole numbers; a debt is nothing."""
    return max(0, int(float(text))) if _NUMBER.fullmatch(text.strip()) else None
