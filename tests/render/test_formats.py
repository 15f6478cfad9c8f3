"""Every format, shown every event: whatever the texts in them, nothing but what can be seen reaches a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from enum import Enum
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoroute.errors import UsageError
from autoroute.events import Event, RunEnded, decode
from autoroute.render import FORMATS, Renderer, choose_format, open_renderer
from autoroute.render.clean import clean, clean_line
from tests.render.terminal import Terminal
from tests.store.examples import RUN

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\x00\x9b31m\u2066\ud800 end"
# What colours, moves and titles may be made of is the renderer's own; everything else that cannot be seen is not.
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def spoil(value: Any) -> Any:
    """The value with a hostile string in every place where a string from elsewhere may stand."""
    if isinstance(value, Enum) or value is None:
        return value
    if isinstance(value, str):
        return value + HOSTILE
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fixed = {"type", "role", "kind", "level", "outcome", "artefact", "effort"}
        changes = {f.name: spoil(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in fixed}
        return type(value)(**{f.name: getattr(value, f.name) for f in dataclasses.fields(value)} | changes)
    if isinstance(value, tuple):
        return tuple(spoil(item) for item in value)
    if isinstance(value, dict):
        return {key: spoil(item) for key, item in value.items()}
    return value


def show(renderer: Renderer, events: tuple[Event, ...]) -> None:
    with renderer:
        for event in events:
            renderer.show(event)


def test_the_examples_hold_every_kind_of_event() -> None:
    assert {type(event) for event in RUN} == set(get_args(Event))


@pytest.fixture(params=list(FORMATS))
def shown(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """Format, standard output and standard error of a hostile run that is not on a terminal."""
    stdout, stderr = io.StringIO(), io.StringIO()
    show(open_renderer(request.param, stdout=stdout, stderr=stderr), tuple(spoil(event) for event in RUN))
    return request.param, stdout.getvalue(), stderr.getvalue()


def test_nothing_unseen_gets_through(shown: tuple[str, str, str]) -> None:
    _, stdout, stderr = shown
    assert CONTROLS.findall(stdout + stderr) == []


def test_the_result_and_only_the_result_is_on_standard_output(shown: tuple[str, str, str]) -> None:
    format, stdout, stderr = shown
    if format == "jsonl":
        assert stderr == ""
        assert [json.loads(line)["type"] for line in stdout.splitlines()] == [event.type for event in RUN]
    else:
        assert stdout.startswith("approved: approved")
        assert "autoroute merge r1" in stdout
        assert "Write it" not in stdout
        assert "commit cccccccccccc" in stderr


def test_jsonl_is_the_events_themselves() -> None:
    stdout = io.StringIO()
    show(open_renderer("jsonl", stdout=stdout, stderr=io.StringIO()), RUN)
    assert tuple(decode(json.loads(line)) for line in stdout.getvalue().splitlines()) == RUN


def test_plain_says_what_happened_a_line_an_event() -> None:
    stderr = io.StringIO()
    show(open_renderer("plain", stdout=io.StringIO(), stderr=stderr), RUN)
    lines = [line[9:] for line in stderr.getvalue().splitlines()]
    assert lines == [
        "          run r1: Greet the world",
        (
            f"          from {'b' * 12}, spec anthropic/claude-opus-4-5, planning anthropic/claude-opus-4-5, "
            "coding zai/glm-4.7, qa anthropic/claude-opus-4-5"
        ),
        "          warning: something to know",
        "spec      begins on anthropic/claude-opus-4-5",
        "spec      spec refused (1): title: missing",
        "spec      spec accepted",
        "spec      done after 1.5 s",
        "coding    begins on zai/glm-4.7",
        "coding    subtask S1 (1 of 1): Write it",
        "coding    zai/glm-4.7: Busy (429 1302): slow down; attempt 1, again in 1.2 s",
        "coding    I edit it. ✓",
        "coding      edit a",
        "coding    verify FAILED (exit code 2): make",
        "coding      | boom",
        f"coding    commit {'c' * 12} Write it",
        "coding    done after 4.0 s",
        "coding    review accepted",
        "coding    1 commits on autoroute/r1",
        "coding    approved after 9.0 s, exit code 0: approved",
        "coding    hint: autoroute merge r1",
    ]


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (15, 40), (5, 20), (60, 200)])
def test_live_on_a_terminal_leaves_a_line_a_phase_and_no_frame(rows: int, columns: int) -> None:
    with Terminal(rows, columns) as terminal:
        show(open_renderer("live", stdout=io.StringIO(), stderr=terminal.file), RUN)
    text = "".join(line.ljust(columns) for line in terminal.lines)
    words = " ".join(text.split())
    assert "✓ spec" in words
    assert "✓ coding zai/glm-4.7 done, 4.0 s" in words
    assert "hint: autoroute merge r1" in words
    assert "╭" not in words
    assert terminal.written.rstrip().endswith(b"r1") or b"\x1b[?25h" in terminal.written  # the cursor is back


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (15, 40)])
def test_live_shows_the_phases_their_models_and_what_goes_on(rows: int, columns: int) -> None:
    started = tuple(event for event in RUN if not isinstance(event, RunEnded))
    place = next(number for number, event in enumerate(started) if event.type == "tool_ended")
    with Terminal(rows, columns) as terminal:
        renderer = open_renderer("live", stdout=io.StringIO(), stderr=terminal.file)
        with renderer:
            for event in started[: place + 1]:
                renderer.show(event)
            with renderer.pause():
                terminal.file.write("what a question looks like\n")
                terminal.file.flush()
    drawn = terminal.written.decode()
    for words in ("Greet the world", "spec", "planning", "coding", "qa", "zai/glm-4.7", "edit a", "S1 (1 of 1)"):
        assert words in drawn
    assert "what a question looks like" in terminal.lines


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300), st.integers(4, 80))
def test_a_clean_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = clean_line(text, limit)
    assert len(line) <= max(limit, 1) or "\\" in line
    assert "\n" not in line
    assert CONTROLS.findall(clean(text)) == []
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("requested", "tty", "no_color", "dumb", "chosen"),
    [
        (None, True, False, False, "live"),
        (None, True, True, False, "plain"),
        (None, True, False, True, "plain"),
        (None, False, False, False, "plain"),
        ("live", False, True, True, "live"),
        ("jsonl", True, False, False, "jsonl"),
    ],
)
def test_the_format_that_fits(requested: str | None, tty: bool, no_color: bool, dumb: bool, chosen: str) -> None:
    assert choose_format(requested, tty=tty, no_color=no_color, dumb=dumb) == chosen


def test_a_format_that_does_not_exist_and_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        choose_format("jsnl", tty=True, no_color=False, dumb=False)
    assert caught.value.hint == "did you mean jsonl?"
