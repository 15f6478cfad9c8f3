"""When a limit is reset: every form in which providers state a time -> a moment in UTC. No I/O, no exceptions.

A header of the limit that was reached comes before the body, and a field of the body before its message. Only error
bodies are searched, never what a model writes. A time more than 35 days ahead, or in the past, is not believed. One
that has just passed means now.

The server's clock is its ``Date`` header. A moment is converted to a delay from there, so that a wrong clock on this
machine lets no run wait too long. A duration needs no clock.
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
from autoroute.patterns import pattern

_JUST_PASSED = timedelta(minutes=5)
"""A time no further in the past than this means now: clocks differ, and responses are late. "resets 8pm", read at 8:02
in the evening, does not mean tomorrow."""
_MAX_AHEAD = timedelta(days=35)
"""The longest window of any provider is a month; a later time is an error of the provider or of the reader."""
_MAX_VALUE_LENGTH = 100
_MAX_TEXT_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class _TimeBase:
    """Now on this machine's clock and on the server's, and the zone of the server's times without one."""

    local_now: datetime
    server_now: datetime
    zone: tzinfo = UTC

    def to_local(self, moment: datetime) -> datetime | None:
        """Convert a moment from the server's clock to the local one, in UTC; None for one that is not believed."""
        ahead = moment.astimezone(UTC) - self.server_now
        return None if ahead > _MAX_AHEAD or ahead < -_JUST_PASSED else self.local_now + max(ahead, timedelta(0))


_Reader = Callable[[str, _TimeBase], datetime | None]
"""A function that reads one form of a time, on the server's clock. May raise any of ``_UNREADABLE``."""

_UNREADABLE = (ValueError, OverflowError, OSError, TypeError, LookupError)
"""``LookupError`` is raised by zoneinfo, and by the standard library's parser for dates of unknown form."""


def _read(readers: Iterable[_Reader], text: str, base: _TimeBase) -> datetime | None:
    """Return the time of the first reader that can read the text, on the local clock."""
    for reader in readers:
        try:
            moment = reader(text, base)
            local = base.to_local(moment) if moment else None
        except _UNREADABLE:
            continue
        if local:
            return local
    return None


# A single value: a header, or a field of a body.

