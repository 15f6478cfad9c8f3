"""What an error or a question leads to: one policy, the same words on a terminal and in CI."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from autoroute.errors import ProviderError
from autoroute.events import GateReached, Option, RecoveryNeeded
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


@dataclass(frozen=True, slots=True)
class Decision:
    """The way out of a problem that was taken, and by whom."""

    option: Option
    by: Literal["person", "policy"]


@dataclass(frozen=True, slots=True)
class Approval:
    """What was decided at a gate. ``later`` ends the run for now, resumable.

    ``words`` say what a rejected phase must mend; ``content`` is the artifact as a person has edited it, None when
    it was left as it is.
    """

    decision: Literal["approved", "rejected", "later"]
    words: str = ""
    content: Mapping[str, Any] | None = None


class Decider(Protocol):
    """Whoever decides: a person at a terminal, or ``Unattended``. The engine asks, and does what it is told."""

    def answer(self, question: Question) -> str:
        """The answer to a model's question."""
        ...

    def recover(self, blocked: RecoveryNeeded) -> Decision:
        """Which of the options is taken."""
        ...

    def rest(self, blocked: RecoveryNeeded, option: Option) -> bool:
        """Wait as the option says; False when a person wants to choose again before that is over."""
        ...

    def allow(self, command: str) -> bool:
        """Whether a command that nothing would hold back may run."""
        ...

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:
        """What becomes of what a phase hands on; ``complaints`` are about the edited artifact given before."""
        ...


@dataclass(slots=True)
class Unattended:
    """Decides with nobody asked: the default option, and at a gate nothing yet."""

    clock: Clock

    def answer(self, question: Question) -> str:
        """There is nobody to ask."""
        return nobody_to_ask(question)

    def recover(self, blocked: RecoveryNeeded) -> Decision:
        """The default."""
        return Decision(blocked.options[blocked.default], "policy")

    def rest(self, blocked: RecoveryNeeded, option: Option) -> bool:  # noqa: ARG002 - the interface's
        """Wait to the end."""
        self.clock.sleep(option.wait or 0.0)
        return True

    def allow(self, command: str) -> bool:  # noqa: ARG002 - the interface's
        """No: there is nobody to ask."""
        return False

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:  # noqa: ARG002 - the interface's
        """Later: somebody has to look."""
        return Approval("later")


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


_FREE_WAIT = 10.0
"""Seconds. A retry that waits no longer than this needs no patience: it is part of the work."""


@dataclass(slots=True)
class WaitBudget:
    """How long a run may still wait, all its waits together: ``left`` seconds."""

    left: float

    def spend(self, seconds: float) -> None:
        """So much was waited."""
        self.left = max(0.0, self.left - seconds)

    def allows(self, seconds: float) -> bool:
        """Whether a retry may wait so long."""
        return seconds <= max(self.left, _FREE_WAIT)


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
