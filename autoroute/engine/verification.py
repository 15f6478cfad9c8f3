"""Verify commands: how they run in the workspace, and what their results show."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from autoroute.engine.command_outcomes import Outcome, Surroundings, sort_outcome
from autoroute.engine.failing_tests import FAILED_CODES, FailingTests, find_failing_tests, is_single_test_run
from autoroute.engine.sitting import Sitting
from autoroute.events import BaselineEnded, Event, VerifyEnded, VerifyStarted
from autoroute.phases.prompts import Evidence
from autoroute.routing import Phase
from autoroute.text import join_first
from autoroute.workspace import CommandResult

_MAX_PATHS = 200_000
_MAX_OUTPUT_BYTES = 4 * 1024 * 1024
"""How much of a long output is searched for failing tests and messages."""
_MAX_TESTS_LISTED = 10


def verify_until_failure(
    sitting: Sitting, phase: Phase, commands: Sequence[str], tree: str, subtask: str
) -> Generator[Event, None, Evidence | None]:
    """Run the commands in order; return the first that fails, None when all pass."""
    for command in commands:
        evidence = yield from verify(sitting, phase, command, tree, subtask)
        if not evidence.passed:
            return evidence
    return None


def verify(
    sitting: Sitting, phase: Phase, command: str, tree: str, subtask: str = ""
) -> Generator[Event, None, Evidence]:
    """Run one verify command, and undo what it leaves behind in ``tree``."""
    context = sitting.context
    context.cancel.check()
    yield VerifyStarted(phase=phase, command=command, tree=tree, subtask=subtask)
    result = run_command(sitting, command, "verify")
    context.workspace.restore(tree)
    outcome = Outcome("passes")
    known_failures: tuple[str, ...] = ()
    if not result.passed:
        outcome, tests = sort_result(sitting, result)
        known_failures = find_known_failures(
            command, result, tests, sitting.state.work.baseline, sitting.artifacts.plan.known_failures
        )
    blocked = outcome.kind == "cannot_run" and not known_failures
    ended = VerifyEnded(
        phase=phase,
        command=command,
        passed=result.passed or bool(known_failures),
        exit_code=result.exit_code,
        output=result.output,
        seconds=result.seconds,
        subtask=subtask,
        known_failures=known_failures,
        obstacle=outcome.reason if blocked else "",
        hint=outcome.hint if blocked else "",
    )
    yield ended
    return evidence_of(ended)


def run_command(sitting: Sitting, command: str, kind: str, timeout: float | None = None) -> CommandResult:
    """Run a command in the workspace, by default for as long as a verify command may take. ``kind`` names its log."""
    context = sitting.context
    return context.workbench.commands.run(
        command,
        timeout=timeout or context.config.limits.verify_timeout,
        cwd=context.workspace.root,
        log=context.files.logs / sitting.next_log(kind),
    )


def sort_result(sitting: Sitting, result: CommandResult) -> tuple[Outcome, FailingTests]:
    """Return what a result means in this workspace and for this plan, and the failing tests that it names."""
    output = result.read_output(_MAX_OUTPUT_BYTES)
    tests = find_failing_tests(output)
    return sort_outcome(result.exit_code, output, tests, surroundings_of(sitting)), tests


def surroundings_of(sitting: Sitting) -> Surroundings:
    """Return what results of verify commands are judged by."""
    context, plan = sitting.context, sitting.artifacts.plan
    return Surroundings(
        paths=tuple(context.workspace.list_files(_MAX_PATHS)),
        planned=tuple(dict.fromkeys(file for subtask in plan.subtasks for file in subtask.files)),
        timeout=context.config.limits.verify_timeout,
    )


def find_known_failures(
    command: str,
    result: CommandResult,
    tests: FailingTests,
    baseline: Mapping[str, BaselineEnded],
    declared: Sequence[str],
) -> tuple[str, ...]:
    """Return the failing tests if they are all the plan's known failures, which failed before the work; else ().

    The exit code must be what the runner ends with when tests failed, and the command must do nothing else.
    """
    before = baseline.get(command)
    if before is None or not declared or not tests.names or tests.unloaded or not tests.complete:
        return ()
    if len(tests.runners) != 1 or result.exit_code not in FAILED_CODES.get(tests.runners[0], ()):
        return ()
    known = {" ".join(name.split()) for name in declared} & set(before.failing_tests)
    return tests.names if known.issuperset(tests.names) and is_single_test_run(command, tests.runners[0]) else ()


def evidence_of(event: VerifyEnded) -> Evidence:
    """Return what a verify command showed, in the form that prompts tell it."""
    ending = f"no end within {event.seconds:.0f} s" if event.exit_code is None else f"exit code {event.exit_code}"
    if event.known_failures:
        listed = join_first(event.known_failures, _MAX_TESTS_LISTED)
        ending += f": only tests failed that failed before the work: {listed}"
    if event.obstacle:
        ending += f": {event.obstacle}"
    return Evidence(
        command=event.command,
        passed=event.passed,
        ending=ending,
        output=event.output,
        obstacle=event.obstacle,
        hint=event.hint,
    )
