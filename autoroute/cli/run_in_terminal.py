"""A run driven from the command line: its screen, its signals, and the person who decides."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoroute.cli.console import say
from autoroute.cli.terminal import SHOW_CURSOR, choose_format, mute_broken_output, open_renderer
from autoroute.errors import AutorouteError, Cancelled, ExitCode, WorkspaceError

if TYPE_CHECKING:
    from autoroute.app.run import Run
    from autoroute.cancellation import CancelToken
    from autoroute.events import Event
    from autoroute.render import Renderer


def run_in_terminal(run: Run, environ: Mapping[str, str], format: str, *, deltas: bool = False) -> int:
    """Drive a run to its end in this format, and return its exit code.

    ``format`` "" means the one that fits. ``deltas`` adds fragments of replies to ``jsonl``.
    """
    from autoroute.app.drive import Driver
    from autoroute.cli.signals import Cancellation
    from autoroute.engine.replay import apply_each

    with run:
        renderer = open_renderer(format, environ, deltas=deltas)
        cursor = SHOW_CURSOR if choose_format(format, environ) == "live" else ""
        last_words = f"{cursor}\n{run.resume_command}\n"
        with Cancellation(last_words, indivisible=(Driver.step, Driver.drain, apply_each)) as cancellation, renderer:
            run.guard_with(cancellation)
            run.observe(Screen(renderer, run.cancel_token))
            if run.checked.plan.options.attended:
                _ask_at_terminal(run, renderer, environ)
            result = run.finish()
    for warning in result.warnings:
        say(f"warning: {warning}", err=True)
    if kept := run.kept_workspace:
        from autoroute.app.cleaning import show_size
        from autoroute.workspace.rmtree import measure

        say(f"workspace kept for resume: {show_size(measure(kept))} (autoroute clean deletes it)", err=True)
    return result.exit_code


def command_line() -> str:
    """Return the command that this process is, for those who find a run locked by it."""
    return shlex.join(["autoroute", *sys.argv[1:]])


class Screen:
    """The observer that shows a run. An output that cannot be written stops the run, in order."""

    def __init__(self, renderer: Renderer, cancel: CancelToken) -> None:
        self._renderer = renderer
        self._cancel = cancel

    def notify(self, event: Event) -> None:
        """Show one event."""
        try:
            self._renderer.show(event)
        except OSError as error:
            mute_broken_output()
            self._cancel.cancel(_output_error(error))


def _output_error(error: OSError) -> AutorouteError:
    """Return what it means that the output cannot be written: its reader is gone, or its disk is full."""
    if error.errno in (errno.EPIPE, errno.EIO):
        return Cancelled("the output was closed by its reader", exit_code=ExitCode.TERMINATED)
    return WorkspaceError(f"the output cannot be written: {error.strerror}", hint="free some space there")


def _ask_at_terminal(run: Run, renderer: Renderer, environ: Mapping[str, str]) -> None:
    from autoroute.cli.prompts import AtTerminal
    from autoroute.engine.policy import SystemClock

    editor = environ.get("VISUAL") or environ.get("EDITOR", "")
    answer_within = run.checked.plan.config.recovery.ask_for
    run.decide_with(AtTerminal(renderer, SystemClock(), run.folder, answer_within, run.resume_command, editor))
