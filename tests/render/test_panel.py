"""The panel of a phase that cannot go on: every limit and error in words, the reset in local time, the options."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from autoroute import errors
from autoroute.error_phrases import ERRORS, LIMITS
from autoroute.errors import Limit, ProviderError
from autoroute.events import Action, Option, RecoveryNeeded
from autoroute.render.labels import format_duration, format_time, name_reason
from autoroute.render.panel import draw_panel, draw_wait, option_keys
from autoroute.routing import Phase, Route
from tests.render.hostile import residue
from tests.render.spoiling import spoil
from tests.render.test_formats import HOSTILE
from tests.store.examples import CLAUDE, GLM

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 16, 46, tzinfo=UTC)
OPUS = RecoveryNeeded(
    phase=Phase.PLANNING,
    turn=7,
    route=dataclasses.replace(CLAUDE, account="max"),
    error="LimitReached",
    message="You've hit your session limit · resets 8pm (Europe/Berlin)",
    status=429,
    code="rate_limit_error",
    request_id="req_011CSHoEeqs5C35K2UUqR7Fy",
    limit="five_hour",
    retry_at=datetime(2026, 11, 23, 19, tzinfo=UTC),
    hint="",
    options=(
        Option(
            action="wait", route=dataclasses.replace(CLAUDE, account="max"), wait=8041.0, note="the same model goes on"
        ),
        Option(
            action="switch", route=dataclasses.replace(CLAUDE, account="team"), note="the prompt cache is not shared"
        ),
        Option(
            action="switch", route=dataclasses.replace(CLAUDE, account="old"), note="the prompt cache is not shared"
        ),
        Option(
            action="fallback",
            route=GLM,
            note="$0.6 in, $2.2 out a million tokens; reads 41.2k tokens again, $0.02",
            refused="it costs a token's price in place of a flat fee; allow_paid = true lets it",
        ),
        Option(action="stop", note="keeps everything; autoroute resume r1 goes on here"),
    ),
    default=1,
)


def drawn(picture: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(picture)
    return captured.get()


def panel(
    blocked: RecoveryNeeded, width: int = 100, zone: tzinfo | None = BERLIN, remaining: float | None = 42.0
) -> str:
    return drawn(draw_panel(blocked, NOW, zone, remaining, width), width)


def words(text: str) -> str:
    """The text without the frame and the line breaks of its width."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def test_opus_limited_during_planning() -> None:
    assert [line.rstrip() for line in panel(OPUS, 92).splitlines()] == [
        "╭─ planning cannot continue ───────────────────────────────────────────────────────────────╮",
        "│ anthropic/claude-opus-4-5 (account max)                                                  │",
        '│ 5-hour window: "You\'ve hit your session limit · resets 8pm (Europe/Berlin)"              │',
        "│ 429 · rate_limit_error · request req_011CSHoEeqs5C35K2UUqR7Fy                            │",
        "│ resets 20:00 CET, in 2 h 14 min                                                          │",
        "│                                                                                          │",
        "│   w 1 wait until 20:00 CET (2 h 14 min) for anthropic/claude-opus-4-5                    │",
        "│       the same model goes on                                                             │",
        "│ ▶ s 2 switch to account team  in 42 s unless you choose                                  │",
        "│       the prompt cache is not shared                                                     │",
        "│   3   switch to account old                                                              │",
        "│       the prompt cache is not shared                                                     │",
        "│   f 4 fall back to zai/glm-4.7 (account work)                                            │",
        "│       $0.6 in, $2.2 out a million tokens; reads 41.2k tokens again, $0.02                │",
        "│       not automatic: it costs a token's price in place of a flat fee; allow_paid = true  │",
        "│       lets it                                                                            │",
        "│   x 5 stop and resume later                                                              │",
        "│       keeps everything; autoroute resume r1 goes on here                                 │",
        "╰──────────────────────────────────────────────────────────────────────── Enter chooses ▶ ─╯",
    ]


