"""The set-up commands of the user, which make the workspace ready for the commands that follow."""

from __future__ import annotations

from collections.abc import Generator

from autoroute.engine.sitting import Sitting
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import Event, SetupEnded
from autoroute.routing import Phase
from autoroute.workspace import Commands

_MAX_OUTPUT_CHARACTERS = 2_000
"""How much of the end of an output an error shows."""
_DESCRIBE_SECONDS = 30.0


def set_up(sitting: Sitting, phase: Phase) -> Generator[Event, None, None]:
    """Run the user's set-up commands that have not passed yet, or use what the same ones made in an earlier run.

    What they bring is used, and never committed.
    """
    context, setup, is_begun = sitting.context, sitting.context.workbench.setup, sitting.state.work.coding_started
    passed = sitting.state.history.setup_passed
    runner, left = setup.runner, [command for command in setup.commands if command not in passed]
    if runner is None or not left:
        if setup.commands and not is_begun:
            context.workspace.keep_setup()
        return
    if is_begun and setup.whole_network:
        # The attack: a model plants code that the set-up executes, which then sends files anywhere.
        raise PhaseFailed(
            f"the set-up command {left[0]} would run code that a model wrote, with access to the whole network",
            exit_code=ExitCode.CONFIGURATION,
            hint=f"name the hosts that it may connect to: {context.resume} --setup-network HOST:PORT",
        )
    results = None if is_begun else setup.results
    programs = _describe_programs(sitting, runner, results.described_by) if results else ""
    if results and not passed and (run := _reuse(sitting, programs)):
        for command in left:
            yield SetupEnded(
                phase=phase, command=command, passed=True, exit_code=0, output="", seconds=0.0, reused_from=run
            )
        return
    for command in left:
        yield from _run_once(sitting, phase, runner, command)
    context.workspace.keep_setup(again=True)
    if results:
        results.keep(programs)


def _run_once(sitting: Sitting, phase: Phase, runner: Commands, command: str) -> Generator[Event, None, None]:
    context = sitting.context
    tree = context.workspace.snapshot()
    result = runner.run(
        command,
        timeout=context.config.limits.verify_timeout,
        cwd=context.workspace.root,
        log=context.files.logs / sitting.next_log("setup"),
    )
    context.workspace.exclude_new_files()
    context.workspace.restore(tree)
    yield SetupEnded(
        phase=phase,
        command=command,
        passed=result.passed,
        exit_code=result.exit_code,
        output=result.output,
        seconds=result.seconds,
    )
    if not result.passed:
        raise PhaseFailed(
            f"the set-up command failed: {command}\n{result.output.strip()[-_MAX_OUTPUT_CHARACTERS:]}".rstrip(),
            hint=f"correct it, then {context.resume}",
        )


def _reuse(sitting: Sitting, programs: str) -> str:
    """Use what the same set-up made in an earlier run; return that run, "" if there is none."""
    workspace, results = sitting.context.workspace, sitting.context.workbench.setup.results
    tree = workspace.snapshot()
    if results is None or not (run := results.reuse(programs)):
        return ""
    workspace.exclude_new_files()
    workspace.restore(tree)
    return run


def _describe_programs(sitting: Sitting, runner: Commands, command: str) -> str:
    context = sitting.context
    tree = context.workspace.snapshot()
    log = context.files.logs / sitting.next_log("programs")
    result = runner.run(command, timeout=_DESCRIBE_SECONDS, cwd=context.workspace.root, log=log)
    context.workspace.restore(tree)
    return result.output
