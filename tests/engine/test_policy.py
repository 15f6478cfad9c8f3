from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autoroute.engine.policy import MAX_RETRY_WAIT_SECONDS, Question, answer_unattended, retry_wait
from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.routing import Phase

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class FixedClock:
    def __init__(self, jitter: float = 0.0) -> None:
        self._jitter = jitter

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("the policy never waits itself")

    def jitter(self) -> float:
        return self._jitter


RETRIED = {Busy, Unreachable, BadReply}


@pytest.mark.parametrize(
    "kind", [Busy, Unreachable, BadReply, LimitReached, Unauthorized, Billing, NoSuchModel, TooLong, BadRequest]
)
def test_only_what_may_pass_in_a_moment_is_retried(kind: type[ProviderError]) -> None:
    wait = retry_wait(kind("no"), attempt=1, max_retries=4, clock=FixedClock())
    assert (wait is not None) == (kind in RETRIED)


def test_every_provider_error_is_retried_or_not_on_purpose() -> None:
    assert {kind for kind in ProviderError.__subclasses__() if kind.retryable} == RETRIED


def test_waits_double_and_end() -> None:
    waits = [retry_wait(Busy("no"), attempt, 4, FixedClock()) for attempt in range(1, 6)]
    assert waits == [1.0, 2.0, 4.0, 8.0, None]


def test_jitter_only_ever_adds() -> None:
    assert retry_wait(Busy("no"), 2, 4, FixedClock(jitter=1.0)) == 3.0


def test_the_providers_own_time_is_a_floor() -> None:
    error = Busy("no", retry_at=NOW + timedelta(seconds=40))
    assert retry_wait(error, 1, 4, FixedClock()) == 40.0
    assert retry_wait(Busy("no", retry_at=NOW - timedelta(hours=1)), 1, 4, FixedClock()) == 1.0


def test_a_wait_that_is_too_long_is_no_retry() -> None:
    error = Busy("no", retry_at=NOW + timedelta(seconds=MAX_RETRY_WAIT_SECONDS + 1))
    assert retry_wait(error, 1, 4, FixedClock()) is None


def test_an_unattended_answer_says_so_and_asks_for_the_assumption() -> None:
    assert "No person can be asked" in answer_unattended(Question(Phase.SPEC, "Which?"))
    assert "one of the options" in answer_unattended(Question(Phase.SPEC, "Which?", ("a", "b")))
