"""What a command finds at its ends: a person or none, a terminal, a pipe, an output that takes nothing more."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoroute.render import Renderer

SHOW_CURSOR = "\x1b[?25h"
"""DECTCEM, which a live screen has turned off."""


def is_attended(environ: Mapping[str, str], *, interactive: bool = True) -> bool:
    """Whether a person sits at the terminal and may be asked."""
    return interactive and sys.stdin.isatty() and sys.stderr.isatty() and "CI" not in environ


def choose_format(asked: str, environ: Mapping[str, str], *, deltas: bool = False) -> str:
    """The format that was asked for, or the one that fits; raises ``UsageError`` for one that does not exist."""
    from autoroute import render

    return render.choose_format(
        asked or None,
        tty=sys.stderr.isatty(),
        no_color="NO_COLOR" in environ,
        dumb=environ.get("TERM") == "dumb",
        deltas=deltas,
    )


def open_renderer(asked: str, environ: Mapping[str, str], *, deltas: bool = False) -> Renderer:
    """What shows a run's events, in that format."""
    from autoroute import render

    format = choose_format(asked, environ, deltas=deltas)
    return render.open_renderer(format, stdout=sys.stdout, stderr=sys.stderr, deltas=deltas)


def mute_broken_output() -> None:
    """Send what goes to an output that takes nothing more nowhere, so that the rest of the work can be done."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
