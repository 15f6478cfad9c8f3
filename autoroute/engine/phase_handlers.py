"""What each phase does: the conversations it holds, what autoroute checks itself, and what it hands on.

Judgment rests on what autoroute ran itself: verify commands and comparisons of trees. A model's word starts work and
never ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from types import MappingProxyType

from autoroute.engine import baseline
from autoroute.engine.agent import Agent, open_agent
from autoroute.engine.canary import run_canary
from autoroute.engine.left_out import Change, report_left_out, select_change
from autoroute.engine.model_session import ModelSession
from autoroute.engine.sitting import Sitting
from autoroute.engine.verification import evidence_of, verify, verify_until_failure
from autoroute.errors import PhaseFailed
from autoroute.events import (
    BaselineEnded,
    Committed,
    Event,
    Notice,
    SubmodulesRestored,
    SubtaskEnded,
    SubtaskStarted,
    WorkspaceCompared,
)
from autoroute.phases import PHASES, PhaseOutcome, prompts
from autoroute.phases.artifacts import ARTIFACTS, Review, Subtask
from autoroute.phases.prompts import Evidence, Facts
from autoroute.routing import Phase
from autoroute.state import Work
from autoroute.text import join_first, truncate
from autoroute.workspace import Differences

_MAX_PATHS_LISTED = 300
_MAX_DIFF_CHARACTERS = 60_000
_MAX_EVIDENCE_CHARACTERS = 2_000
_MAX_SECRETS_LISTED = 5
_MAX_TOUCHED_LISTED = 10
_MAX_DIFFERENCES_LISTED = 100
_MAX_SUBJECT_CHARACTERS = 72
"""Of a commit's subject that autoroute writes itself: what ``git log --oneline`` and web pages show in full."""


