"""The pipeline: one task through the four phases, round after round, to a verdict and a branch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from hashlib import sha256

from autoroute.cancellation import CancelToken
from autoroute.engine.agent import open_phase_toolbox
from autoroute.engine.approval import request_approval
from autoroute.engine.context import RunContext
from autoroute.engine.ending import make_last_event
from autoroute.engine.model_session import ModelSession
from autoroute.engine.phase_handlers import PHASE_HANDLERS
from autoroute.engine.publish import publish
from autoroute.engine.recovery import Recovery
from autoroute.engine.replay import apply_each, replay
from autoroute.engine.sitting import Sitting
from autoroute.errors import AutorouteError, Cancelled, map_resource_error
from autoroute.events import Event, Notice, PhaseEnded, PhaseStarted, RunResumed, RunStarted
from autoroute.phases import Ending, is_past, next_phase, prompts
from autoroute.routing import Phase
from autoroute.tools import digest_specs
from autoroute.version import __version__

_MAX_GUIDANCE_LINE_CHARACTERS = 120
"""How much of the first line of a repository's guidance a notice shows."""


def run(context: RunContext, past: Sequence[Event] = ()) -> Generator[Event, None, None]:
    """Carry the task through, from where the ``past`` ends. The last event is always ``RunEnded``, unless closed.

    An ``AutorouteError`` that is thrown in (a cancellation) ends the run like one that is raised within, and so does a
    machine that has run out of something. The commits made so far are published in any case, for a person to review.
    """
    started = context.clock.monotonic()
    sitting = Sitting(context, replay(past, context.redact))
    ending = yield from apply_each(_carry_out(sitting, resumed=bool(past)), sitting.state, context.redact)
    yield make_last_event(sitting, ending, context.clock.monotonic() - started)


def _carry_out(sitting: Sitting, *, resumed: bool) -> Generator[Event, None, Ending | AutorouteError]:
    """Do everything but report the end; return the verdict, or the error that stopped the run."""
    context = sitting.context
    ending: Ending | AutorouteError
    opened = False
    try:
        yield _run_resumed(sitting) if resumed else _run_started(context)
        _open_workspace(sitting, resumed=resumed)
        opened = True
        for text in (*context.options.notices, *_guidance_notice(context)):
            yield Notice(level="info", text=text)
        ending = yield from _walk(sitting)
    except (AutorouteError, OSError, KeyboardInterrupt) as error:
        ending = _expected(error, context.cancel)
    if opened:
        failed: AutorouteError | None
        try:
            failed = yield from publish(sitting)
        except (AutorouteError, OSError, KeyboardInterrupt) as error:
            failed = _expected(error, context.cancel)
        ending = failed if failed and not isinstance(ending, AutorouteError) else ending
    return ending


def _expected(error: AutorouteError | OSError | KeyboardInterrupt, cancel: CancelToken) -> AutorouteError:
    """Return what a run ends with. An ``OSError`` that a full or failing machine does not explain is raised again.

    Ctrl-C sets the token, so that the caller can raise ``KeyboardInterrupt`` again once the run has ended in order.
    """
    if isinstance(error, KeyboardInterrupt):
        cancel.cancel(error)
        return cancel.error or Cancelled("stopped by Ctrl-C")
    if isinstance(error, AutorouteError):
        return error
    failure = map_resource_error(error)
    if failure is None:
        raise error
    return failure


def _guidance_notice(context: RunContext) -> Iterator[str]:
    """Yield a notice that models get the repository's guidance: whoever cloned it may not know that it has one."""
    text = context.workspace.read_guidance(context.redact)
    if text:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        file = f"AGENTS.md or CLAUDE.md of {context.workspace.base[:12]}, {len(text)} characters"
        yield f"models get the repository's guidance for agents ({file}): {first[:_MAX_GUIDANCE_LINE_CHARACTERS]}"


def _run_started(context: RunContext) -> RunStarted:
    identity, origin = context.identity, context.identity.origin
    return RunStarted(
        run=identity.run,
        title=identity.task.title,
        task=identity.task.text,
        token=origin.token,
        repository=identity.repository,
        base=context.workspace.base,
        branch=identity.branch,
        routes={phase: routing.primary for phase, routing in context.config.phases.items()},
        version=__version__,
        prices=context.providers.price_tables,
        source=origin.source,
        base_ref=origin.base_ref,
        settings=origin.settings,
        flags=origin.flags,
        include_dirty=origin.include_dirty,
        sandbox=context.workbench.sandbox,
    )


