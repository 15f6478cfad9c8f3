"""The last event of a sitting: a verdict, a pause or an error, in words and in fields.

The message alone says what happened: the phase, the provider by its own name, the class of failure, model, account, and
the provider's own words. What to do is the hint, a sentence of its own. The command that continues is ``resume``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from autoroute.engine.policy import Parked
from autoroute.engine.sitting import Sitting
from autoroute.errors import (
    AutorouteError,
    BadReply,
    BadRequest,
    Billing,
    Busy,
    Cancelled,
    ExitCode,
    LimitReached,
    NoSuchModel,
    PhaseFailed,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
    WrongModel,
)
from autoroute.events import RunEnded, VerifyEnded
from autoroute.phases import PHASES, Ending
from autoroute.routing import ProviderProfile
from autoroute.text import join_first
from autoroute.workspace import WorkspaceLost

_MAX_TOUCHED_LISTED = 10

VERB_PHRASES: Mapping[type[ProviderError], str] = MappingProxyType(
    {
        Busy: "is busy",
        LimitReached: "limits account {account}",
        Unreachable: "does not answer",
        Unauthorized: "refused the {credential} of account {account}",
        Billing: "declined account {account} for a billing reason",
        NoSuchModel: "does not offer {model} to account {account}",
        TooLong: "rejected a conversation that is too long",
        BadRequest: "rejected a request",
        BadReply: "sent an invalid reply",
        WrongModel: "answered with another model",
    }
)
"""Class of error -> what the provider did, after its name."""
_BY_SETTING = "may not use account {account}"
"""What a setting of the user's did in the provider's place."""


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
            blocked = _find_obstacle(sitting) if code == ExitCode.CONFIGURATION else None
            hint = blocked.hint if blocked else f"autoroute show {context.identity.run}"
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
    # What was asked of this sitting and was not reached is asked of the next one.
    resume = f"{context.resume} --until {PHASES[until].flag}" if until else context.resume
    cause = error.error if isinstance(error, Parked) else error
    ended = RunEnded(
        outcome=_outcome(error),
        exit_code=error.exit_code,
        message=_describe(sitting, error),
        hint=_find_hint(sitting, error, resume),
        seconds=seconds,
        resume="" if isinstance(error, WorkspaceLost) else resume,
        error=type(cause).__name__,
        phase=sitting.phase,
    )
    if not isinstance(cause, ProviderError):
        return ended
    return replace(
        ended,
        provider=cause.provider,
        model=cause.model,
        account=cause.account,
        limit=cause.limit,
        retry_at=error.until if isinstance(error, Parked) else cause.retry_at,
    )


def _outcome(error: AutorouteError) -> Literal["limited", "cancelled", "failed"]:
    if isinstance(error, Cancelled):
        return "cancelled"
    return "limited" if error.exit_code == ExitCode.LIMITED else "failed"


def _describe(sitting: Sitting, error: AutorouteError) -> str:
    """Return what happened, in a sentence that needs nothing beside it."""
    match error:
        case Parked():
            stopped = f"parked until {_format_time(error.until)}"
            return f"{sitting.phase} {stopped}: {_describe_provider_error(sitting, error.error)}"
        case ProviderError():
            return f"{sitting.phase} stopped: {_describe_provider_error(sitting, error)}"
        case PhaseFailed():
            return f"{sitting.phase} stopped: {error.message}"
        case _:
            return error.message


def _describe_provider_error(sitting: Sitting, error: ProviderError) -> str:
    """Return ``Z.AI refused the key of account default (glm-4.7, 401 authentication_error: invalid key)``."""
    profile = sitting.context.config.providers.get(error.provider)
    phrase = _BY_SETTING if error.by_setting else VERB_PHRASES[_known_class(error)]
    sentence = phrase.format(
        account=error.account, model=error.model, credential="login" if profile and profile.logins else "key"
    )
    until = f" until {_format_time(error.retry_at)}" if isinstance(error, LimitReached) and error.retry_at else ""
    facts = [
        "" if "{model}" in phrase else error.model,
        "" if "{account}" in phrase else f"account {error.account}",
        _format_code(error),
    ]
    return f"{_title(profile, error)} {sentence}{until} ({', '.join(filter(None, facts))}: {error.message})"


def _known_class(error: ProviderError) -> type[ProviderError]:
    return next(kind for kind in type(error).__mro__ if kind in VERB_PHRASES)


def _title(profile: ProviderProfile | None, error: ProviderError) -> str:
    return (profile.title if profile else "") or error.provider or "the provider"


def _format_code(error: ProviderError) -> str:
    """Return ``401 authentication_error``; without the 200 of an error inside a stream, which says nothing."""
    if error.status is None:
        return ""
    return " ".join(filter(None, (str(error.status) if error.status != 200 else "", error.code)))


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _find_hint(sitting: Sitting, error: AutorouteError, resume: str) -> str:
    """Return what to do about an error, apart from the command that continues the run."""
    if isinstance(error, Parked):
        return f"resume the run after {_format_time(error.until)}"
    if sitting.context.resume in error.hint and not isinstance(error, WorkspaceLost):
        return error.hint.replace(sitting.context.resume, resume)
    if not error.hint and isinstance(error, LimitReached) and error.retry_at:
        flag = PHASES[sitting.phase].flag
        return f"resume after {_format_time(error.retry_at)}, or now with --{flag} ROUTE or a longer --max-wait"
    return error.hint


def _describe_pause(sitting: Sitting) -> tuple[str, str]:
    """Return why a run ends before its verdict, and what to do beside resuming it."""
    phase, resume = sitting.phase, sitting.context.resume
    if sitting.state.position.waiting_gate:
        return f"{phase} is done and waits for approval", f"{resume} --approve, or {resume} --reject WORDS"
    return f"stopped after {phase}, as asked", ""


def _find_obstacle(sitting: Sitting) -> VerifyEnded | None:
    """Return the result of a verify command that cannot run in this environment, None without one."""
    return next((event for event in sitting.state.work.evidence if event.obstacle), None)


def _describe_rejection(sitting: Sitting) -> tuple[ExitCode, str]:
    """Return exit code and message for a change that was rejected in the last round: by qa, or by the commands."""
    review, work = sitting.artifacts.review, sitting.state.work
    rounds = f"after {sitting.round} round{'s' if sitting.round > 1 else ''}"
    approved = review is not None and review.verdict == "approved"
    if work.touched and approved:
        changed = join_first(work.touched, _MAX_TOUCHED_LISTED)
        return ExitCode.REJECTED, f"qa approved {rounds}, but changed {changed}, so its approval does not count"
    blocked = _find_obstacle(sitting)
    if blocked is not None and approved:
        return ExitCode.CONFIGURATION, f"the verify command cannot run here: {blocked.command}: {blocked.obstacle}"
    if work.failed_commands and approved:
        return ExitCode.UNVERIFIED, f"verification failed {rounds}: {'; '.join(work.failed_commands)}"
    if approved:
        return ExitCode.REJECTED, f"qa approved {rounds}, but no verify command tests the change (verify.canary)"
    return ExitCode.REJECTED, f"qa rejected the change {rounds}: {review.summary if review else ''}"
