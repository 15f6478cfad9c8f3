"""The events of a run applied to its state: those on record when it is resumed, and those that happen."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import TypeVar

from pydantic import ValidationError

from autoroute.errors import AutorouteError, WorkspaceError
from autoroute.events import TRANSIENT, ArtifactAccepted, Event
from autoroute.phases.artifacts import ARTIFACTS
from autoroute.redaction import redact_value
from autoroute.state import RunState
from autoroute.version import __version__

Result = TypeVar("Result")


def replay(past: Iterable[Event], redact: Callable[[str], str]) -> RunState:
    """Return the state of a run after the events on record.

    Raises ``WorkspaceError`` when the journal holds an artifact that this version does not accept.
    """
    state = RunState()
    for event in past:
        if isinstance(event, ArtifactAccepted):
            _check_artifact(event)
        # Again, although the journal holds redacted events: a key may have become known since.
        state.apply(redact_value(event, redact))
    return state


def apply_each(
    events: Generator[Event, None, Result], state: RunState, redact: Callable[[str], str]
) -> Generator[Event, None, Result]:
    """Pass events on, each redacted and applied to the state before anyone sees it.

    This is the only place that applies the events of a run that is at work: whoever yields one finds the state changed
    when it continues. An error that is thrown in, or that a signal raises here, is thrown on into ``events``.
    """
    advance: Callable[[], Event] = partial(next, events)
    while True:
        try:
            event = advance()
        except StopIteration as stop:
            result: Result = stop.value
            return result
        advance = partial(next, events)
        try:
            if not isinstance(event, TRANSIENT):
                # What a reply says is redacted too: it may move to another provider, and tools act on its calls.
                event = redact_value(event, redact)
                state.apply(event)
            yield event
        except (AutorouteError, KeyboardInterrupt) as error:
            advance = partial(events.throw, error)
        except GeneratorExit:
            events.close()
            raise


def _check_artifact(event: ArtifactAccepted) -> None:
    try:
        ARTIFACTS[event.artifact].model_validate(dict(event.content))
    except ValidationError as error:
        raise WorkspaceError(
            f"the journal holds a {event.type} that autoroute {__version__} does not accept",
            hint="resume the run with the version that wrote it",
        ) from error
