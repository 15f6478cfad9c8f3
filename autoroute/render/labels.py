"""How problems, ways out of them, times and waits are said; the same words in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import assert_never

from autoroute.errors import Limit
from autoroute.events import Option, RecoveryDecided, RecoveryNeeded
from autoroute.render.clean import clean_line
from autoroute.routing import Route

LIMITS: Mapping[Limit, str] = MappingProxyType(
    {
        "requests": "burst limit (requests)",
        "tokens": "burst limit (tokens)",
        "concurrency": "limit of requests at the same time",
        "overload": "overload",
        "five_hour": "5-hour window",
        "day": "daily limit",
        "week": "weekly limit",
        "month": "monthly limit",
        "balance": "balance",
        "spend": "spending limit",
        "plan": "plan",
    }
)
"""Which limit was hit -> words; "" has none: the error's are used."""

ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "ProviderError": "provider failed",
        "Busy": "busy",
        "LimitReached": "usage limit",
        "Unreachable": "not reachable",
        "Unauthorized": "key not accepted",
        "Billing": "payment",
        "NoSuchModel": "no such model",
        "TooLong": "conversation too long",
        "BadRequest": "request not accepted",
        "BadReply": "unusable reply",
        "WrongModel": "another model answered",
    }
)
"""Name of the error class -> words."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_LONGEST_WORDS = 400
_NEAR = 600.0


def reason(blocked: RecoveryNeeded) -> str:
    """Which limit it was, else what kind of error."""
    return LIMITS.get(blocked.limit) or ERRORS.get(blocked.error) or clean_line(blocked.error, 40)


def quoted(message: str) -> str:
    """The provider's own words, as one line in quotation marks."""
    return f'"{clean_line(message, _LONGEST_WORDS)}"' if message.strip() else ""


def problem(blocked: RecoveryNeeded) -> str:
    """Who cannot go on, and why."""
    return ": ".join(filter(None, (with_account(blocked.route), reason(blocked), quoted(blocked.message))))


def with_account(route: Route) -> str:
    """``zai/glm-4.7 (account work)``."""
    return clean_line(f"{route.name} (account {route.account})", 200)


def way_out(option: Option, blocked: Route, now: datetime, zone: tzinfo | None) -> str:
    """What an option would do: ``fall back to zai/glm-4.7``. Its wait counts from ``now`` (UTC)."""
    route = option.route or blocked
    match option.action:
        case "wait":
            return f"wait {until(later(now, option.wait or 0.0), now, zone)} for {_other(route, blocked)}"
        case "switch":
            model = "" if route.name == blocked.name else f", {clean_line(route.name, 200)}"
            return f"switch to account {clean_line(route.account, 200)}{model}"
        case "fallback":
            return f"fall back to {_other(route, blocked)}"
        case "stop":
            return "stop: resume later"
        case _:
            assert_never(option.action)


def deed(decided: RecoveryDecided) -> str:
    """What was done about a problem: ``falls back to zai/glm-4.7``."""
    route = decided.to or decided.route
    match decided.action:
        case "wait":
            return f"waits {duration(decided.wait or 0.0)} for {_other(route, decided.route)}"
        case "switch":
            return f"switches to account {clean_line(route.account, 200)}"
        case "fallback":
            return f"falls back to {_other(route, decided.route)}"
        case "park":
            return f"parks the run for {duration(decided.wait or 0.0)}"
        case "stop":
            return "stops, to be resumed later"
        case _:
            assert_never(decided.action)


def _other(route: Route, blocked: Route) -> str:
    """A route, with its account where that says something."""
    plain = route.account == "default" or (route.name, route.account) == (blocked.name, blocked.account)
    return clean_line(route.name, 200) if plain else with_account(route)


def until(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """``until 20:00 CET (2 h 14 min)``."""
    return f"until {time_of_day(moment, now, zone)} ({duration((moment - now).total_seconds())})"


def reset(blocked: RecoveryNeeded, now: datetime, zone: tzinfo | None) -> str:
    """When it may pass: ``resets 20:00 CET, in 2 h 14 min``; "" when nobody knows."""
    if blocked.retry_at is None:
        return ""
    seconds = (blocked.retry_at - now).total_seconds()
    verb = "resets" if blocked.limit or blocked.error == "LimitReached" else "may pass at"
    time = time_of_day(blocked.retry_at, now, zone)
    return f"{verb} {time}, in {duration(seconds)}" if seconds > 0 else f"may pass by now (since {time})"


def time_of_day(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """``20:00 CET``, with the date when that is not today; ``zone`` None is this machine's.

    Seconds are said of what is near.
    """
    try:
        local, today = moment.astimezone(zone), now.astimezone(zone)
    except OverflowError:  # the year 9999, in a zone that has its 10000
        local, today = moment, now
    near = abs((moment - now).total_seconds()) < _NEAR
    date = "" if local.date() == today.date() else "%a %d %b " if local.year == today.year else "%a %d %b %Y "
    return local.strftime(f"{date}{'%H:%M:%S' if local.second and near else '%H:%M'} %Z").rstrip()


def later(now: datetime, seconds: float) -> datetime:
    """The time so many seconds after ``now``, rounded up to a whole one; the last there is, where it is beyond it."""
    try:
        moment = now + timedelta(seconds=seconds)
        return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


def duration(seconds: float, units: int = 2) -> str:
    """``2 h 14 min``: the seconds, rounded up, in at most so many units from the largest on."""
    left, parts = math.ceil(max(0.0, min(seconds, 1e12))), []
    for size, name in _UNITS:
        number, left = divmod(left, size)
        parts.append((number, name))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    said = parts[first : first + units]
    return " ".join(f"{number} {name}" for number, name in said if number or len(said) == 1)
