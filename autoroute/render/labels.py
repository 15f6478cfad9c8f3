"""Words for problems, options, decisions, times and durations; the same in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import assert_never

from autoroute.error_phrases import ERRORS, LIMITS
from autoroute.events import CanaryEnded, CommandKind, Option, RecoveryDecided, RecoveryNeeded, WorkspaceCompared
from autoroute.receipt import CanaryRow
from autoroute.render.clean import clean_line
from autoroute.routing import Route
from autoroute.text import join_first

KINDS: Mapping[CommandKind, str] = MappingProxyType(
    {
        "fails": "fails, as it should",
        "passes": "passes already",
        "fails_already": "fails for reasons outside the task",
        "cannot_run": "cannot run here",
        "hangs": "does not end",
    }
)
"""What a verify command does before the work, in words."""
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MAX_QUOTE_CHARACTERS = 400
_MAX_LEFT_BEHIND = 10
_MAX_ROUTE_CHARACTERS = 200
_MAX_CLASS_CHARACTERS = 40
_MAX_FILES_LISTED = 5
_SHOW_SECONDS_WITHIN = 600.0
"""Seconds. A time that is nearer is shown with its seconds."""
_MAX_DURATION_SECONDS = 1e12


def name_reason(needed: RecoveryNeeded) -> str:
    """Return which limit was reached, else what kind of error it was."""
    return LIMITS.get(needed.limit) or ERRORS.get(needed.error) or clean_line(needed.error, _MAX_CLASS_CHARACTERS)


def quote(message: str) -> str:
    """Return the provider's own words as one line in quotation marks; "" for none."""
    return f'"{clean_line(message, _MAX_QUOTE_CHARACTERS)}"' if message.strip() else ""


def describe_problem(needed: RecoveryNeeded) -> str:
    """Return which route cannot continue, and why."""
    return ": ".join(filter(None, (format_route(needed.route), name_reason(needed), quote(needed.message))))


def describe_left_behind(compared: WorkspaceCompared) -> str:
    """Return the paths that the workspace had and the commit has not; "" for none."""
    paths = [clean_line(path, _MAX_QUOTE_CHARACTERS) for path in compared.left_behind]
    return join_first(paths, _MAX_LEFT_BEHIND, omitted=compared.omitted)


def format_route(route: Route) -> str:
    """Return a route with its account: ``zai/glm-4.7 (account work)``."""
    return clean_line(f"{route.name} (account {route.account})", _MAX_ROUTE_CHARACTERS)


def describe_option(option: Option, blocked: Route, now: datetime, zone: tzinfo | None) -> str:
    """Return what an option would do: ``fall back to zai/glm-4.7``. A wait counts from ``now`` (UTC)."""
    route = option.route or blocked
    match option.action:
        case "wait":
            return f"wait {format_until(add_seconds(now, option.wait or 0.0), now, zone)} for {_other(route, blocked)}"
        case "switch":
            model = "" if route.name == blocked.name else f", {clean_line(route.name, _MAX_ROUTE_CHARACTERS)}"
            return f"switch to account {clean_line(route.account, _MAX_ROUTE_CHARACTERS)}{model}"
        case "fallback":
            return f"fall back to {_other(route, blocked)}"
        case "stop":
            return "stop and resume later"
        case _:
            assert_never(option.action)


def describe_decision(decided: RecoveryDecided) -> str:
    """Return who decided what about a problem: ``policy decided: fall back to zai/glm-4.7``."""
    return f"{decided.by} decided: {_decided_action(decided)}"


def _decided_action(decided: RecoveryDecided) -> str:
    route = decided.to or decided.route
    match decided.action:
        case "wait":
            return f"wait {format_duration(decided.wait or 0.0)} for {_other(route, decided.route)}"
        case "switch":
            return f"switch to account {clean_line(route.account, _MAX_ROUTE_CHARACTERS)}"
        case "fallback":
            return f"fall back to {_other(route, decided.route)}"
        case "park":
            return f"park the run for {format_duration(decided.wait or 0.0)}"
        case "stop":
            return "stop and resume later"
        case _:
            assert_never(decided.action)


def describe_canary(ended: CanaryEnded | CanaryRow) -> str:
    """Return whether a verify command noticed that the change could not be parsed."""
    if ended.tested is None:
        return f"not applicable: {ended.reason}"
    if ended.tested:
        return f"the change is tested by {clean_line(ended.commands[-1], _MAX_QUOTE_CHARACTERS)}"
    files = join_first([clean_line(path, _MAX_ROUTE_CHARACTERS) for path in ended.files], _MAX_FILES_LISTED)
    return f"no verify command tests the change: all pass with {files} made unparsable"


def _other(route: Route, blocked: Route) -> str:
    """Return a route, with its account unless that is the default or the same as before."""
    plain = route.account == "default" or (route.name, route.account) == (blocked.name, blocked.account)
    return clean_line(route.name, _MAX_ROUTE_CHARACTERS) if plain else format_route(route)


def describe_reset(needed: RecoveryNeeded, now: datetime, zone: tzinfo | None) -> str:
    """Return when the problem may pass: ``resets 20:00 CET, in 2 h 14 min``; "" when that is unknown."""
    if needed.retry_at is None:
        return ""
    seconds = (needed.retry_at - now).total_seconds()
    verb = "resets" if needed.limit or needed.error == "LimitReached" else "may pass at"
    time = format_time(needed.retry_at, now, zone)
    return f"{verb} {time}, in {format_duration(seconds)}" if seconds > 0 else f"may have passed (expected {time})"


def format_until(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """Return ``until 20:00 CET (2 h 14 min)``."""
    return f"until {format_time(moment, now, zone)} ({format_duration((moment - now).total_seconds())})"


def format_time(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """Return a time of day, ``20:00 CET``, with the date unless it is today; ``zone`` None is this machine's."""
    try:
        local, today = moment.astimezone(zone), now.astimezone(zone)
    except OverflowError:  # the year 9999, in a zone where it is already 10000
        local, today = moment, now
    near = abs((moment - now).total_seconds()) < _SHOW_SECONDS_WITHIN
    date = "" if local.date() == today.date() else "%a %d %b " if local.year == today.year else "%a %d %b %Y "
    return local.strftime(f"{date}{'%H:%M:%S' if local.second and near else '%H:%M'} %Z").rstrip()


def add_seconds(now: datetime, seconds: float) -> datetime:
    """Return the time ``seconds`` after ``now``, rounded up to a whole second; at most the last time that exists."""
    try:
        moment = now + timedelta(seconds=seconds)
        return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


def format_duration(seconds: float, units: int = 2) -> str:
    """Return ``2 h 14 min``: the seconds, rounded up, in at most ``units`` units from the largest on."""
    left, parts = math.ceil(max(0.0, min(seconds, _MAX_DURATION_SECONDS))), []
    for size, name in _UNITS:
        number, left = divmod(left, size)
        parts.append((number, name))
    first = next((index for index, (number, _) in enumerate(parts) if number), len(parts) - 1)
    shown = parts[first : first + units]
    return " ".join(f"{number} {name}" for number, name in shown if number or len(shown) == 1)
