"""The pipeline: one task through the four phases, round after round, to a verdict and a branch."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Literal

from autoroute import __version__
from autoroute.engine.agent import Seat
from autoroute.engine.fenced import FencedModel
from autoroute.engine.job import Job, Progress
from autoroute.engine.work import WORK
from autoroute.errors import AutorouteError, Cancelled, ExitCode, PhaseFailed, ProviderError, WorkspaceError
from autoroute.events import Delivered, Event, Notice, PhaseEnded, PhaseStarted, RunEnded, RunStarted
from autoroute.phases import PHASES, Ending, Outcome, asks, follow
from autoroute.routing import Phase, Route
from autoroute.wire import Model

_DIGEST = 200_000
"""Characters of a repository that a model without tools gets to read, at most."""
_SMALL_WINDOW = 32_000
_CHARACTERS_A_TOKEN = 3


def run(job: Job) -> Generator[Event, None, None]:
    """Carry the task through. The last event is always ``RunEnded``, unless the generator is closed.

    An ``AutorouteError`` thrown in (a cancellation) ends the run like one that is raised within; the commits made
    so far are delivered in any case, for a person to look at.
    """
    started = job.clock.monotonic()
    progress = Progress(job)
    ending: Ending | AutorouteError
    try:
        yield from _opening(job)
        ending = yield from _walk(progress)
    except AutorouteError as error:
        ending = error
    try:
        delivery = job.workspace.deliver(job.patch)
    except WorkspaceError as error:
        yield Notice(level="warning", text=f"the commits could not be brought into the repository: {error.message}")
        ending = ending if isinstance(ending, AutorouteError) else error
    else:
        if delivery.left_out:
            inner = ", ".join(delivery.left_out)
            yield Notice(level="warning", text=f"left out of the commits, as git repositories of their own: {inner}")
        if delivery.commit:
            yield Delivered(branch=delivery.branch, commit=delivery.commit, commits=delivery.commits)
    yield _ended(progress, ending, job.clock.monotonic() - started)


def _opening(job: Job) -> Generator[Event, None, None]:
    yield RunStarted(
        run=job.run,
        title=job.task.title,
        task=job.task.text,
        repository=job.repository,
        base=job.workspace.base,
        branch=job.branch,
        routes={phase: routing.primary for phase, routing in job.config.phases.items()},
        version=__version__,
        prices=job.prices,
    )
    for text in job.notices:
        yield Notice(level="info", text=text)


def _walk(progress: Progress) -> Generator[Event, None, Ending]:
    """From phase to phase, until the transition table says that the run ends."""
    phase = Phase.SPEC
    while True:
        outcome = yield from _phase(progress, phase)
        following = follow(phase, outcome, progress.round, progress.job.config.limits.max_rounds)
        if not isinstance(following, Phase):
            return following
        if outcome == "rejected":
            progress.round += 1
        phase = following


def _phase(progress: Progress, phase: Phase) -> Generator[Event, None, Outcome]:
    """One phase on its route, with a connection of its own."""
    job, round = progress.job, progress.round
    progress.phase = phase
    route = job.config.phases[phase].primary
    started = job.clock.monotonic()
    outcome: Outcome | Literal["failed"] = "failed"
    yield PhaseStarted(phase=phase, round=round, route=route)
    try:
        job.recheck(route)
        with closing(_connect(job, phase, route)) as model:
            seat = Seat(
                phase=phase,
                route=route,
                model=model,
                system=asks.system_prompt(phase, job.workspace.guidance()),
                limits=job.config.limits,
                clock=job.clock,
                turns=progress.turns,
                ledger=progress.ledger,
                same_model=job.same_model,
                served_model=job.config.served_model,
            )
            outcome = yield from WORK[phase](progress, seat)
    except AutorouteError:
        yield PhaseEnded(phase=phase, round=round, outcome="failed", seconds=job.clock.monotonic() - started)
        raise
    yield PhaseEnded(phase=phase, round=round, outcome=outcome, seconds=job.clock.monotonic() - started)
    return outcome


def _connect(job: Job, phase: Phase, route: Route) -> Model:
    """The model of a phase; one that calls no tools is asked for a fenced block, and gets the repository to read."""
    model, submit = job.connect(route), PHASES[phase].submit
    if route.tools or submit is None:
        return model
    window = (route.context or _SMALL_WINDOW) * _CHARACTERS_A_TOKEN
    return FencedModel(model, submit, asks.repository(job.workspace.digest(min(_DIGEST, window // 2))))


def _ended(progress: Progress, ending: Ending | AutorouteError, seconds: float) -> RunEnded:
    """The last event: a verdict or an error as exit code, message and hint."""
    name = progress.job.run
    match ending:
        case "approved":
            message = "approved by qa, and every verify command passed"
            return RunEnded(
                outcome="approved", exit_code=0, message=message, hint=f"autoroute merge {name}", seconds=seconds
            )
        case "rejected":
            code, message = _rejection(progress)
            return RunEnded(
                outcome="rejected", exit_code=code, message=message, hint=f"autoroute show {name}", seconds=seconds
            )
        case error:
            return RunEnded(
                outcome="cancelled" if isinstance(error, Cancelled) else "failed",
                exit_code=error.exit_code,
                message=_words(progress.phase, error),
                hint=error.hint,
                seconds=seconds,
            )


def _words(phase: Phase, error: AutorouteError) -> str:
    """What happened, in which phase, and for a provider's error at which provider, model and account."""
    if isinstance(error, ProviderError):
        return f"{phase}: {error.provider}/{error.model} (account {error.account}): {error.message}"
    return f"{phase}: {error.message}" if isinstance(error, PhaseFailed) else error.message


def _rejection(progress: Progress) -> tuple[ExitCode, str]:
    """Exit code and words for a change that no round could mend: who rejected it, qa or the commands?"""
    review, failed = progress.review, progress.failed_commands
    rounds = f"after {progress.round} round{'s' if progress.round > 1 else ''}"
    if failed and review and review.verdict == "approved":
        return ExitCode.UNVERIFIED, f"verification failed {rounds}: {'; '.join(failed)}"
    return ExitCode.REJECTED, f"qa rejected the change {rounds}: {review.summary if review else ''}"
