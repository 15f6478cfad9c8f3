"""The panel that says why a phase cannot go on and what can be done: pure functions of a problem and the time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autoroute.events import Action, Option, RecoveryNeeded
from autoroute.render.clean import clean_line
from autoroute.render.labels import duration, quoted, reason, reset, time_of_day, way_out, with_account

_LETTERS: Mapping[Action, str] = MappingProxyType({"wait": "w", "switch": "s", "fallback": "f", "stop": "x"})
# Digits, then the letters that mean nothing else.
_PLACES = "1234567890abcdeghijklmnopqrtuvyz"
_WIDEST = 100
_LONGEST_NOTE = 400


def keys_of(blocked: RecoveryNeeded) -> dict[str, int]:
    """Key -> place among the options: one of its own for each, and for the first of a kind the letter of that kind."""
    keys = {key: place for place, key in enumerate(_PLACES[: len(blocked.options)])}
    for place, option in enumerate(blocked.options):
        keys.setdefault(_LETTERS[option.action], place)
    return keys


def draw_panel(
    blocked: RecoveryNeeded, now: datetime, zone: tzinfo | None, remaining: float | None, width: int
) -> RenderableType:
    """Why the phase cannot go on, when that passes, and each option with its keys.

    ``now`` is UTC; ``zone`` is where the person is, None for the machine's own. ``remaining`` are the seconds until the
    default is taken, None when that never happens by itself.
    """
    parts: list[RenderableType] = [*_problem(blocked, now, zone), Text(), _choices(blocked, now, zone, remaining)]
    if blocked.hint:
        parts += [Text(), Text(f"hint: {clean_line(blocked.hint, _LONGEST_NOTE)}", style="dim")]
    return Panel(
        Group(*parts),
        title=Text(f"{blocked.phase} cannot go on", style="bold"),
        title_align="left",
        subtitle=Text("Enter takes ▶"),
        subtitle_align="right",
        border_style="yellow",
        width=min(width, _WIDEST),
    )


def draw_wait(
    blocked: RecoveryNeeded, option: Option, end: datetime, left: float, now: datetime, zone: tzinfo | None, width: int
) -> RenderableType:
    """The countdown of a wait until ``end``: ``left`` are the seconds until then."""
    route = option.route or blocked.route
    until = Text.assemble(
        (f"waiting until {time_of_day(end, now, zone)}", "bold"),
        f" ({duration(left, units=4)}) for {with_account(route)}",
    )
    return Panel(
        Group(until, Text("any key: choose again", style="dim")),
        title=Text(f"{blocked.phase}: {reason(blocked)}", style="bold"),
        title_align="left",
        border_style="yellow",
        width=min(width, _WIDEST),
    )


def _problem(blocked: RecoveryNeeded, now: datetime, zone: tzinfo | None) -> list[RenderableType]:
    why = ": ".join(filter(None, (reason(blocked), quoted(blocked.message))))
    lines: list[RenderableType] = [Text(with_account(blocked.route), style="bold"), Text(why)]
    request = f"request {blocked.request_id}" if blocked.request_id else ""
    facts = [str(part) for part in (blocked.status, blocked.code, request) if part]
    if facts:
        lines.append(Text(clean_line(" · ".join(facts), _LONGEST_NOTE), style="dim"))
    when = reset(blocked, now, zone)
    if when:
        lines.append(Text(when, style="yellow"))
    return lines


def _choices(blocked: RecoveryNeeded, now: datetime, zone: tzinfo | None, remaining: float | None) -> RenderableType:
    keys: dict[int, list[str]] = {}
    for key, place in keys_of(blocked).items():
        keys.setdefault(place, []).append(key)
    table = Table.grid(padding=(0, 1))
    for place, option in enumerate(blocked.options):
        is_default = place == blocked.default
        mark = Text("▶" if is_default else " ", style="cyan")
        # The letter of its kind before the digit of its place.
        names = Text(" ".join(reversed(keys.get(place, []))), style="bold")
        words = Text(way_out(option, blocked.route, now, zone), style="bold" if is_default else "")
        if is_default and remaining is not None:
            words.append(f"  in {duration(remaining)} unless you choose", style="cyan not bold")
        if option.note:
            words.append(f"\n{clean_line(option.note, _LONGEST_NOTE)}", style="not bold")
        if option.refused:
            words.append(f"\nnot by itself: {clean_line(option.refused, _LONGEST_NOTE)}", style="dim not bold")
        table.add_row(mark, names, words)
    return table