@pytest.mark.parametrize("limit", get_args(Limit))
def test_every_limit_has_words_in_the_panel(limit: Limit) -> None:
    said = name_reason(dataclasses.replace(OPUS, limit=limit))
    assert said == (LIMITS[limit] if limit else "usage limit")
    assert said in words(panel(dataclasses.replace(OPUS, limit=limit), 40))


def kinds(kind: type[ProviderError] = ProviderError) -> Iterator[type[ProviderError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.__module__ == errors.__name__])
def test_every_error_has_words_in_the_panel(kind: type[ProviderError]) -> None:
    blocked = dataclasses.replace(OPUS, error=kind.__name__, limit="", retry_at=None)
    assert ERRORS[kind.__name__] in words(panel(blocked, 40))
    assert "resets" not in words(panel(dataclasses.replace(blocked, message="")))


def test_an_error_of_another_name_is_shown_by_it() -> None:
    assert "Unheard of: " not in panel(OPUS)
    assert "Unheard of: " in panel(dataclasses.replace(OPUS, error="Unheard of", limit=""))


def test_keys_are_the_letter_of_a_kind_and_the_digit_of_a_place() -> None:
    assert option_keys(OPUS) == {"1": 0, "2": 1, "3": 2, "4": 3, "5": 4, "w": 0, "s": 1, "f": 3, "x": 4}


@pytest.mark.parametrize("number", [1, 9, 10, 20])
def test_every_one_of_many_options_has_a_key(number: int) -> None:
    fallbacks = tuple(Option(action="fallback", route=GLM) for _ in range(number))
    keys = option_keys(dataclasses.replace(OPUS, options=(*fallbacks, Option(action="stop")), default=0))
    assert set(keys.values()) == set(range(number + 1))
    assert (keys["f"], keys["x"]) == (0, number)
    assert all(len(key) == 1 and key == key.lower() for key in keys)


@pytest.mark.parametrize("action", get_args(Action))
def test_the_default_is_marked_with_its_countdown_and_without_one_only_marked(action: Action) -> None:
    option = Option(action=action, route=GLM, wait=30.0 if action == "wait" else None)
    blocked = dataclasses.replace(OPUS, options=(option, Option(action="stop")), default=0)
    assert panel(blocked).count("in 42 s unless you choose") == 1
    assert "unless you choose" not in panel(blocked, remaining=None)
    assert panel(blocked, remaining=None).count("▶") == 2


@pytest.mark.parametrize(
    ("moment", "now", "said"),
    [
        ("2026-11-23T19:00:00", "2026-11-23T16:46:00", "20:00 CET"),
        ("2026-11-23T19:00:07", "2026-11-23T16:46:00", "20:00 CET"),
        ("2026-11-23T19:00:07", "2026-11-23T18:51:00", "20:00:07 CET"),
        ("2026-11-23T23:30:00", "2026-11-23T16:46:00", "Tue 24 Nov 00:30 CET"),
        ("2026-11-23T23:30:00", "2026-11-23T23:10:00", "00:30 CET"),
        ("2027-01-01T08:00:00", "2026-12-31T08:00:00", "Fri 01 Jan 2027 09:00 CET"),
        # Clocks go back on 25 October 2026 and forth on 28 March 2027, at 01:00 UTC.
        ("2026-10-25T00:30:00", "2026-10-24T23:00:00", "02:30 CEST"),
        ("2026-10-25T01:30:00", "2026-10-25T00:30:00", "02:30 CET"),
        ("2026-10-27T19:00:00", "2026-10-24T12:00:00", "Tue 27 Oct 20:00 CET"),
        ("2027-03-28T01:30:00", "2027-03-28T00:30:00", "03:30 CEST"),
    ],
)
def test_a_time_is_local_and_has_its_zone_and_the_date_of_another_day(moment: str, now: str, said: str) -> None:
    then, today = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (moment, now))
    assert format_time(then, today, BERLIN) == said


def test_over_a_change_of_clocks_the_wait_is_what_really_passes() -> None:
    blocked = dataclasses.replace(OPUS, retry_at=datetime(2026, 10, 25, 2, tzinfo=UTC))
    before = datetime(2026, 10, 24, 23, tzinfo=UTC)
    assert "resets 03:00 CET, in 3 h" in drawn(draw_panel(blocked, before, BERLIN, None, 90), 90)


