"""Verify commands: how they run in the workspace, and what their results show."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from autoroute.engine.sitting import Sitting
from autoroute.events import Event, VerifyEnded, VerifyStarted
from autoroute.phases.prompts import Evidence
from autoroute.routing import Phase


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
    result = context.workbench.commands.run(
        command,
        timeout=context.config.limits.verify_timeout,
        cwd=context.workspace.root,
        log=context.files.logs / sitting.next_log("verify"),
    )
    context.workspace.restore(tree)
    ended = VerifyEnded(
        phase=phase,
        command=command,
        passed=result.passed,
        exit_code=result.exit_code,
        output=result.output,
        seconds=result.seconds,
        subtask=subtask,
    )
    yield ended
    return evidence_of(ended)


def evidence_of(event: VerifyEnded) -> Evidence:
    """Return what a verify command showed, in the form that prompts tell it."""
    ending = f"no end within {event.seconds:.0f} s" if event.exit_code is None else f"exit code {event.exit_code}"
    return Evidence(command=event.command, passed=event.passed, ending=ending, output=event.output)
