"""The pipeline: one task through the four phases, round after round, to a verdict and a branch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Literal

from autoroute.engine.approval import request_approval
from autoroute.engine.context import Progress, RunContext
from autoroute.engine.model_session import ModelSession
from autoroute.engine.phase_handlers import PHASE_HANDLERS
from autoroute.engine.prompted_tools import PromptedToolModel
from autoroute.engine.publish import publish
from autoroute.engine.recovery import Recovery
from autoroute.engine.replay import replay
from autoroute.errors import (
    AutorouteError,
    Cancelled,
    ExitCode,
    LimitReached,
    PhaseFailed,
    ProviderError,
    map_resource_error,
)
from autoroute.events import Event, Notice, PhaseEnded, PhaseStarted, RunEnded, RunResumed, RunStarted
from autoroute.phases import PHASES, Ending, is_past, next_phase, prompts
from autoroute.routing import Phase, Route
from autoroute.tools import digest_specs
from autoroute.version import __version__
from autoroute.wire import Model
from autoroute.workspace import WorkspaceLost

_DIGEST = 200_000
"""Characters of a repository that a model without tools gets to read, at most."""
_SMALL_WINDOW = 32_000
_CHARACTERS_A_TOKEN = 3
_FIRST_LINE = 120


def run(context: RunContext, past: Sequence[Event] = ()) -> Generator[Event, None, None]:
    """Carry the task through, from where the ``past`` ends. The last event is always ``RunEnded``, unless closed.

    An ``AutorouteError`` thrown in (a cancellation) ends the run like one that is raised within, and like a machine
    that has run out of something; the commits made so far are delivered in any case, for a person to look at.
    """
    started = context.clock.monotonic()
    progress = Progress(context)
    replay(progress, past)
    ending: Ending | AutorouteError
    opened = False
    try:
        yield _resumed(progress) if past else _started(context)
        _open_workspace(progress, resumed=bool(past))
        opened = True
        for text in (*context.notices, *_guidance(context)):
            yield Notice(level="info", text=text)
        ending = yield from _walk(progress)
    except (AutorouteError, OSError) as error:
        ending = _foreseen(error)
    if opened:
        failed: AutorouteError | None
        try:
            failed = yield from publish(progress)
        except (AutorouteError, OSError) as error:
            failed = _foreseen(error)
        ending = failed if failed and not isinstance(ending, AutorouteError) else ending
    yield _ended(progress, ending, context.clock.monotonic() - started)


def _foreseen(error: AutorouteError | OSError) -> AutorouteError:
    """What a run ends with; an error of the system that has nothing to do with what a machine lacks is raised again."""
    if isinstance(error, AutorouteError):
        return error
    failure = map_resource_error(error)
    if failure is None:
        raise error
    return failure


def _guidance(context: RunContext) -> Iterator[str]:
    """That the repository has instructions of its own, which models get: the user may know, or not."""
    text = context.workspace.read_guidance(context.redact)
    if text:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        file = f"its AGENTS.md or CLAUDE.md of {context.workspace.base[:12]}, {len(text)} characters"
        yield f"models get this repository's own words to coding agents ({file}): {first[:_FIRST_LINE]}"


def _started(context: RunContext) -> RunStarted:
    return RunStarted(
        run=context.run,
        title=context.task.title,
        task=context.task.text,
        token=context.origin.token,
        repository=context.repository,
        base=context.workspace.base,
        branch=context.branch,
        routes={phase: routing.primary for phase, routing in context.config.phases.items()},
        version=__version__,
        prices=context.prices,
        source=context.origin.source,
        base_ref=context.origin.base_ref,
        settings=context.origin.settings,
        flags=context.origin.flags,
        include_dirty=context.origin.include_dirty,
        sandbox=context.sandbox,
    )


def _resumed(progress: Progress) -> RunResumed:
    context = progress.context
    phase, round = _next(progress)
    return RunResumed(
        run=context.run,
        title=context.task.title,
        phase=phase,
        round=round,
        routes={
            phase_of: progress.routes.get(phase_of, routing.primary) if is_past(phase_of, phase) else routing.primary
            for phase_of, routing in context.config.phases.items()
        },
        version=__version__,
        prices=context.prices,
        flags=context.origin.flags,
        sandbox=context.sandbox,
    )


def _next(progress: Progress) -> tuple[Phase, int]:
    """The phase that is worked on next, and its round; the one that is over where a gate or the end comes first."""
    if progress.outcome is None or progress.gate == "reached":
        return progress.phase, progress.round
    following = next_phase(progress.phase, progress.outcome, progress.round, progress.max_rounds)
    if not isinstance(following, Phase):
        return progress.phase, progress.round
    return following, progress.round + (progress.outcome == "rejected")


def _open_workspace(progress: Progress, *, resumed: bool) -> None:
    """Make the workspace, or find it again at its last commit, with nothing still at work in it."""
    context = progress.context
    if resumed:
        context.commands.kill_leftovers()
    context.workspace.open(progress.tip, needed=resumed and progress.phase in (Phase.CODING, Phase.QA))
    if resumed and progress.conversation is None:
        context.workspace.restore(context.workspace.head_tree())
    elif progress.unverified:
        context.workspace.restore(progress.unverified)


def _walk(progress: Progress) -> Generator[Event, None, Ending]:
    """From phase to phase, until the transition table or a person says that the run ends."""
    context = progress.context
    while True:
        if progress.outcome is None:
            yield from _phase(progress, progress.phase)
        if not (yield from request_approval(progress)):
            return "waiting"
        if progress.outcome is None:
            continue  # rejected by a person: it begins again
        following = next_phase(progress.phase, progress.outcome, progress.round, progress.max_rounds)
        if not isinstance(following, Phase):
            return following
        if progress.phase is context.until:
            return "waiting"
        progress.enter(following, progress.round + (progress.outcome == "rejected"))


def _phase(progress: Progress, phase: Phase) -> Generator[Event, None, None]:
    """One phase on its route, or on whichever goes on when that one cannot."""
    context, routing = progress.context, progress.context.config.phases[phase]
    started, tokens = context.clock.monotonic(), progress.conversation.length if progress.conversation else 0
    system = context.redact(prompts.system_prompt(phase, context.workspace.read_guidance(context.redact)))
    yield progress.note(
        PhaseStarted(
            phase=phase,
            round=progress.round,
            route=routing.primary,
            system_sha256=sha256(system.encode("utf-8", "surrogatepass")).hexdigest(),
            tools_sha256=digest_specs(PHASES[phase].tools),
        )
    )
    try:
        recovery = Recovery(
            phase=phase,
            routing=routing,
            settings=context.config.recovery,
            decider=context.decider,
            clock=context.clock,
            wait_budget=progress.wait_budget,
            providers=context.providers,
            left=progress.work_left,
            resume=context.resume,
            agreed=progress.agreed,
        )
        with closing(
            _session(progress, phase, (yield from recovery.begin(routing.primary, tokens)), recovery, system)
        ) as session:
            outcome = yield from PHASE_HANDLERS[phase](progress, session)
    except (AutorouteError, OSError):
        yield PhaseEnded(
            phase=phase, round=progress.round, outcome="failed", seconds=context.clock.monotonic() - started
        )
        raise
    seconds = context.clock.monotonic() - started
    yield progress.note(PhaseEnded(phase=phase, round=progress.round, outcome=outcome, seconds=seconds))


def _session(progress: Progress, phase: Phase, route: Route, recovery: Recovery, system: str) -> ModelSession:
    context = progress.context
    return ModelSession(
        phase=phase,
        route=route,
        connect=partial(_connect, context, phase),
        system=system,
        limits=context.config.limits,
        clock=context.clock,
        turns=progress.turns,
        budget=progress.budget,
        providers=context.providers,
        wait_budget=progress.wait_budget,
        workspace=context.workspace,
        recovery=recovery,
        served_model=context.config.served_model,
        redact=context.redact,
    )


def _connect(context: RunContext, phase: Phase, route: Route) -> Model:
    """The model of a phase; one that calls no tools is asked for a fenced block, and gets the repository to read."""
    model, submit = context.providers.connect(route, context.workspace.root), PHASES[phase].submit_tool
    if route.tools or submit is None:
        return model
    window = (route.context or _SMALL_WINDOW) * _CHARACTERS_A_TOKEN
    return PromptedToolModel(
        model, submit, context.redact(prompts.show_repository(context.workspace.pack_files(min(_DIGEST, window // 2))))
    )


def _ended(progress: Progress, ending: Ending | AutorouteError, seconds: float) -> RunEnded:
    """The last event: a verdict or an error as exit code, message and hint."""
    context, name = progress.context, progress.context.run
    # What was asked of this sitting and did not come about is asked of the next one.
    resume = f"{context.resume} --until {PHASES[context.until].flag}" if context.until else context.resume
    match ending:
        case "approved":
            message, hint = "approved by qa, and every verify command passed", f"autoroute merge {name}"
            return RunEnded(
                outcome="approved", exit_code=0, message=message, hint=hint, seconds=seconds, phase=progress.phase
            )
        case "rejected":
            code, message = _rejection(progress)
            hint = f"autoroute show {name}"
            return RunEnded(
                outcome="rejected", exit_code=code, message=message, hint=hint, seconds=seconds, phase=progress.phase
            )
        case "waiting":
            message, hint = _pause(progress)
            return RunEnded(
                outcome="waiting",
                exit_code=ExitCode.WAITING,
                message=message,
                hint=hint,
                seconds=seconds,
                resume=context.resume,
                phase=progress.phase,
            )
        case error:
            ended = RunEnded(
                outcome=_outcome(error),
                exit_code=error.exit_code,
                message=_words(progress.phase, error),
                hint=_way_on(progress, error, resume),
                seconds=seconds,
                resume="" if isinstance(error, WorkspaceLost) else resume,
                error=type(error).__name__,
                phase=progress.phase,
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


def _way_on(progress: Progress, error: AutorouteError, resume: str) -> str:
    """What mends an error, and the command that goes on after it."""
    if isinstance(error, WorkspaceLost):
        return error.hint
    if progress.context.resume in error.hint:
        return error.hint.replace(progress.context.resume, resume)
    if isinstance(error, LimitReached) and error.retry_at:
        resume += f" (after {_clock(error)}; sooner with --{PHASES[progress.phase].flag} ROUTE or a longer --max-wait)"
    return "; ".join(filter(None, (error.hint, resume)))


def _clock(error: ProviderError) -> str:
    return f"{error.retry_at:%Y-%m-%d %H:%M} UTC" if error.retry_at else ""


def _pause(progress: Progress) -> tuple[str, str]:
    """Why a run ends before its end, and what goes on with it."""
    phase, resume = progress.phase, progress.context.resume
    if progress.gate == "reached":
        ways = f"{resume} --approve, or {resume} --reject WORDS"
        return f"{phase} is done and waits for approval", ways
    return f"stopped after {phase}, as asked", resume


def _words(phase: Phase, error: AutorouteError) -> str:
    """What happened, in which phase, and for a provider's error at which provider, model and account."""
    if isinstance(error, ProviderError):
        resets = f" (resets {_clock(error)})" if error.retry_at and isinstance(error, LimitReached) else ""
        return f"{phase}: {error.provider}/{error.model} (account {error.account}): {error.message}{resets}"
    return f"{phase}: {error.message}" if isinstance(error, PhaseFailed) else error.message


def _rejection(progress: Progress) -> tuple[ExitCode, str]:
    """Exit code and words for a change that no round could mend: who rejected it, qa or the commands?"""
    review, failed = progress.review, progress.failed_commands
    rounds = f"after {progress.round} round{'s' if progress.round > 1 else ''}"
    if progress.touched and review and review.verdict == "approved":
        changed = ", ".join(progress.touched[:10])
        return ExitCode.REJECTED, f"qa approved {rounds}, but changed {changed}, so its approval does not count"
    if failed and review and review.verdict == "approved":
        return ExitCode.UNVERIFIED, f"verification failed {rounds}: {'; '.join(failed)}"
    return ExitCode.REJECTED, f"qa rejected the change {rounds}: {review.summary if review else ''}"
