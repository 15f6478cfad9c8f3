"""The baseline: each verify command of the plan runs once before the work, so that its later result says something."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from autoroute.engine.command_outcomes import Outcome, sort_outcome
from autoroute.engine.failing_tests import find_failing_tests
from autoroute.engine.setup import set_up
from autoroute.engine.sitting import Sitting
from autoroute.engine.verification import run_command, sort_result, surroundings_of
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import BaselineEnded, BaselineStarted, Event
from autoroute.routing import Phase

_MAX_OUTPUT_CHARACTERS = 2_000
"""How much of the end of an output an error shows."""


def prepare(sitting: Sitting, phase: Phase) -> Generator[Event, None, None]:
    """Run the set-up, then each verify command that has no result yet, on the untouched base."""
    yield from set_up(sitting, phase)
    work = sitting.state.work
    # Once a model has worked, the tree is not the base any more.
    if not sitting.context.config.verify.baseline or work.coding_started:
        return
    for command in sitting.artifacts.plan.verify_commands():
        known = work.baseline.get(command)
        if known is None:
            yield from _run_once(sitting, phase, command)
        elif (again := _sort_again(sitting, known)) != known:
            yield again


def results(sitting: Sitting) -> list[BaselineEnded]:
    """Return the results for the commands that the plan has now."""
    baseline = sitting.state.work.baseline
    return [baseline[command] for command in sitting.artifacts.plan.verify_commands() if command in baseline]


def unusable(sitting: Sitting) -> list[BaselineEnded]:
    """Return the results that the planner has to know of: the command cannot run, hangs, or fails for other reasons."""
    declared = set(sitting.artifacts.plan.known_failures)
    return [
        ended
        for ended in results(sitting)
        if ended.is_obstacle or (ended.kind == "fails_already" and not declared.issuperset(ended.outside_tests))
    ]


def failing_before(sitting: Sitting) -> Sequence[str]:
    """Return the names of the tests that fail before the work for reasons outside the task."""
    return tuple(dict.fromkeys(name for ended in results(sitting) for name in ended.outside_tests))


def refuse_obstacles(sitting: Sitting) -> None:
    """Raise ``PhaseFailed`` (exit code 78) if a verify command cannot run here: no model can change that."""
    if sitting.state.work.coding_started:
        return
    for ended in results(sitting):
        if ended.is_obstacle:
            raise cannot_verify(sitting, ended.command, ended.reason, ended.hint, ended.output)


def cannot_verify(sitting: Sitting, command: str, reason: str, hint: str, output: str) -> PhaseFailed:
    """Return the error of a verify command that shows nothing about any change."""
    context = sitting.context
    within = f" (sandbox: {context.workbench.sandbox})" if context.workbench.sandbox else ""
    tail = output.strip()[-_MAX_OUTPUT_CHARACTERS:]
    return PhaseFailed(
        f"the verify command cannot be used here: {command}: {reason}{within}\n{tail}".rstrip(),
        exit_code=ExitCode.CONFIGURATION,
        hint=f"{hint or 'correct the command in the plan'}; then {context.resume}",
    )


def _run_once(sitting: Sitting, phase: Phase, command: str) -> Generator[Event, None, None]:
    context = sitting.context
    context.cancel.check()
    tree = context.workspace.snapshot()
    yield BaselineStarted(phase=phase, command=command, tree=tree)
    result = run_command(sitting, command, "baseline")
    context.workspace.restore(tree)
    outcome, _ = sort_result(sitting, result)
    yield _ended(
        BaselineEnded(
            phase=phase,
            command=command,
            kind=outcome.kind,
            exit_code=result.exit_code,
            reason="",
            hint="",
            failing_tests=(),
            outside_tests=(),
            output=result.output,
            seconds=result.seconds,
        ),
        outcome,
    )


def _sort_again(sitting: Sitting, known: BaselineEnded) -> BaselineEnded:
    """Return the result as the plan has it now: what it will create is not missing any more."""
    tests = replace(find_failing_tests(known.output), names=known.failing_tests)
    return _ended(known, sort_outcome(known.exit_code, known.output, tests, surroundings_of(sitting)))


def _ended(event: BaselineEnded, outcome: Outcome) -> BaselineEnded:
    return replace(
        event,
        kind=outcome.kind,
        reason=outcome.reason,
        hint=outcome.hint,
        failing_tests=outcome.failing,
        outside_tests=outcome.outside,
        seq=None,
        at=None,
    )
