"""What an error or a question leads to: one policy, the same words on a terminal and in CI."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from autoroute.errors import ProviderError
from autoroute.routing import Phase

LONGEST_RETRY_WAIT = 120.0
"""Seconds. A provider that asks for more than this is not retried within the turn."""

_FIRST_WAIT = 1.0
_LONGEST_OWN_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Question:
    """A model's question to whoever started the run; ``options`` may be empty."""

    phase: Phase
    text: str
    options: tuple[str, ...] = ()


Decide = Callable[[Question], str]
"""Answers a question: a prompt on a terminal, ``nobody_to_ask`` elsewhere."""


def nobody_to_ask(question: Question) -> str:
    """The answer when nobody sits at a terminal."""
    choice = " Choose one of the options." if question.options else ""
    return f"There is nobody to ask: decide yourself, and state the assumption.{choice}"


class Clock(Protocol):
    """Time and chance, as an argument."""

    def now(self) -> datetime:
        """The time of day, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def jitter(self) -> float:
        """A number between 0 and 1."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def jitter(self) -> float:
        """A number between 0 and 1."""
        return random.random()


def retry_wait(error: ProviderError, attempt: int, max_retries: int, clock: Clock) -> float | None:
    """Seconds to wait before the same request is sent again, None when it should not be.

    ``attempt`` is the one that failed, from 1. The provider's own ``retry_at`` is a floor; the jitter only ever adds.
    """
    if not error.retryable or attempt > max_retries:
        return None
    own = min(_FIRST_WAIT * 2.0 ** (attempt - 1), _LONGEST_OWN_WAIT)
    asked = (error.retry_at - clock.now()).total_seconds() if error.retry_at else 0.0
    if asked > LONGEST_RETRY_WAIT:
        return None
    return max(own, asked) + own * clock.jitter() / 2
