"""The set-up commands of the user, which make the workspace ready for the commands that follow."""

from __future__ import annotations

from collections.abc import Generator

from autoroute.engine.sitting import Sitting
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import Event, SetupEnded
from autoroute.routing import Phase

_MAX_OUTPUT_CHARACTERS = 2_000
"""How much of the end of an output an error shows."""


def set_up(sitting: Sitting, phase: Phase) -> Generator[Event, None, None]:
    """Run the user's set-up commands that have not passed yet. What they bring is used, and never committed."""
    context, setup = sitting.context, sitting.context.workbench.setup
    has_run = False
    for command in setup.commands:
        if setup.runner is None or command in sitting.state.history.setup_passed:
            continue
        if sitting.state.work.coding_started and setup.whole_network:
            # The attack: a model plants code that the set-up executes, which then sends files anywhere.
            raise PhaseFailed(
                f"the set-up command {command} would run code that a model wrote, with access to the whole network",
                exit_code=ExitCode.CONFIGURATION,
                hint=f"name the hosts that it may connect to: {context.resume} --setup-network HOST:PORT",
            )
        has_run, tree = True, context.workspace.snapshot()
        result = setup.runner.run(
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
    if setup.commands and (has_run or not sitting.state.work.coding_started):
        context.workspace.keep_setup(again=has_run)
