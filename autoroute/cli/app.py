"""The command line's entry: the commands, and the one place where an error becomes words and an exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn, cast

import typer

from autoroute.cli import clean, demo, doctor, history, lock, login, models, profiles, resume, run
from autoroute.cli.console import say
from autoroute.cli.terminal import mute_broken_output
from autoroute.errors import AutorouteError, ExitCode, map_access_error, map_resource_error
from autoroute.redaction import Redactor
from autoroute.version import __version__

_Complaint = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
"""The common class of all usage errors of the library, which has no public name."""

app = typer.Typer(
    name="autoroute",
    help="One task through spec, planning, coding and qa, each phase on the provider and model you chose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run.run)
app.command()(resume.resume)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(lock.lock)
app.command()(models.models)
app.command()(login.login)
app.command()(login.logout)
app.add_typer(profiles.app, name="profiles")
app.command()(history.runs)
app.command()(history.show)
app.command()(history.diff)
app.command()(history.merge)
app.command()(history.discard)
app.command()(clean.clean)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"autoroute {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """One task through spec, planning, coding and qa, each phase on the provider and model you chose."""


def main() -> NoReturn:
    """Run the command line and end the process with an exit code of the table in ``errors.py``.

    Commands teach ``known`` the keys that they find, so that no error message shows one.
    """
    known = Redactor()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without "→" must not make output fail
    try:
        try:
            exit_code = app(obj=known, standalone_mode=False)
        finally:
            sys.stdout.flush()
    except _Complaint as error:
        sys.exit(_show(error, known))
    except typer.Abort:  # Ctrl-C or the end of the input, where something was asked
        sys.exit(ExitCode.INTERRUPTED)
    except AutorouteError as error:
        _say(known.redact(error.message), known.redact(error.hint))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has ended (`autoroute diff | head`), which is not an error.
        mute_broken_output()
        sys.exit(ExitCode.APPROVED)
    except Exception as error:  # noqa: BLE001 - the boundary: a bug ends in words and a log, not in a traceback
        if isinstance(error, OSError) and (failure := map_resource_error(error) or map_access_error(error)):
            _say(known.redact(failure.message), failure.hint)
            sys.exit(failure.exit_code)
        words = known.redact(f"a bug in autoroute: {type(error).__name__}: {error}")
        _say(words, f"please report it with {_write_log(error, known)}")
        sys.exit(ExitCode.INTERNAL)
    sys.exit(exit_code or ExitCode.APPROVED)


def _show(error: typer.BadParameter, known: Redactor) -> int:
    """Print a usage error as the library does; return its exit code."""
    from autoroute.render.clean import clean

    shown = io.StringIO()
    error.show(shown)
    print(clean(known.redact(shown.getvalue())), end="", file=sys.stderr)
    return error.exit_code


def _say(message: str, hint: str) -> None:
    from autoroute.render.clean import clean

    with suppress(OSError):
        print(f"error: {clean(message)}", file=sys.stderr)
        for line in hint.splitlines():
            print(f"hint: {clean(line)}", file=sys.stderr)
    mute_broken_output()


def _write_log(error: Exception, known: Redactor) -> str:
    """Write the traceback to a file, without values of variables; return its path."""
    import tempfile
    import traceback

    try:
        handle, path = tempfile.mkstemp(prefix="autoroute-bug-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as log:
            log.write(known.redact("".join(traceback.format_exception(error))))
    except OSError as failure:
        return f"what you did (the log cannot be written: {failure.strerror})"
    return path
