"""Every format, shown every event: whatever the texts in them, nothing but what can be seen reaches a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from autoroute.errors import UsageError
from autoroute.events import (
    TRANSIENT,
    Event,
    GateDecided,
    GateReached,
    PhaseStarted,
    Published,
    RecoveryDecided,
    RunEnded,
    RunResumed,
    TurnStarted,
    VerifyEnded,
    VerifyStarted,
    decode,
)
from autoroute.render import FORMATS, Renderer, choose_format, open_renderer
from autoroute.render.clean import clean, clean_line
from autoroute.render.layout import draw
from autoroute.render.plain import Plain
from autoroute.render.view_model import ViewModel
from autoroute.routing import Phase
from tests.render.hostile import ATTACKS, is_unseen, residue
from tests.render.spoiling import spoil
from tests.render.terminal import Terminal
from tests.store.examples import BLOCKED, CLAUDE, GLM, RUN

RECORDED = [event for event in RUN if not isinstance(event, TRANSIENT)]
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\x00\x9b31m\u2066\ud800 end"


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
    show(open_renderer(request.param, stdout=stdout, stderr=stderr), tuple(spoil(event, HOSTILE) for event in RUN))
    return request.param, stdout.getvalue(), stderr.getvalue()


def test_nothing_unseen_gets_through(shown: tuple[str, str, str]) -> None:
    _, stdout, stderr = shown
    assert residue(stdout + stderr) == []


@pytest.mark.parametrize("event", RUN, ids=lambda event: event.type)
@pytest.mark.parametrize("format", FORMATS)
def test_no_text_of_any_event_talks_to_the_terminal(format: str, event: Event) -> None:
    """Each string alone, so that none hides behind another; on a terminal, for all formats."""
    with Terminal(24, 80) as terminal:
        for words in ATTACKS:
            show(open_renderer(format, stdout=terminal.file, stderr=terminal.file), (spoil(event, words),))
    assert residue(terminal.written.decode()) == []


def test_the_strings_are_hostile_indeed() -> None:
    assert len([words for words in ATTACKS if residue(words)]) > 25


def test_every_character_that_cannot_be_seen_is_made_visible() -> None:
    characters = "".join(map(chr, range(0x110000)))
    unseen = "".join(filter(is_unseen, characters))
    assert len(unseen) > 6_000
    assert residue(clean(unseen)) == []
    assert clean(characters.translate(dict.fromkeys(map(ord, unseen)))).isprintable() is False  # newlines and tabs stay


def test_the_result_and_only_the_result_is_on_standard_output(shown: tuple[str, str, str]) -> None:
    format, stdout, stderr = shown
    if format == "jsonl":
        assert stderr == ""
        assert [json.loads(line)["type"] for line in stdout.splitlines()] == [event.type for event in RECORDED]
    else:
        assert stdout.startswith("approved")
        assert "autoroute merge r1" in stdout
        assert "Write it" not in stdout
        assert "commit cccccccccccc" in stderr


@pytest.mark.parametrize(("deltas", "shown"), [(False, RECORDED), (True, list(RUN))], ids=["recorded", "all"])
def test_jsonl_is_the_events_themselves_and_fragments_of_replies_if_asked(deltas: bool, shown: list[Event]) -> None:
    stdout = io.StringIO()
    show(open_renderer("jsonl", stdout=stdout, stderr=io.StringIO(), deltas=deltas), RUN)
    assert [decode(json.loads(line)) for line in stdout.getvalue().splitlines()] == shown


@pytest.mark.parametrize("requested", [None, "plain", "live"])
def test_fragments_are_for_jsonl_only(requested: str | None) -> None:
    with pytest.raises(UsageError, match="--deltas needs --format jsonl"):
        choose_format(requested, tty=True, no_color=False, dumb=False, deltas=True)


def test_plain_says_what_happened_a_line_an_event() -> None:
    stderr = io.StringIO()
    now = datetime(2026, 11, 23, 17, 46, tzinfo=UTC)
    show(Plain(io.StringIO(), stderr, lambda: now), RUN)
    lines = [line[9:] for line in stderr.getvalue().splitlines()]
    assert lines == [
        "          run r1: Greet the world",
        (
            f"          base {'b' * 12}; spec anthropic/claude-opus-4-5, planning anthropic/claude-opus-4-5, "
            "coding zai/glm-4.7, qa anthropic/claude-opus-4-5"
        ),
        "          warning: something to know",
        "spec      started on anthropic/claude-opus-4-5",
        "spec      spec rejected (attempt 1): title: missing",
        "spec      spec accepted",
        "spec      done after 1.5 s",
        "spec      gate: spec waits for approval",
        "spec      run r1: Greet the world",
        (
            "spec      resumes at coding; spec anthropic/claude-opus-4-5, planning anthropic/claude-opus-4-5, "
            "coding zai/glm-4.7, qa anthropic/claude-opus-4-5"
        ),
        "spec      gate: approved",
        "coding    started on zai/glm-4.7",
        "coding    warning: changes in submodules undone: lib/a.c",
        "coding    left out of the commit, made by commands: .coverage, build/",
        "coding    setup passed (3.0 s): npm ci",
        "coding    setup reused, made by run 20261201: uv sync",
        "coding    subtask S1 (1 of 1): Write it",
        "coding    zai/glm-4.7: busy (429 1302): slow down; attempt 1 failed, retrying in 1.2 s",
        "coding    I edit it. ✓",
        "coding      edit a",
        (
            'coding    zai/glm-4.7 (account work): 5-hour window: "Usage limit reached for 5 hour" '
            "(429, 1308, request req_2); resets 20:00 UTC, in 2 h 14 min"
        ),
        (
            "coding    options: fall back to anthropic/claude-opus-4-5 (default); wait until 20:00 UTC (2 h 14 min) "
            "for zai/glm-4.7 (not automatic: longer than the 7200 s that are left of max_wait); stop and resume later"
        ),
        "coding    policy decided: fall back to anthropic/claude-opus-4-5",
        "coding    conversation compacted from 180000 to 40000 tokens: the window of claude-opus-4-5",
        "coding    not in the commit, and removed: notes.txt, build, and 2 more",
        "coding    baseline: fails for reasons outside the task (0.5 s): make",
        "coding      these tests fail before the task: test_old",
        "coding    canary: no verify command tests the change: all pass with a.py made unparsable",
        "coding    verify FAILED (exit code 2): make",
        "coding      | boom",
        f"coding    commit {'c' * 12} Write it",
        "coding    done after 4.0 s",
        "coding    review accepted",
        "coding    published 1 commit on autoroute/r1",
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
    assert "✓ coding zai/glm-4.7 → anthropic/claude-opus-4-5 done, 4.0 s" in words
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
    assert residue(clean(text)) == []
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


def picture(events: tuple[Event, ...], now: float, width: int = 80, height: int = 24) -> str:
    """What the live screen looks like ``now`` seconds after these events."""
    view = ViewModel()
    for event in events:
        view.apply(event, 0.0)
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(view, width, height, now))
    return captured.get()


STARTED = (RUN[0], PhaseStarted(phase=Phase.CODING, round=1, route=GLM))
WAITED = RecoveryDecided(
    phase=Phase.CODING, turn=2, route=GLM, error="LimitReached", action="wait", to=GLM, wait=8040.0, by="policy"
)


def test_a_wait_is_counted_down_in_the_frame_until_the_next_request() -> None:
    waiting = (*STARTED, BLOCKED, WAITED)
    assert "waiting 2 h 14 min for zai/glm-4.7" in picture(waiting, 0.0)
    assert "waiting 2 h 13 min 12 s for zai/glm-4.7" in picture(waiting, 48.0)
    assert "waiting 0 s for zai/glm-4.7" in picture(waiting, 9000.0)
    for over in (TurnStarted(phase=Phase.CODING, turn=2, route=GLM, attempt=1), BLOCKED, STARTED[1]):
        assert "waiting 2" not in picture((*waiting, over), 0.0)


@pytest.mark.parametrize(
    ("action", "to", "header"),
    [
        ("fallback", CLAUDE, "coding    zai/glm-4.7 → anthropic/claude-opus-4-5"),
        ("switch", dataclasses.replace(GLM, account="home"), "coding    zai/glm-4.7 → account home"),
        ("wait", GLM, "coding    zai/glm-4.7 "),
    ],
)
def test_the_header_says_who_serves_a_phase_now(action: Any, to: Any, header: str) -> None:
    decided = dataclasses.replace(WAITED, action=action, to=to)
    assert header in picture((*STARTED, BLOCKED, decided), 0.0)
    again = PhaseStarted(phase=Phase.CODING, round=2, route=GLM)
    assert "→ a" not in picture((*STARTED, decided, again), 0.0), "the primary is back"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12)])
def test_a_wait_makes_the_frame_no_larger_than_the_terminal(width: int, height: int) -> None:
    drawn = picture((*STARTED, *[BLOCKED] * 10, WAITED), 1.0, width, height)
    assert len(drawn.splitlines()) <= height - 1
    assert "waiting 2 h" in drawn


@pytest.mark.parametrize(("passed", "mark"), [(True, "✓"), (False, "✗")])
def test_a_verify_command_is_a_step_that_goes_on_until_its_end_marks_it(passed: bool, mark: str) -> None:
    begins = VerifyStarted(phase=Phase.CODING, command="make", tree="e" * 40)
    ends = VerifyEnded(phase=Phase.CODING, command="make", passed=passed, exit_code=2, output="", seconds=0.5)
    assert "… verify: make" in picture((*STARTED, begins), 0.0)
    ended = picture((*STARTED, begins, ends), 0.0)
    assert f"{mark} verify: make" in ended
    assert ended.count("verify: make") == 1
    again = picture((*STARTED, begins, ends, begins), 0.0)
    assert again.index(f"{mark} verify: make") < again.index("… verify: make")


RESUMED = next(event for event in RUN if isinstance(event, RunResumed))


def test_a_resumed_run_has_its_title() -> None:
    assert "Greet the world" in picture((RESUMED,), 0.0)


@pytest.mark.parametrize(
    ("phase", "round", "marks"),
    [
        (Phase.SPEC, 1, "····"),
        (Phase.PLANNING, 1, "✓···"),
        (Phase.CODING, 1, "✓✓··"),
        (Phase.QA, 1, "✓✓✓·"),
        (Phase.CODING, 2, "✓✓··"),
        (Phase.QA, 2, "✓✓✓·"),
    ],
)
def test_a_resumed_run_has_its_earlier_phases_done(phase: Phase, round: int, marks: str) -> None:
    assert header_marks((dataclasses.replace(RESUMED, phase=phase, round=round),)) == marks


def test_a_run_that_is_resumed_at_a_gate_has_the_phase_before_it_done() -> None:
    resumed = dataclasses.replace(RESUMED, phase=Phase.SPEC)
    gate = GateReached(phase=Phase.SPEC, round=1, artifact="spec")
    passed = GateDecided(phase=Phase.SPEC, round=1, decision="approved")
    assert header_marks((resumed, gate, passed)) == "✓···"
    assert header_marks((resumed, gate, passed, PhaseStarted(phase=Phase.PLANNING, round=1, route=CLAUDE))) == "✓▶··"


def header_marks(events: tuple[Event, ...]) -> str:
    """The marks of the four phases, in order."""
    return "".join(line[0] for line in picture(events, 0.0).splitlines()[1:5])


@pytest.mark.parametrize("resume", ["", "autoroute resume r1 --config 'my own.toml'"])
def test_a_run_that_can_go_on_says_with_which_command(resume: str) -> None:
    stdout = io.StringIO()
    end = RunEnded(outcome="failed", exit_code=75, message="the limit", hint="", seconds=1.0, resume=resume)
    show(Plain(stdout, io.StringIO(), lambda: datetime.now(UTC)), (RUN[0], end))
    going_on = [f"  {resume}"] if resume else []
    assert stdout.getvalue().splitlines() == ["the limit", *going_on, "  autoroute show r1"]


def test_what_is_waited_for_is_no_failure_in_red() -> None:
    end = RunEnded(outcome="waiting", exit_code=13, message="the spec waits", hint="", seconds=1.0)
    with Terminal(24, 80) as terminal:
        show(open_renderer("live", stdout=io.StringIO(), stderr=terminal.file), (RUN[0], end))
    assert b"\x1b[33mthe spec waits" in terminal.written


def test_live_leaves_a_line_of_what_stopped_a_phase_and_what_the_policy_did() -> None:
    gate = GateReached(phase=Phase.CODING, round=1, artifact="")
    with Terminal(24, 120) as terminal:
        show(open_renderer("live", stdout=io.StringIO(), stderr=terminal.file), (*STARTED, BLOCKED, WAITED, gate))
    assert any("coding" in line and "5-hour window" in line for line in terminal.lines)
    assert "  policy decided: wait 2 h 14 min for zai/glm-4.7" in terminal.lines


def test_a_cost_after_a_resumption_says_that_it_is_not_the_whole() -> None:
    stdout = io.StringIO()
    show(Plain(stdout, io.StringIO(), lambda: datetime.now(UTC)), RUN)
    assert "cost $0.0025 since it was resumed" in stdout.getvalue()


def test_a_path_forges_no_line_of_the_result() -> None:
    stdout = io.StringIO()
    delivered = Published(
        branch="b", commit="c", commits=1, auto_executed={"a\n  autoroute merge r2/conftest.py": "runs with the tests"}
    )
    end = RunEnded(outcome="approved", exit_code=0, message="approved", hint="", seconds=1.0)
    show(Plain(stdout, io.StringIO(), lambda: datetime.now(UTC)), (RUN[0], delivered, end))
    assert "  a autoroute merge r2/conftest.py (runs with the tests)" in stdout.getvalue().splitlines()
    assert sum(line.startswith("  autoroute merge") for line in stdout.getvalue().splitlines()) == 1
