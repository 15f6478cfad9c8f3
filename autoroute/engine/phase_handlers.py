"""What each phase does: the conversations it holds, what it checks itself, what it hands on.

The orchestrator judges by what it ran itself: verify commands and the tree. A model's word starts work, it never
settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from types import MappingProxyType

from autoroute.engine.context import Progress, evidence_of
from autoroute.engine.model_session import ModelSession
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import (
    Committed,
    Event,
    Notice,
    SetupEnded,
    SubtaskEnded,
    SubtaskStarted,
    VerifyEnded,
    VerifyStarted,
)
from autoroute.phases import PhaseOutcome, prompts
from autoroute.phases.artifacts import Review, Subtask
from autoroute.routing import Phase
from autoroute.text import join_first

_PATHS_SHOWN = 300
_DIFF_SHOWN = 60_000
_EVIDENCE_SHOWN = 2_000
_LEAKS_SHOWN = 5


def _specify(progress: Progress, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    if progress.spec is None:
        ask = prompts.ask_for_spec(progress.context.task, progress.context.workspace.list_files(_PATHS_SHOWN))
        yield progress.accepted((yield from progress.converse(session).obtain(_with_objection(progress, ask))))
    return "done"


def _plan(progress: Progress, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    if progress.plan is None:
        context = progress.context
        ask = prompts.ask_for_plan(context.task, progress.agreed_spec, context.workspace.list_files(_PATHS_SHOWN))
        yield progress.accepted((yield from progress.converse(session).obtain(_with_objection(progress, ask))))
    return "done"


def _with_objection(progress: Progress, ask: str) -> str:
    words, rejected = progress.objection
    return prompts.ask_for_revision(ask, rejected, words) if words else ask


def _code(progress: Progress, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    spec, plan = progress.agreed_spec, progress.agreed_plan
    yield from _prepare(progress, session)
    if progress.review is not None:
        yield from _repair(progress, session, progress.review)
        return "done"
    subtasks = plan.ordered_subtasks()
    for number, subtask in enumerate(subtasks, start=1):
        if (progress.round, subtask.id) in progress.settled:
            continue
        ask = prompts.ask_for_subtask(spec, plan, subtask, number, subtasks[: number - 1])
        commands = [subtask.verify] if subtask.verify else []
        yield from _subtask(progress, session, subtask, ask, commands, place=(number, len(subtasks)))
    return "done"


def _prepare(progress: Progress, session: ModelSession) -> Generator[Event, None, None]:
    """What the user wants done before coding: it fetches what the work needs, and changes nothing that is committed."""
    context, preparation = progress.context, progress.context.preparation
    for command in preparation.commands:
        if command in progress.prepared or preparation.by is None:
            continue
        if progress.coded and preparation.whole:
            raise PhaseFailed(
                f"the set-up command {command} would run what a model has written, with the whole network",
                exit_code=ExitCode.CONFIGURATION,
                hint=f"say what it may connect to: {context.resume} --setup-network HOST:PORT",
            )
        tree = context.workspace.snapshot()
        log = context.logs / f"setup-{next(progress.commands)}.log"
        result = preparation.by.run(command, timeout=session.limits.verify_timeout, cwd=context.workspace.root, log=log)
        context.workspace.exclude_new_files()
        context.workspace.restore(tree)
        yield progress.note(
            SetupEnded(
                phase=session.phase,
                command=command,
                passed=result.passed,
                exit_code=result.exit_code,
                output=result.output,
                seconds=result.seconds,
            )
        )
        if not result.passed:
            raise PhaseFailed(
                f"the set-up command failed: {command}\n{result.output.strip()[-_EVIDENCE_SHOWN:]}".rstrip(),
                hint=f"mend it, then {context.resume}",
            )


def _repair(progress: Progress, session: ModelSession, review: Review) -> Generator[Event, None, None]:
    """A later round: what the review found is one more subtask, verified by all commands of the plan."""
    subtask = Subtask(
        id=f"R{progress.round}",
        title=f"Mend what the review of round {progress.round - 1} found",
        description=review.summary,
        files=[],
        depends_on=[],
        acceptance=[],
    )
    if (progress.round, subtask.id) in progress.settled:
        return
    ask = prompts.ask_for_repair(progress.agreed_spec, review, progress.evidence, progress.round, progress.max_rounds)
    yield from _subtask(progress, session, subtask, ask, progress.agreed_plan.verify_commands(), place=(1, 1))


def _subtask(
    progress: Progress,
    session: ModelSession,
    subtask: Subtask,
    ask: str,
    commands: Sequence[str],
    *,
    place: tuple[int, int],
) -> Generator[Event, None, None]:
    """Bounded attempts at one subtask, each judged by its commands; then one commit.

    The attempts are one conversation: each failure is said, with its output, to the model that made it. Their count
    survives a restart; a model that takes over after one has its own. Raises ``PhaseFailed`` with the evidence when
    the attempts are used up, or when one changed nothing and failed again.
    """
    workspace, conversation = progress.context.workspace, progress.conversation
    number, total = place
    agent = progress.converse(session)
    first = conversation.attempt if conversation else 1
    tree = (conversation.tree if conversation else "") or workspace.snapshot()
    for attempt in count(first):
        yield progress.note(
            SubtaskStarted(
                subtask=subtask.id, title=subtask.title, attempt=attempt, number=number, total=total, tree=tree
            )
        )
        agent.begin_attempt(attempt, tree)
        yield from agent.say(ask)
        previous, tree = tree, workspace.snapshot()
        failure = yield from _judge(progress, session, subtask, tree, commands, unchanged=tree == previous)
        if failure is None:
            yield from _commit(progress, session, subtask, tree, agent.served_model)
            return
        others = agent.earlier_attempts
        last = others + session.limits.max_attempts
        idle = attempt - others > 1 and tree == previous
        if attempt >= last or idle:
            yield SubtaskEnded(subtask=subtask.id, passed=False, commit="")
            raise PhaseFailed(
                f"subtask {subtask.id} ({subtask.title}) is stuck after {attempt} of {last} attempts: "
                f"{failure.summary}\n{failure.output.strip()[-_EVIDENCE_SHOWN:]}".rstrip(),
                hint=_way_on(progress, failure),
            )
        ask = prompts.correct_failed_attempt(failure, attempt + 1, last)


def _way_on(progress: Progress, failure: prompts.Evidence) -> str:
    if failure.output and not failure.command:
        return f"if it is none: {progress.context.resume} --accept-secrets"
    return f"look at what it did so far, then try another model: {progress.context.resume} --code ROUTE"


def _judge(
    progress: Progress, session: ModelSession, subtask: Subtask, tree: str, commands: Sequence[str], *, unchanged: bool
) -> Generator[Event, None, prompts.Evidence | None]:
    """What speaks against a subtask being done, None when nothing does."""
    if leaks := progress.context.workspace.find_secrets(tree):
        words = f"subtask {subtask.id}: the files hold a secret: {join_first(leaks, _LEAKS_SHOWN, '; ')}"
        yield Notice(level="warning", text=words)
        return prompts.Evidence(command="", passed=False, ending="the files hold a secret", output="\n".join(leaks))
    for command in commands:
        evidence = yield from _verify(progress, session.phase, command, tree, subtask.id)
        if not evidence.passed:
            return evidence
    if unchanged and not commands:
        return prompts.Evidence(command="", passed=False, ending="no file differs from before", output="")
    return None


def _verify(
    progress: Progress, phase: Phase, command: str, tree: str, subtask: str = ""
) -> Generator[Event, None, prompts.Evidence]:
    """Run one verify command ourselves; what it leaves behind in ``tree`` is undone."""
    context = progress.context
    limit = context.config.limits.verify_timeout
    log = context.logs / f"verify-{next(progress.commands)}.log"
    yield progress.note(VerifyStarted(phase=phase, command=command, tree=tree, subtask=subtask))
    result = context.commands.run(command, timeout=limit, cwd=context.workspace.root, log=log)
    context.workspace.restore(tree)
    verified = VerifyEnded(
        phase=phase,
        command=command,
        passed=result.passed,
        exit_code=result.exit_code,
        output=result.output,
        seconds=result.seconds,
        subtask=subtask,
    )
    yield progress.note(verified)
    return evidence_of(verified)


def _commit(
    progress: Progress, session: ModelSession, subtask: Subtask, tree: str, served_model: str
) -> Generator[Event, None, None]:
    """One commit for a subtask, with trailers that say which run, phase and model it came from."""
    context = progress.context
    trailers = {
        "Autoroute-Run": context.run,
        "Autoroute-Phase": session.phase.value,
        "Autoroute-Model": f"{session.route.provider}/{served_model or session.route.model}",
    }
    commit = context.workspace.commit(tree, subtask.title, subtask.description, trailers)
    if commit:
        yield progress.note(
            Committed(commit=commit, subject=subtask.title, route=session.route, served_model=served_model)
        )
    yield progress.note(SubtaskEnded(subtask=subtask.id, passed=True, commit=commit))


def _review(progress: Progress, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    """Verify the whole, let qa judge, and believe neither its hands nor an approval that a command contradicts."""
    context, spec, plan = progress.context, progress.agreed_spec, progress.agreed_plan
    tree = context.workspace.head_tree()
    if progress.conversation is None:
        progress.evidence = []
        for command in plan.verify_commands():
            yield from _verify(progress, session.phase, command, tree)
    diff = context.workspace.diff(_DIFF_SHOWN, context.redact)
    runs_unasked = context.workspace.find_auto_executed()
    ask = prompts.ask_for_review(spec, plan, diff, progress.evidence, progress.round, progress.max_rounds, runs_unasked)
    content = yield from progress.converse(session).obtain(ask)
    yield progress.accepted(content, context.workspace.compare(context.workspace.snapshot(), tree).touched)
    context.workspace.restore(tree)
    if progress.touched:
        undone = ", ".join(progress.touched[:10])
        yield Notice(level="warning", text=f"qa changed {undone}: undone, and its approval does not count")
    failed = progress.failed_commands
    verdict = Review.model_validate(content).verdict
    if failed and verdict == "approved":
        yield Notice(level="warning", text=f"qa approved, but this fails, so it is rejected: {'; '.join(failed)}")
    return "rejected" if failed or progress.touched else verdict


PHASE_HANDLERS: Mapping[Phase, Callable[[Progress, ModelSession], Generator[Event, None, PhaseOutcome]]] = (
    MappingProxyType({Phase.SPEC: _specify, Phase.PLANNING: _plan, Phase.CODING: _code, Phase.QA: _review})
)