_NUMBER = pattern(r"[+-]?\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_ISO = r"\d{4}-\d\d-\d\d(?:[T ]| at )\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?"
_MOMENT = pattern(_ISO, re.ASCII | re.IGNORECASE)
_DURATION = pattern(r"(?:\d+(?:\.\d+)?(?:d|h|ms|m|s|us|µs|ns))+")
_MEASURE = pattern(r"(\d+(?:\.\d+)?)\s*(ms|milli|us|µs|ns|d|h|m|s)", re.IGNORECASE)
_MIN_EPOCH_SECONDS = 10**9
"""September 2001: a smaller number is a duration."""
_MIN_EPOCH_MILLISECONDS = 10**11

_UNITS: Mapping[str, float] = MappingProxyType(
    {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "milli": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
)


def _read_number(text: str, base: _TimeBase) -> datetime | None:
    """Read seconds from now; a large number is seconds, or milliseconds, since 1970."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if value < _MIN_EPOCH_SECONDS:
        return base.server_now + timedelta(seconds=value)
    return datetime.fromtimestamp(value / 1000 if value >= _MIN_EPOCH_MILLISECONDS else value, UTC)


def _read_milliseconds(text: str, base: _TimeBase) -> datetime | None:
    return base.server_now + timedelta(milliseconds=float(text)) if _NUMBER.fullmatch(text) else None


def _read_duration(text: str, base: _TimeBase) -> datetime | None:
    """Read a duration as Go writes it: ``1m30.5s``. OpenAI's ``x-ratelimit-reset-*`` have this form."""
    return base.server_now + _add_up(text) if _DURATION.fullmatch(text) else None


def _add_up(text: str) -> timedelta:
    """Add up ``6m0s`` or ``2 hours and 14 minutes``. The first letters of a unit identify it."""
    parts = ((float(amount), unit.lower()) for amount, unit in _MEASURE.findall(text))
    return timedelta(seconds=sum(amount * _UNITS[unit] for amount, unit in parts))


def _read_moment(text: str, base: _TimeBase) -> datetime | None:
    """Read ISO 8601, with a space or "at" for the T, and in the provider's own zone when it names none."""
    if not _MOMENT.fullmatch(text):
        return None
    plain = text.upper().replace(" AT ", " ").replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+")
    moment = datetime.fromisoformat(plain)
    return moment if moment.tzinfo else moment.replace(tzinfo=base.zone)


def _read_http_date(text: str, _base: _TimeBase) -> datetime | None:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)


_VALUE_READERS: tuple[_Reader, ...] = (_read_number, _read_duration, _read_moment, _read_http_date)


# The message of an error.

_UNIT_IN_TEXT = (
    r"(?:ms|milliseconds?|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])"  # "6m0s" has no gap
)
_SPAN = rf"\d+(?:\.\d+)?\s*{_UNIT_IN_TEXT}(?:(?:\s*,)?(?:\s+and)?\s*\d+(?:\.\d+)?\s*{_UNIT_IN_TEXT})*"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_EPOCH_IN_TEXT = pattern(r"(?:\||\breset\w*(?: at)?:?\s)(\d{13}|\d{10})\b", re.ASCII | re.IGNORECASE)
_MOMENT_IN_TEXT = pattern(
    rf"(?:\b(?:reset\w*|available|again|after|until|regain access)\b|将在)\D{{0,12}}({_ISO})", re.IGNORECASE
)
_WAIT_IN_TEXT = pattern(
    r"\b(?:(?:resets?|retry|again|available|refresh\w*|renew\w*)\b\D{0,40}?\b(?:in|after|within)|wait(?:\s+for)?)\s+"
    rf"(?:about\s+|another\s+)?({_SPAN})",
    re.IGNORECASE,
)
_CLOCK_IN_TEXT = pattern(
    rf"""\bresets?(?:\s+at|\s+on|:)?\s+
    (?:(?P<month>{"|".join(_MONTHS)})[a-z]*\.?\s+(?P<day>\d{{1,2}})\b(?:,?\s+(?P<year>\d{{4}})\b)?(?:,|\s+at\b)?\s*)?
    (?:(?P<hour>\d{{1,2}})(?::(?P<minute>\d\d))?\s*(?P<half>[ap])\.?m\b\.?|(?P<hour24>\d{{1,2}}):(?P<minute24>\d\d))?
    (?:\s*\((?P<zone>[^()]{{1,60}})\)|\s+(?P<utc>UTC|GMT)\b)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def _find_epoch(text: str, base: _TimeBase) -> datetime | None:
    """Find ``usage limit reached|1764273600``, as older versions of Claude Code write it."""
    found = _EPOCH_IN_TEXT.search(text)
    return _read_number(found[1], base) if found else None


def _find_moment(text: str, base: _TimeBase) -> datetime | None:
    """Find ``Your limit will reset at 2026-09-09 05:38:28`` (Z.AI; BigModel writes ``您的限额将在 … 重置``).

    And ``You will regain access on 2026-12-01 at 00:00 UTC`` (Anthropic).
    """
    found = _MOMENT_IN_TEXT.search(text)
    return _read_moment(found[1], base) if found else None


def _find_clock(text: str, base: _TimeBase) -> datetime | None:
    """Find ``resets 3:30am (UTC)``, ``resets Nov 27, 8pm (America/New_York)``: the next such time in its zone."""
    for found in _CLOCK_IN_TEXT.finditer(text):
        if found["month"] or found["hour"] or found["hour24"]:
            zone = _zone(found["zone"]) if found["zone"] else UTC if found["utc"] else base.zone
            return next((at for at in sorted(_times(found, zone, base)) if at >= base.server_now - _JUST_PASSED), None)
    return None


def _find_wait(text: str, base: _TimeBase) -> datetime | None:
    """Find ``Please try again in 6m0s``, ``resets in 3 days``."""
    found = _WAIT_IN_TEXT.search(text)
    return base.server_now + _add_up(found[1]) if found else None


_TEXT_READERS: tuple[_Reader, ...] = (_find_epoch, _find_moment, _find_clock, _find_wait)


def _zone(name: str) -> tzinfo:
    """Return a zone by its name in the tz database. Raises for an unknown one: a guess could be hours wrong."""
    from zoneinfo import ZoneInfo  # its import reads the file system, which no import of ours may

    return UTC if name.strip().upper() in ("UTC", "GMT") else ZoneInfo(name.strip())


def _times(found: re.Match[str], zone: tzinfo, base: _TimeBase) -> Iterator[datetime]:
    """Yield the moments around now, in UTC, at which a clock in the zone shows the time that was found."""
    hour = int(found["hour24"] or found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    at = time(hour, int(found["minute24"] or found["minute"] or 0))
    for day in _days(found, base.server_now.astimezone(zone).date()):
        yield from _on_the_clock(datetime.combine(day, at), zone)


def _days(found: re.Match[str], today: date) -> Iterator[date]:
    """Yield the possible days: those around today, or the named day of this year, the last and the next."""
    if not found["month"]:
        yield from (today + timedelta(days=days) for days in (-1, 0, 1))
        return
    month = _MONTHS.index(found["month"].lower()) + 1
    for year in [int(found["year"])] if found["year"] else [today.year - 1, today.year, today.year + 1]:
        with suppress(ValueError):  # the 29th of February of most years
            yield date(year, month, int(found["day"]))


def _on_the_clock(local: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the moments, in UTC, at which clocks in the zone show ``local``.

    The hour that clocks repeat in autumn gives two moments. The hour that they skip in spring is read with the offset
    from before the gap, as RFC 5545 says.
    """
    for fold in (0, 1):
        moment = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if fold == 0 or moment.astimezone(zone).replace(tzinfo=None, fold=0) == local:
            yield moment


# Headers.

_WAITS: tuple[tuple[str, _Reader], ...] = (
    ("retry-after-ms", _read_milliseconds),
    *(("retry-after", reader) for reader in _VALUE_READERS),
)


@dataclass(frozen=True, slots=True)
class _Window:
    """The headers of one limit: how much of it is left, and when it is reset."""

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
# representative-claim names the window of a subscription that a 429 is about. Longer names begin with these: there is
# a seven_day_opus. The values are those that Claude Code 2.1.330 knows.
_CLAIMS: tuple[tuple[str, Limit, str], ...] = (
    ("five_hour", "five_hour", "5h"),
    ("seven_day_overage_included", "week", "7d_oi"),
    ("seven_day", "week", "7d"),
    ("overage", "spend", "overage"),
)


@dataclass(frozen=True, slots=True)
class SpentPlan:
    """The limit of a subscription that is used up, "" when the headers do not name it, and the headers of its reset."""

    limit: Limit = ""
    resets: tuple[str, ...] = ()


def find_spent_plan(headers: Mapping[str, str]) -> SpentPlan | None:
    """Return which limit of a subscription a 429 means; None for a rate limit of the server, which passes sooner.

    Claude Code makes the same distinction: a rate limit of the server has no claim.
    """
    claim = headers.get(f"{_PLAN}-representative-claim", "")
    if not claim and headers.get(f"{_PLAN}-status") != "rejected" and f"{_PLAN}-overage-status" not in headers:
        return None
    for name, limit, window in _CLAIMS:
        if claim.startswith(name) or (not claim and headers.get(f"{_PLAN}-{window}-status") == "rejected"):
            return SpentPlan(limit, (f"{_PLAN}-reset", f"{_PLAN}-{window}-reset"))
    return SpentPlan("", (f"{_PLAN}-reset",))


def find_spent_limit(headers: Mapping[str, str]) -> Limit:
    """Return the limit that is used up according to the headers; "" when they name none."""
    return next((window.limit for window in _WINDOWS if _read_count(headers.get(window.remaining, "")) == 0), "")


def read_allowances(headers: Mapping[str, str], now: datetime) -> tuple[Allowance, ...]:
    """Return what is left of the provider's limits according to the headers, and when they are reset."""
    base = _time_base(headers, now)
    found = []
    for window in _WINDOWS:
        remaining = _read_count(headers.get(window.remaining, ""))
        resets_at = _read_header(headers, window.reset, _VALUE_READERS, base)
        if remaining is not None and resets_at is not None:
            found.append(Allowance(window.kind, remaining, resets_at))
    return tuple(found)


def read_retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return when the ``Retry-After`` of a response ends; None without one."""
    base = _time_base(headers, now)
    waits = (_read_header(headers, name, (reader,), base) for name, reader in _WAITS)
    return next((at for at in waits if at), None)


def find_reset_time(
    headers: Mapping[str, str],
    fields: Sequence[str],
    message: str,
    now: datetime,
    *,
    limit: Limit = "",
    plan: SpentPlan | None = None,
    utc_offset: float = 0.0,
) -> datetime | None:
    """Return when a limit that was reached is reset, in UTC; None when the response does not say.

    ``fields`` are values of the error's body that state a time, and ``message`` is its text. ``utc_offset`` is the
    offset from UTC, in hours, of times without a zone.
    """
    base = _time_base(headers, now, utc_offset)
    for name in plan.resets if plan else ():
        at = _read_header(headers, name, _VALUE_READERS, base)
        if at:
            return at
    return (
        read_retry_after(headers, now)
        or _window_reset(headers, limit, base)
        or next((at for field in fields if (at := _read_value(field, base))), None)
        or parse_reset_text(message, now, server_now=base.server_now, utc_offset=utc_offset)
    )


def parse_reset_text(
    text: str, now: datetime, *, server_now: datetime | None = None, utc_offset: float = 0.0
) -> datetime | None:
    """Return the time in an error's message, in UTC. ``server_now`` is ``now`` on the server's clock, if known."""
    zone = timezone(timedelta(hours=utc_offset))
    return _read(_TEXT_READERS, text[:_MAX_TEXT_LENGTH], _TimeBase(now, server_now or now, zone))


def _time_base(headers: Mapping[str, str], now: datetime, utc_offset: float = 0.0) -> _TimeBase:
    zone = timezone(timedelta(hours=utc_offset))
    try:
        date = _read_http_date(headers.get("date", ""), _TimeBase(now, now))
        return _TimeBase(now, date.astimezone(UTC) if date else now, zone)
    except _UNREADABLE:
        return _TimeBase(now, now, zone)


def _read_header(headers: Mapping[str, str], name: str, readers: Iterable[_Reader], base: _TimeBase) -> datetime | None:
    value = headers.get(name, "").strip()
    return _read(readers, value[:_MAX_VALUE_LENGTH], base) if value else None


def _read_value(text: str, base: _TimeBase) -> datetime | None:
    return _read(_VALUE_READERS, text.strip()[:_MAX_VALUE_LENGTH], base)


def _window_reset(headers: Mapping[str, str], limit: Limit, base: _TimeBase) -> datetime | None:
    """Return the last reset of the windows that are used up; without any, of those of the limit that was reached."""
    spent = [window for window in _WINDOWS if _read_count(headers.get(window.remaining, "")) == 0]
    reached = spent or [window for window in _WINDOWS if limit and window.limit == limit]
    times = (_read_header(headers, window.reset, _VALUE_READERS, base) for window in reached)
    return max((at for at in times if at), default=None)


def _read_count(text: str) -> int | None:
    """Return how much is left as a whole number; a negative number is 0."""
    return max(0, int(float(text))) if _NUMBER.fullmatch(text.strip()) else None
