"""The panel that says why a phase cannot continue and what can be done: pure functions of a problem and the time."""

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
from autoroute.render.labels import (
    describe_option,
    describe_reset,
    format_duration,
    format_route,
    format_time,
    name_reason,
    quote,
)

_LETTERS: Mapping[Action, str] = MappingProxyType({"wait": "w", "switch": "s", "fallback": "f", "stop": "x"})
_OPTION_KEYS = "1234567890abcdeghijklmnopqrtuvyz"
"""Keys of the options, in order: digits, then the letters that have no other meaning."""
_MAX_COLUMNS = 100
_MAX_NOTE_CHARACTERS = 400


def option_keys(needed: RecoveryNeeded) -> dict[str, int]:
    """Return key -> index of an option. Each option has its own key; the first of an action has its letter too."""
    keys = {key: index for index, key in enumerate(_OPTION_KEYS[: len(needed.options)])}
    for index, option in enumerate(needed.options):
        keys.setdefault(_LETTERS[option.action], index)
    return keys


def draw_panel(
    needed: RecoveryNeeded, now: datetime, zone: tzinfo | None, remaining: float | None, width: int
) -> RenderableType:
    """Return the panel: why the phase cannot continue, when that may pass, and each option with its keys.

    ``now`` is UTC; ``zone`` is the person's, None for the machine's own. ``remaining`` is the number of seconds until
    the default is chosen; None when it is never chosen automatically.
    """
    parts: list[RenderableType] = [*_problem(needed, now, zone), Text(), _options(needed, now, zone, remaining)]
    if needed.hint:
        parts += [Text(), Text(f"hint: {clean_line(needed.hint, _MAX_NOTE_CHARACTERS)}", style="dim")]
    return Panel(
        Group(*parts),
        title=Text(f"{needed.phase} cannot continue", style="bold"),
        title_align="left",
        subtitle=Text("Enter chooses ▶"),
        subtitle_align="right",
        border_style="yellow",
        width=min(width, _MAX_COLUMNS),
    )


def draw_wait(
    needed: RecoveryNeeded, option: Option, end: datetime, left: float, now: datetime, zone: tzinfo | None, width: int
) -> RenderableType:
    """Return the countdown of a wait until ``end``; ``left`` is how many seconds are left."""
    route = option.route or needed.route
    until = Text.assemble(
        (f"waiting until {format_time(end, now, zone)}", "bold"),
        f" ({format_duration(left, units=4)}) for {format_route(route)}",
    )
    return Panel(
        Group(until, Text("any key: choose again", style="dim")),
        title=Text(f"{needed.phase}: {name_reason(needed)}", style="bold"),
        title_align="left",
        border_style="yellow",
        width=min(width, _MAX_COLUMNS),
    )


def _problem(needed: RecoveryNeeded, now: datetime, zone: tzinfo | None) -> list[RenderableType]:
    reason = ": ".join(filter(None, (name_reason(needed), quote(needed.message))))
    lines: list[RenderableType] = [Text(format_route(needed.route), style="bold"), Text(reason)]
    request = f"request {needed.request_id}" if needed.request_id else ""
    facts = [str(part) for part in (needed.status, needed.code, request) if part]
    if facts:
        lines.append(Text(clean_line(" · ".join(facts), _MAX_NOTE_CHARACTERS), style="dim"))
    when = describe_reset(needed, now, zone)
    if when:
        lines.append(Text(when, style="yellow"))
    return lines


def _options(needed: RecoveryNeeded, now: datetime, zone: tzinfo | None, remaining: float | None) -> RenderableType:
    keys: dict[int, list[str]] = {}
    for key, index in option_keys(needed).items():
        keys.setdefault(index, []).append(key)
    table = Table.grid(padding=(0, 1))
    for index, option in enumerate(needed.options):
        is_default = index == needed.default
        mark = Text("▶" if is_default else " ", style="cyan")
        # The letter of its action before its digit.
        names = Text(" ".join(reversed(keys.get(index, []))), style="bold")
        words = Text(describe_option(option, needed.route, now, zone), style="bold" if is_default else "")
        if is_default and remaining is not None:
            words.append(f"  in {format_duration(remaining)} unless you choose", style="cyan not bold")
        if option.note:
            words.append(f"\n{clean_line(option.note, _MAX_NOTE_CHARACTERS)}", style="not bold")
        if option.refused:
            words.append(f"\nnot automatic: {clean_line(option.refused, _MAX_NOTE_CHARACTERS)}", style="dim not bold")
        table.add_row(mark, names, words)
    return table
