"""The output of commands: every text is cleaned of terminal escapes on its way out, every value is ASCII JSON."""

from __future__ import annotations

import typer


def say(text: str = "", *, err: bool = False) -> None:
    """Print the text, on standard error if ``err``; invisible characters are made visible."""
    from autoroute.render.clean import clean

    typer.echo(clean(text), err=err)


def say_json(value: object) -> None:
    """Print the value as JSON, in ASCII."""
    from autoroute.render.clean import ascii_json

    typer.echo(ascii_json(value, indent=1))
