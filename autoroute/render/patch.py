"""A patch on standard output: colored and clean on a terminal, byte for byte anywhere else."""

from __future__ import annotations

import sys

from autoroute.render.clean import clean

_COLOURED = 256 * 1024
"""Characters: to color them takes three seconds a million."""


def show_patch(patch: bytes) -> None:
    """Write it, so that ``autoroute diff > x.patch`` is a patch that git applies."""
    sys.stdout.flush()
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(patch)
        sys.stdout.flush()
        return
    text = clean(patch.decode("utf-8", "replace"))
    if len(text) > _COLOURED:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