def _run_resumed(sitting: Sitting) -> RunResumed:
    context, began_on = sitting.context, sitting.state.usage.primary
    phase, round = _next_phase(sitting)
    return RunResumed(
        run=context.identity.run,
        title=context.identity.task.title,
        phase=phase,
        round=round,
        routes={
            each: began_on.get(each, routing.primary) if is_past(each, phase) else routing.primary
            for each, routing in context.config.phases.items()
        },
        version=__version__,
        prices=context.providers.price_tables,
        flags=context.identity.origin.flags,
        sandbox=context.workbench.sandbox,
    )


def _next_phase(sitting: Sitting) -> tuple[Phase, int]:
    """Return the phase that is worked on next, and its round.

    Where a gate or the end of the run comes first, it is the phase that is over.
    """
    position = sitting.state.position
    if position.outcome is None or position.waiting_gate is not None:
        return sitting.phase, sitting.round
    following = next_phase(sitting.phase, position.outcome, sitting.round, sitting.max_rounds)
    if not isinstance(following, Phase):
        return sitting.phase, sitting.round
    return following, sitting.round + (position.outcome == "rejected")


def _open_workspace(sitting: Sitting, *, resumed: bool) -> None:
    """Make the workspace, or find it again at its last commit, with no process of an earlier sitting at work in it."""
    workspace, state = sitting.context.workspace, sitting.state
    if resumed:
        sitting.context.workbench.commands.kill_leftovers()
    # What the set-up brought is in the workspace and nowhere else.
    needed = sitting.phase in (Phase.CODING, Phase.QA) or bool(state.history.setups)
    workspace.open(state.history.tip, needed=resumed and needed)
    if resumed and state.conversation is None:
        workspace.restore(workspace.head_tree())
    elif state.work.unverified_tree:
        workspace.restore(state.work.unverified_tree)


def _walk(sitting: Sitting) -> Generator[Event, None, Ending]:
    """Go from phase to phase, until the transition table or a person ends the run."""
    position = sitting.state.position
    while True:
        if position.outcome is None:
            yield from _run_phase(sitting, sitting.phase, sitting.round)
        if not (yield from request_approval(sitting)):
            return "waiting"
        if position.outcome is None:
            continue  # a person sent it back: it begins again
        following = next_phase(sitting.phase, position.outcome, sitting.round, sitting.max_rounds)
        if not isinstance(following, Phase):
            return following
        if sitting.phase is sitting.context.options.until:
            return "waiting"
        yield from _run_phase(sitting, following, sitting.round + (position.outcome == "rejected"))


def _run_phase(sitting: Sitting, phase: Phase, round: int) -> Generator[Event, None, None]:
    """Run one phase on its route, or on those that recovery puts in its place."""
    context, route = sitting.context, sitting.context.config.phases[phase].primary
    started, conversation = context.clock.monotonic(), sitting.state.conversation
    workspace = context.workspace
    guidance = workspace.read_guidance(context.redact)
    system = context.redact(
        prompts.system_prompt(phase, guidance, workspace.environments, submodules=workspace.submodules)
    )
    yield PhaseStarted(
        phase=phase,
        round=round,
        route=route,
        system_sha256=sha256(system.encode("utf-8", "surrogatepass")).hexdigest(),
        tools_sha256=digest_specs(open_phase_toolbox(sitting, phase).specs),
    )
    try:
        recovery = Recovery(phase, sitting)
        first = yield from recovery.choose_first(route, conversation.length if conversation else 0)
        with closing(ModelSession(phase, first, sitting, recovery, system)) as session:
            outcome = yield from PHASE_HANDLERS[phase](sitting, session)
    except (AutorouteError, OSError, KeyboardInterrupt):
        yield PhaseEnded(phase=phase, round=round, outcome="failed", seconds=context.clock.monotonic() - started)
        raise
    yield PhaseEnded(phase=phase, round=round, outcome=outcome, seconds=context.clock.monotonic() - started)
