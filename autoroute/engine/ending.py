"""The last event of a sitting: a verdict, a pause or an error, as outcome, exit code, message, hint and command."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from autoroute.engine.policy import Parked
from autoroute.engine.sitting import Sitting
from autoroute.errors import AutorouteError, Cancelled, ExitCode, LimitReached, PhaseFailed, ProviderError
from autoroute.events import RunEnded
from autoroute.phases import PHASES, Ending
from autoroute.routing import Phase
from autoroute.text import join_first
from autoroute.workspace import WorkspaceLost

_MAX_TOUCHED_LISTED = 10


def make_last_event(sitting: Sitting, ending: Ending | AutorouteError, seconds: float) -> RunEnded:
    """Return the event that ends a sitting. ``seconds`` is how long it took."""
    context, phase = sitting.context, sitting.phase
    match ending:
        case "approved":
            return RunEnded(
                outcome="approved",
                exit_code=0,
                message="approved by qa, and every verify command passed",
                hint=f"autoroute merge {context.identity.run}",
                seconds=seconds,
                phase=phase,
            )
        case "rejected":
            code, message = _describe_rejection(sitting)
            hint = f"autoroute show {context.identity.run}"
            return RunEnded(
                outcome="rejected", exit_code=code, message=message, hint=hint, seconds=seconds, phase=phase
            )
        case "waiting":
            message, hint = _describe_pause(sitting)
            return RunEnded(
                outcome="waiting",
                exit_code=ExitCode.WAITING,
                message=message,
                hint=hint,
                seconds=seconds,
                resume=context.resume,
                phase=phase,
            )
        case error:
            return _end_with_error(sitting, error, seconds)


def _end_with_error(sitting: Sitting, error: AutorouteError, seconds: float) -> RunEnded:
    context, until = sitting.context, sitting.context.options.until
    if isinstance(error, Parked):
        parked = _end_with_error(sitting, error.error, seconds)
        return replace(parked, outcome="limited", exit_code=error.exit_code, retry_at=error.until)
    # What was asked of this sitting and was not reached is asked of the next one.
    resume = f"{context.resume} --until {PHASES[until].flag}" if until else context.resume
    ended = RunEnded(
        outcome=_outcome(error),
        exit_code=error.exit_code,
        message=_words(sitting.phase, error),
        hint=_way_on(sitting, error, resume),
        seconds=seconds,
        resume="" if isinstance(error, WorkspaceLost) else resume,
        error=type(error).__name__,
        phase=sitting.phase,
    )
    if not isinstance(error, ProviderError):
        return ended
    return replace(
        ended,
        provider=error.provider,
        model=error.model,
        account=error.account,
        limit=error.limit,
        retry_at=error.retry_at,
    )


def _outcome(error: AutorouteError) -> Literal["limited", "cancelled", "failed"]:
    if isinstance(error, Cancelled):
        return "cancelled"
    return "limited" if error.exit_code == ExitCode.LIMITED else "failed"


def _way_on(sitting: Sitting, error: AutorouteError, resume: str) -> str:
    if isinstance(error, WorkspaceLost):
        return error.hint
    if sitting.context.resume in error.hint:
        return error.hint.replace(sitting.context.resume, resume)
    if isinstance(error, LimitReached) and error.retry_at:
        resume += f" (after {_clock(error)}; sooner with --{PHASES[sitting.phase].flag} ROUTE or a longer --max-wait)"
    return "; ".join(filter(None, (error.hint, resume)))


def _clock(error: ProviderError) -> str:
    return f"{error.retry_at:%Y-%m-%d %H:%M} UTC" if error.retry_at else ""


def _describe_pause(sitting: Sitting) -> tuple[str, str]:
    """Return why a run ends before its verdict, and what continues it."""
    phase, resume = sitting.phase, sitting.context.resume
    if sitting.state.position.waiting_gate:
        return f"{phase} is done and waits for approval", f"{resume} --approve, or {resume} --reject WORDS"
    return f"stopped after {phase}, as asked", resume


def _words(phase: Phase, error: AutorouteError) -> str:
    if isinstance(error, ProviderError):
        resets = f" (resets {_clock(error)})" if error.retry_at and isinstance(error, LimitReached) else ""
        return f"{phase}: {error.provider}/{error.model} (account {error.account}): {error.message}{resets}"
    return f"{phase}: {error.message}" if isinstance(error, PhaseFailed) else error.message


def _describe_rejection(sitting: Sitting) -> tuple[ExitCode, str]:
    """Return exit code and message for a change that was rejected in the last round: by qa, or by the commands."""
    review, work = sitting.artifacts.review, sitting.state.work
    rounds = f"after {sitting.round} round{'s' if sitting.round > 1 else ''}"
    approved = review is not None and review.verdict == "approved"
    if work.touched and approved:
        changed = join_first(work.touched, _MAX_TOUCHED_LISTED)
        return ExitCode.REJECTED, f"qa approved {rounds}, but changed {changed}, so its approval does not count"
    if work.failed_commands and approved:
        return ExitCode.UNVERIFIED, f"verification failed {rounds}: {'; '.join(work.failed_commands)}"
    return ExitCode.REJECTED, f"qa rejected the change {rounds}: {review.summary if review else ''}"
