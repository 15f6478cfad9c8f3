"""A patch on standard output: colored and clean on a terminal, byte for byte anywhere else."""

from __future__ import annotations

import sys

from autoroute.render.clean import clean

_MAX_COLORED_CHARACTERS = 256 * 1024
"""Coloring takes three seconds for a million characters."""


def show_patch(patch: bytes) -> None:
    """Write a patch, so that git applies what ``autoroute diff > x.patch`` saves."""
    sys.stdout.flush()
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(patch)
        sys.stdout.flush()
        return
    text = clean(patch.decode("utf-8", "replace"))
    if len(text) > _MAX_COLORED_CHARACTERS:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
