"""The ends of a command: a person at a terminal, a pipe, or an output that cannot be written any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoroute.render import Renderer

SHOW_CURSOR = "\x1b[?25h"
"""DECTCEM (show cursor): a live screen hides the cursor, and a kill must not leave it hidden."""


def is_attended(environ: Mapping[str, str], *, interactive: bool = True) -> bool:
    """Return whether a person is at the terminal and may be asked."""
    return interactive and sys.stdin.isatty() and sys.stderr.isatty() and "CI" not in environ


def choose_format(asked: str, environ: Mapping[str, str], *, deltas: bool = False) -> str:
    """Return the format asked for, or the one that fits. Raises ``UsageError`` for an unknown one."""
    from autoroute import render

    return render.choose_format(
        asked or None,
        tty=sys.stderr.isatty(),
        no_color="NO_COLOR" in environ,
        dumb=environ.get("TERM") == "dumb",
        deltas=deltas,
    )


def open_renderer(asked: str, environ: Mapping[str, str], *, deltas: bool = False) -> Renderer:
    """Return the renderer that shows a run in this format."""
    from autoroute import render

    format = choose_format(asked, environ, deltas=deltas)
    return render.open_renderer(format, stdout=sys.stdout, stderr=sys.stderr, deltas=deltas)


def mute_broken_output() -> None:
    """Send further output to nowhere where it cannot be written, so that the rest of the work can be done."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
