"""A scheduler's run: it ends at a limit instead of sleeping, says when to resume, and is resumed then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import autoroute
from autoroute.demo.server import Fault
from autoroute.engine.policy import Parking, SystemClock
from autoroute.events import Event, RecoveryDecided, RunEnded
from tests.app.test_api import open_run, resume
from tests.commands import scripts
from tests.commands.conftest import World

CHINA = timezone(timedelta(hours=8))


def window(seconds: float) -> Fault:
    """Z.AI's five-hour window, as its API reports it: a local time without a zone."""
    reset = (datetime.now(CHINA) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    message = f"Usage limit reached for 5 hour. Your limit will reset at {reset}"
    body = {"error": {"code": "1308", "message": message}}
    return Fault("status", vendor="zai", status=429, body=body, offers="edit")


def parked(
    world: World, seconds: float, max_sleep: float = 60.0, **chosen: object
) -> tuple[autoroute.Run, list[Event]]:
    world.provide("zai", scripts.rules(), faults=[window(seconds)])
    decider = Parking(SystemClock(), max_sleep=max_sleep)
    with open_run(world, plan="glm-4.7", code="glm-4.7", decider=decider, **chosen) as run:
        return run, list(run)


def test_a_limit_ends_the_run_with_the_time_to_resume_it(world: World) -> None:
    run, events = parked(world, 3 * 3600)
    assert (run.result.outcome, run.result.exit_code) == ("limited", 75)
    assert run.result.retry_at is not None
    assert timedelta(hours=2) < run.result.retry_at - datetime.now(UTC) < timedelta(hours=4)
    assert run.result.resume == f"autoroute resume {run.id}"
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert (last.error, last.provider, last.limit, last.phase) == ("LimitReached", "zai", "five_hour", "coding")
    assert last.message.startswith("coding parked until ")
    assert [event.action for event in events if isinstance(event, RecoveryDecided)] == ["wait", "park"]


def test_a_parked_run_is_resumed_to_its_end(world: World) -> None:
    run, _ = parked(world, 1.0, max_sleep=0.5)
    assert run.result.outcome == "limited"
    with resume(world, decider=Parking(SystemClock())) as again:
        again.finish()
    assert (again.id, again.result.outcome) == (run.id, "approved")


def test_a_short_wait_is_slept_through(world: World) -> None:
    run, events = parked(world, 1.0)
    assert run.result.outcome == "approved"
    assert [event.action for event in events if isinstance(event, RecoveryDecided)] == ["wait"]


def test_a_fallback_is_taken_before_a_run_is_parked(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    fallback = {"phases": {"code": {"fallback": ["anthropic/sonnet"]}}}
    run, events = parked(world, 3 * 3600, settings=fallback)
    decided = [(event.phase, event.action) for event in events if isinstance(event, RecoveryDecided)]
    # qa has no fallback: it finds the account limited and parks the run.
    assert decided == [("coding", "fallback"), ("qa", "wait"), ("qa", "park")]
    assert run.result.message.startswith("qa parked until ")
