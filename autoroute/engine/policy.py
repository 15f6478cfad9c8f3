"""Who decides about an error, a question or a gate: one set of words for a terminal, a program and CI."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from autoroute.cancellation import CancelToken
from autoroute.errors import AutorouteError, ExitCode, ProviderError
from autoroute.events import GateReached, Option, RecoveryNeeded
from autoroute.routing import Phase

MAX_RETRY_WAIT_SECONDS = 120.0
"""A provider that asks for a longer wait is not retried within the turn: recovery decides."""

_FIRST_RETRY_WAIT_SECONDS = 1.0
_MAX_OWN_RETRY_WAIT_SECONDS = 30.0
"""Bounds of the wait that doubles with each retry, where the provider asks for none."""
_FREE_RETRY_WAIT_SECONDS = 10.0
"""A retry may always wait this long, even when nothing is left of ``max_wait``: it is part of normal work."""


@dataclass(frozen=True, slots=True)
class Question:
    """A model's question to whoever started the run; ``options`` may be empty."""

    phase: Phase
    text: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The option that was chosen for a problem, and by whom."""

    option: Option
    by: Literal["person", "policy"]


@dataclass(frozen=True, slots=True)
class Park:
    """The answer to a wait that ends the run instead: as ``limited``, to be resumed at ``until`` (UTC)."""

    until: datetime


class Parked(AutorouteError):
    """The end of a run that waits outside of this process. ``error`` is the problem that the wait is for."""

    exit_code = ExitCode.LIMITED

    def __init__(self, error: ProviderError, until: datetime) -> None:
        super().__init__(error.message, hint=error.hint)
        self.error = error
        self.until = until


@dataclass(frozen=True, slots=True)
class Approval:
    """What was decided at a gate. ``later`` ends the run for now, resumable.

    ``words`` say what a rejected phase must change. ``content`` is the artifact as a person has edited it, None when
    they left it as it is.
    """

    decision: Literal["approved", "rejected", "later"]
    words: str = ""
    content: Mapping[str, Any] | None = None


class Decider(Protocol):
    """A person at a terminal, a program, or a policy such as ``Unattended`` and ``Parking``."""

    def answer(self, question: Question) -> str:
        """Answer a model's question."""
        ...

    def recover(self, needed: RecoveryNeeded) -> Decision:
        """Choose one of the options for a provider's problem."""
        ...

    def rest(self, needed: RecoveryNeeded, option: Option) -> bool | Park:
        """Wait as the option says and return True.

        Returns False when a person wants to choose again before the wait is over, and ``Park`` to end the run instead.
        """
        ...

    def allow(self, command: str) -> bool:
        """Return whether a command may run without a sandbox, with the user's permissions."""
        ...

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:
        """Decide at a gate. ``complaints`` are about the edited artifact that was returned before."""
        ...


@dataclass(slots=True)
class Unattended:
    """Decides without a person: the default option, and at a gate nothing yet."""

    clock: Clock

    def answer(self, question: Question) -> str:
        """Tell the model to decide."""
        return answer_unattended(question)

    def recover(self, needed: RecoveryNeeded) -> Decision:
        """Choose the default."""
        return Decision(needed.options[needed.default], "policy")

    def rest(self, needed: RecoveryNeeded, option: Option) -> bool | Park:  # noqa: ARG002 - the interface's
        """Wait to the end."""
        self.clock.sleep(option.wait or 0.0)
        return True

    def allow(self, command: str) -> bool:  # noqa: ARG002 - the interface's
        """Refuse: only a person may allow it."""
        return False

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:  # noqa: ARG002 - the interface's
        """Leave the gate to a person, later."""
        return Approval("later")


@dataclass(slots=True)
class Parking(Unattended):
    """Decides as ``Unattended`` does, but parks the run for a wait of more than ``max_sleep`` seconds.

    For a scheduler: no process is held for hours, and ``RunEnded.retry_at`` says when to resume. A limit of a provider
    is parked for even if it lasts longer than ``max_wait``, which bounds sleeping processes.
    """

    max_sleep: float = 60.0

    def recover(self, needed: RecoveryNeeded) -> Decision:
        """Choose the default; where that is to stop at a limit, choose the wait until its reset."""
        default = needed.options[needed.default]
        if default.action == "stop" and needed.error in ("LimitReached", "Busy"):
            default = next((option for option in needed.options if option.action == "wait"), default)
        return Decision(default, "policy")

    def rest(self, needed: RecoveryNeeded, option: Option) -> bool | Park:  # noqa: ARG002 - the interface's
        """Wait a short time; park for a longer one."""
        seconds = option.wait or 0.0
        if seconds > self.max_sleep:
            return Park(self.clock.now() + timedelta(seconds=seconds))
        self.clock.sleep(seconds)
        return True


def answer_unattended(question: Question) -> str:
    """Return the answer to a model's question where no person can be asked."""
    choice = " Choose one of the options." if question.options else ""
    return f"No person can be asked. Decide yourself, and state the assumption.{choice}"


class Clock(Protocol):
    """Time and chance, as an argument."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait. Raises ``Cancelled`` where a cancellation ends the wait."""
        ...

    def jitter(self) -> float:
        """Return a number between 0 and 1."""
        ...


class SystemClock:
    """The clock of this machine. A cancellation of ``cancel`` ends its sleep."""

    def __init__(self, cancel: CancelToken | None = None) -> None:
        self._cancel = cancel

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait. Raises the error of the token as soon as that is set."""
        if self._cancel is None:
            time.sleep(seconds)
        else:
            self._cancel.wait(seconds)

    def jitter(self) -> float:
        """Return a number between 0 and 1."""
        return random.random()


@dataclass(slots=True)
class WaitBudget:
    """How long a sitting may still wait, all its waits together: ``left`` seconds."""

    left: float

    def spend(self, seconds: float) -> None:
        """Take a wait from what is left."""
        self.left = max(0.0, self.left - seconds)

    def allows(self, seconds: float) -> bool:
        """Return whether a retry may wait so long."""
        return seconds <= max(self.left, _FREE_RETRY_WAIT_SECONDS)


def retry_wait(error: ProviderError, attempt: int, max_retries: int, clock: Clock) -> float | None:
    """Return the seconds to wait before the same request is sent again, None when it should not be.

    ``attempt`` is the one that failed, from 1. The provider's own ``retry_at`` is a floor; the jitter only ever adds.
    """
    if not error.retryable or attempt > max_retries:
        return None
    own = min(_FIRST_RETRY_WAIT_SECONDS * 2.0 ** (attempt - 1), _MAX_OWN_RETRY_WAIT_SECONDS)
    asked = (error.retry_at - clock.now()).total_seconds() if error.retry_at else 0.0
    if asked > MAX_RETRY_WAIT_SECONDS:
        return None
    return max(own, asked) + own * clock.jitter() / 2