def _specify(sitting: Sitting, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    context = sitting.context
    if "spec" not in sitting.state.artifacts:
        prompt = prompts.ask_for_spec(context.identity.task, context.workspace.list_files(_MAX_PATHS_LISTED))
        content = yield from open_agent(session).obtain_artifact(_with_objection(sitting, prompt))
        yield sitting.accepted(content)
    return "done"


def _plan(sitting: Sitting, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    context = sitting.context
    work = sitting.state.work
    # A conversation that handed on its plan is not cut off, even if the run was stopped after that.
    agent = open_agent(session, handed_on="plan" in sitting.state.artifacts and work.plan_revision != "asked")
    if "plan" not in sitting.state.artifacts:
        paths = context.workspace.list_files(_MAX_PATHS_LISTED)
        prompt = prompts.ask_for_plan(context.identity.task, sitting.artifacts.spec, paths)
        content = yield from agent.obtain_artifact(_with_objection(sitting, prompt))
        yield sitting.accepted(content)
    yield from baseline.prepare(sitting, session.phase)
    if work.plan_revision == "asked" or (not work.plan_revision and baseline.unusable(sitting)):
        prompt = prompts.ask_for_better_commands([_finding(ended) for ended in baseline.unusable(sitting)])
        content = yield from agent.obtain_artifact(prompt)
        yield sitting.accepted(content)
        yield from baseline.prepare(sitting, session.phase)
    baseline.refuse_obstacles(sitting)
    return "done"


def _finding(ended: BaselineEnded) -> Evidence:
    """Return what is wrong with a verify command before the work, in the form that prompts tell it."""
    ending = "stopped" if ended.exit_code is None else f"exit code {ended.exit_code}"
    return Evidence(ended.command, passed=False, ending=f"{ending}: {ended.reason}", output=ended.output)


def _with_objection(sitting: Sitting, prompt: str) -> str:
    """Return the prompt, with what a person wants changed in the artifact that they rejected."""
    objection, artifact = sitting.state.work.objection, PHASES[sitting.phase].artifact
    if objection is None or artifact is None:
        return prompt
    rejected = ARTIFACTS[artifact].model_validate(dict(objection.artifact))
    return prompts.ask_for_revision(prompt, rejected.model_dump_json(indent=1, exclude_none=True), objection.words)


def _code(sitting: Sitting, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    spec, plan = sitting.artifacts.spec, sitting.artifacts.plan
    yield from baseline.prepare(sitting, session.phase)
    baseline.refuse_obstacles(sitting)
    if sitting.artifacts.review is not None:
        yield from _address_review(sitting, session, sitting.artifacts.review)
        return "done"
    subtasks = plan.ordered_subtasks()
    for number, subtask in enumerate(subtasks, start=1):
        if (sitting.round, subtask.id) in sitting.state.work.finished:
            continue
        prompt = prompts.ask_for_subtask(
            spec, plan, subtask, number, subtasks[: number - 1], baseline.failing_before(sitting)
        )
        commands = [subtask.verify] if subtask.verify else []
        yield from _work_on(sitting, session, subtask, prompt, commands, place=(number, len(subtasks)))
    return "done"


def _address_review(sitting: Sitting, session: ModelSession, review: Review) -> Generator[Event, None, None]:
    """Do a later round: what the review found is one more subtask, verified by all commands of the plan."""
    subtask = Subtask(
        id=f"R{sitting.round}",
        title=_review_title(review, sitting.state.work),
        description=review.summary,
        files=[],
        depends_on=[],
        acceptance=[],
    )
    if (sitting.round, subtask.id) in sitting.state.work.finished:
        return
    evidence = [evidence_of(event) for event in sitting.state.work.evidence]
    spec, plan = sitting.artifacts.spec, sitting.artifacts.plan
    facts = _find_facts(sitting)
    prompt = prompts.ask_for_repair(spec, review, evidence, sitting.round, sitting.max_rounds, facts)
    yield from _work_on(sitting, session, subtask, prompt, plan.verify_commands(), place=(1, 1))


def _untested_files(sitting: Sitting) -> Sequence[str]:
    """Return the files that the canary of the last review made unparsable, if no verify command noticed it."""
    canary = sitting.state.work.canary
    return canary.files if canary is not None and canary.tested is False else ()


def _review_title(review: Review, work: Work) -> str:
    """Return the subject of the commit that answers a review: ``Address review: no test for an empty name``."""
    findings = [
        *(issue.problem for issue in review.issues),
        *(criterion.evidence for criterion in review.criteria if not criterion.met),
        *(f"{command} fails" for command in work.failed_commands),
        *(["no verify command tests the change"] if work.canary and work.canary.tested is False else ()),
        review.summary,
    ]
    return truncate(f"Address review: {' '.join(findings[0].split())}", _MAX_SUBJECT_CHARACTERS)


def _work_on(
    sitting: Sitting,
    session: ModelSession,
    subtask: Subtask,
    prompt: str,
    commands: Sequence[str],
    *,
    place: tuple[int, int],
) -> Generator[Event, None, None]:
    """Make bounded attempts at one subtask, each judged by its commands; then one commit.

    The attempts are one conversation: the model that made one is told how it failed, with the output. Their count
    survives a restart; a model that takes over has its own. Raises ``PhaseFailed`` with the evidence when the attempts
    are used up, or when one changed nothing and failed again.
    """
    workspace, conversation = sitting.context.workspace, sitting.state.conversation
    number, total = place
    agent = open_agent(session)
    first = conversation.attempt if conversation else 1
    told: set[str] = set()
    tree = (conversation.tree if conversation else "") or select_change(sitting, workspace.snapshot()).tree
    for attempt in count(first):
        yield SubtaskStarted(
            subtask=subtask.id, title=subtask.title, attempt=attempt, number=number, total=total, tree=tree
        )
        yield from agent.say(prompt)
        files = workspace.snapshot()
        change = select_change(sitting, files)
        previous, tree = tree, change.tree
        restored = (yield from _report_restored(sitting, session, subtask)) - told
        told |= restored
        if restored:
            failure: Evidence | None = prompts.found_submodule_changes(sorted(restored))
        else:
            failure = yield from _judge(sitting, session, subtask, files, change, commands, unchanged=tree == previous)
        if failure is None:
            yield from _commit(sitting, session, agent, subtask, change)
            return
        others = agent.earlier_attempts
        last = others + sitting.context.config.limits.max_attempts
        idle = attempt - others > 1 and tree == previous
        if attempt >= last or idle:
            yield SubtaskEnded(subtask=subtask.id, passed=False, commit="")
            if failure.obstacle:
                raise baseline.cannot_verify(sitting, failure.command, failure.obstacle, failure.hint, failure.output)
            raise PhaseFailed(
                f"subtask {subtask.id} ({subtask.title}) is stuck after {attempt} of {last} attempts: "
                f"{failure.summary}\n{failure.output.strip()[-_MAX_EVIDENCE_CHARACTERS:]}".rstrip(),
                hint=_stuck_hint(sitting, failure),
            )
        prompt = prompts.correct_failed_attempt(failure, attempt + 1, last)


def _report_restored(sitting: Sitting, session: ModelSession, subtask: Subtask) -> Generator[Event, None, set[str]]:
    """Report what was undone in submodules; return what existed before and was changed.

    A new file does not count: test runs leave files behind wherever they run.
    """
    changes = sitting.context.workspace.take_submodule_changes()
    if changes:
        yield SubmodulesRestored(phase=session.phase, subtask=subtask.id, changed=changes.touched, added=changes.added)
    return set(changes.touched)


def _stuck_hint(sitting: Sitting, failure: Evidence) -> str:
    resume = sitting.context.resume
    if failure.accept:
        return f"if it is not a secret: {resume} {failure.accept}"
    return f"{failure.hint}, then {resume}" if failure.hint else f"try another model: {resume} --code ROUTE"


def _judge(
    sitting: Sitting,
    session: ModelSession,
    subtask: Subtask,
    tree: str,
    change: Change,
    commands: Sequence[str],
    *,
    unchanged: bool,
) -> Generator[Event, None, Evidence | None]:
    """Return what shows that a subtask is not done, None when nothing does. ``tree`` has all files, ``change`` some."""
    workspace = sitting.context.workspace
    if uncommitted := workspace.left_out.find_uncommitted(sitting.state.work.written):
        return prompts.found_uncommitted(uncommitted)
    if secrets := workspace.find_secrets(change.tree):
        listed = join_first(secrets, _MAX_SECRETS_LISTED, "; ")
        yield Notice(level="warning", text=f"subtask {subtask.id}: the files hold a secret: {listed}")
        return prompts.found_secrets(secrets)
    failure = yield from verify_until_failure(sitting, session.phase, commands, tree, subtask.id)
    if failure is not None:
        return failure
    if unchanged and not commands and change.left_out:
        return prompts.found_nothing_but_left_out(workspace.left_out.fold(change.tree, change.left_out))
    if unchanged and not commands:
        return Evidence(command="", passed=False, ending="no file differs from before", output="")
    return None


def _commit(
    sitting: Sitting, session: ModelSession, agent: Agent, subtask: Subtask, change: Change
) -> Generator[Event, None, None]:
    """Make one commit for a subtask, with trailers that name the run, phase and model that it came from."""
    context, route, served_model = sitting.context, session.route, agent.served_model
    trailers = {
        "Autoroute-Run": context.identity.run,
        "Autoroute-Phase": session.phase.value,
        "Autoroute-Model": f"{route.provider}/{served_model or route.model}",
    }
    if left_out := report_left_out(sitting, session.phase, subtask.id, change):
        yield left_out
    commit = context.workspace.commit(change.tree, subtask.title, subtask.description, trailers)
    if commit:
        yield Committed(commit=commit, subject=subtask.title, route=route, served_model=served_model)
    yield SubtaskEnded(subtask=subtask.id, passed=True, commit=commit)


def _review(sitting: Sitting, session: ModelSession) -> Generator[Event, None, PhaseOutcome]:
    """Verify the whole and let qa judge. A failed command or a file that qa changed overrules its approval."""
    context, work = sitting.context, sitting.state.work
    spec, plan = sitting.artifacts.spec, sitting.artifacts.plan
    tree = context.workspace.head_tree()
    if sitting.state.conversation is None:
        yield _compare(tree, context.workspace.make_pristine())
        for command in plan.verify_commands():
            yield from verify(sitting, session.phase, command, tree)
        yield from run_canary(sitting, session.phase, tree)
        if work.canary is not None and work.canary.commands:
            context.workspace.make_pristine()  # qa must not find what was built from unparsable files
        if untested := _untested_files(sitting):
            listed = join_first(untested, _MAX_TOUCHED_LISTED)
            yield Notice(
                level="warning", text=f"no verify command tests the change: all pass with {listed} made unparsable"
            )
    prompt = prompts.ask_for_review(
        spec,
        plan,
        context.workspace.diff(_MAX_DIFF_CHARACTERS, context.redact),
        [evidence_of(event) for event in work.evidence],
        sitting.round,
        sitting.max_rounds,
        _find_facts(sitting),
    )
    content = yield from open_agent(session).obtain_artifact(prompt)
    touched = context.workspace.compare(context.workspace.snapshot(), tree).touched
    yield sitting.accepted(content, (*touched, *context.workspace.take_submodule_changes().touched))
    context.workspace.restore(tree)
    if work.touched:
        undone = join_first(work.touched, _MAX_TOUCHED_LISTED)
        yield Notice(level="warning", text=f"qa changed {undone}: undone, and its approval does not count")
    verdict = Review.model_validate(content).verdict
    if work.failed_commands and verdict == "approved":
        failed = "; ".join(work.failed_commands)
        yield Notice(level="warning", text=f"qa approved, but this fails, so the change is rejected: {failed}")
    required = bool(_untested_files(sitting)) and context.config.verify.canary == "require"
    if required and verdict == "approved":
        text = 'qa approved, but no verify command tests the change, so it is rejected (verify.canary = "require")'
        yield Notice(level="warning", text=text)
    return "rejected" if work.failed_commands or work.touched or required else verdict


def _compare(tree: str, differences: Differences) -> WorkspaceCompared:
    """Return the event of a workspace that was made pristine, with a bounded list of what it had beyond its commit."""
    kinds = (differences.ignored, differences.untracked, differences.converted)
    ignored, untracked, converted = (kind[:_MAX_DIFFERENCES_LISTED] for kind in kinds)
    omitted = sum(max(0, len(kind) - _MAX_DIFFERENCES_LISTED) for kind in kinds)
    return WorkspaceCompared(tree=tree, ignored=ignored, untracked=untracked, converted=converted, omitted=omitted)


def _find_facts(sitting: Sitting) -> Facts:
    """Return what autoroute itself knows of the change, for qa."""
    work = sitting.state.work
    return Facts(
        auto_executed=sitting.context.workspace.find_auto_executed(),
        undone=work.restored_submodules,
        left_behind=work.compared.left_behind if work.compared else (),
        converted=work.compared.converted if work.compared else (),
        untested=_untested_files(sitting),
    )


PHASE_HANDLERS: Mapping[Phase, Callable[[Sitting, ModelSession], Generator[Event, None, PhaseOutcome]]] = (
    MappingProxyType({Phase.SPEC: _specify, Phase.PLANNING: _plan, Phase.CODING: _code, Phase.QA: _review})
)
