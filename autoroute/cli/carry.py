"""The events of a run carried to the store and the screen, one by one."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Sequence
from functools import partial

from autoroute.cli.signals import Cancellation, holds_an_event
from autoroute.cli.terminal import mute_broken_output
from autoroute.cli.watching import Watching
from autoroute.errors import AutorouteError, Cancelled, ExitCode, WorkspaceError
from autoroute.events import Event, Notice, RunEnded
from autoroute.redaction import redact_value
from autoroute.render import Renderer
from autoroute.store import NotRecorded, RunFolder


@holds_an_event
def carry(
    events: Generator[Event, None, None],
    folder: RunFolder,
    renderer: Renderer,
    cancellation: Cancellation,
    redact: Callable[[str], str],
) -> int:
    """Store each event, show it, then ask for the next; the exit code that the last one carries.

    Whatever leaves a run leaves it here, and is redacted. What goes wrong here (a cancellation, an output that nobody
    takes) is thrown into the run, which ends itself with an event; once that is stored, nothing changes how it ended.
    Only when an event could not be stored, nothing comes after it: raises ``NotRecorded``.
    """
    exit_code: int | None = None
    watching = Watching(redact)
    following = partial(next, events)
    while exit_code is None:
        try:
            event = following()
        except StopIteration:
            raise AssertionError("a run ended without saying so") from None
        following = partial(next, events)
        try:
            with cancellation.shield():
                event = redact_value(event, redact)
                stored = _store(folder, event)
                if isinstance(event, RunEnded):
                    exit_code = event.exit_code
                    cancellation.settle()
            for to_show in stored:
                for shown in watching.take(to_show):
                    renderer.show(shown)
        except NotRecorded:
            events.close()
            raise
        except AutorouteError as error:
            following = partial(events.throw, error)
        except OSError as error:
            mute_broken_output()
            following = partial(events.throw, _unheard(error))
    events.close()
    return exit_code


def _store(folder: RunFolder, event: Event) -> Sequence[Event]:
    """Record it; what is to be shown. An end that is in the journal is the end, though another file cannot say so."""
    try:
        folder.record(event)
    except NotRecorded:
        raise
    except WorkspaceError as error:
        if not isinstance(event, RunEnded):
            raise
        words = f"{error.message} ({error.hint}, then autoroute resume {folder.id} writes it)"
        return Notice(level="warning", text=words), event
    return (event,)


def _unheard(error: OSError) -> AutorouteError:
    """What it means when the output cannot be written: its reader or its terminal is gone, or its disk is full."""
    if error.errno in (errno.EPIPE, errno.EIO):
        return Cancelled("nobody reads the output any more", exit_code=ExitCode.TERMINATED)
    return WorkspaceError(f"the output cannot be written: {error.strerror}", hint="free some space there")