def test_without_a_zone_it_is_that_of_the_machine() -> None:
    local = NOW.astimezone()
    assert format_time(NOW, NOW, None) == f"{local:%H:%M} {local.tzname()}"


@pytest.mark.parametrize("moment", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_a_reset_at_the_end_of_time_breaks_nothing(moment: datetime) -> None:
    waits = (Option(action="wait", route=GLM, wait=wait) for wait in (0.0, 1e12, float("inf")))
    blocked = dataclasses.replace(OPUS, retry_at=moment, options=(*waits, Option(action="stop")), default=3)
    for zone in (BERLIN, ZoneInfo("America/New_York")):
        assert "anthropic/claude-opus-4-5" in panel(blocked, zone=zone)


def test_a_reset_that_is_past_is_said_to_be() -> None:
    assert "may have passed (expected 17:40 CET)" in panel(
        dataclasses.replace(OPUS, retry_at=NOW - timedelta(minutes=6))
    )


@pytest.mark.parametrize(
    ("seconds", "units", "said"),
    [
        (0.0, 2, "0 s"),
        (-5.0, 2, "0 s"),
        (0.2, 2, "1 s"),
        (59.5, 2, "1 min"),
        (61.0, 2, "1 min 1 s"),
        (8040.0, 2, "2 h 14 min"),
        (7992.0, 4, "2 h 13 min 12 s"),
        (7992.0, 2, "2 h 13 min"),
        (7205.0, 2, "2 h"),
        (7205.0, 4, "2 h 5 s"),
        (604_800.0 - 1, 2, "6 d 23 h"),
        (float("inf"), 1, "11574074 d"),
    ],
)
def test_a_duration_in_words(seconds: float, units: int, said: str) -> None:
    assert format_duration(seconds, units) == said


@pytest.mark.parametrize("width", [10, 20, 40, 57, 80, 120])
def test_at_any_width_nothing_is_wider_and_nothing_is_missing(width: int) -> None:
    text = panel(OPUS, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    if width >= 40:
        for part in ("5-hour window", "session limit", "resets 20:00 CET", "fall back to", "stop and resume later"):
            assert part in words(text)


def test_a_hostile_provider_reaches_no_terminal() -> None:
    hostile = dataclasses.replace(spoil(OPUS, HOSTILE), message=f"[bold]x[/y] [/]\n{HOSTILE}\n" * 50, hint=HOSTILE)
    for width in (40, 80, 120):
        text = panel(hostile, width)
        assert residue(text) == []
        assert "[bold]x[/y]" in words(text)
        assert len(text.splitlines()) < 100


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200), st.integers(40, 120))
def test_any_text_at_any_width(text: str, width: int) -> None:
    route = Route(provider=text, model=text, requested=text, account=text)
    options = (Option(action="switch", route=route, note=text, refused=text), Option(action="stop", note=text))
    facts: dict[str, Any] = {"message": text, "code": text, "request_id": text, "hint": text, "error": text}
    blocked = dataclasses.replace(OPUS, route=route, limit="", options=options, default=1, **facts)
    shown = panel(blocked, width)
    assert residue(shown) == []
    assert max(cell_len(line) for line in shown.splitlines()) <= width


def test_a_wait_counts_down_to_the_second() -> None:
    end = NOW + timedelta(seconds=7992)
    wait = OPUS.options[0]
    text = words(drawn(draw_wait(OPUS, wait, end, 7992.0, NOW, BERLIN, 100), 100))
    assert text == (
        "planning: 5-hour window waiting until 19:59 CET (2 h 13 min 12 s) for anthropic/claude-opus-4-5 "
        "(account max) any key: choose again"
    )
    narrow = drawn(draw_wait(spoil(OPUS, HOSTILE), spoil(wait, HOSTILE), end, 7992.0, NOW, BERLIN, 40), 40)
    assert residue(narrow) == []
    assert max(cell_len(line) for line in narrow.splitlines()) <= 40
