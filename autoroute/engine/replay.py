"""Where a run stopped, made of its events alone: what was handed on and spent, and the conversation that was cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from pydantic import ValidationError

from autoroute.engine.context import Progress
from autoroute.engine.conversation import Conversation
from autoroute.errors import WorkspaceError
from autoroute.events import Event, PromptSent, SubtaskStarted, TurnEnded, TurnStarted, VerifyEnded
from autoroute.version import __version__


def replay(progress: Progress, past: Iterable[Event]) -> None:
    """Bring ``progress`` to where the past ends."""
    turns = commands = 0
    starting: SubtaskStarted | None = None
    for event in past:
        try:
            progress.note(event)
        except ValidationError as error:
            raise WorkspaceError(
                f"the journal holds a {event.type} that autoroute {__version__} does not take",
                hint="go on with the version that wrote it",
            ) from error
        match event:
            case TurnStarted():
                turns = max(turns, event.turn)
            case TurnEnded():
                progress.budget.book(event.phase, event.route, event.reply.usage)
            case VerifyEnded():
                commands += 1
            case SubtaskStarted():
                # It counts when the model is told so: until then the attempt before it is what there is.
                starting = event
            case PromptSent(opens=True):
                progress.conversation = Conversation(event.phase, redact=progress.context.redact)
        if progress.conversation is not None:
            if isinstance(event, PromptSent) and starting is not None:
                _begin_attempt(progress.conversation, starting)
                starting = None
            progress.conversation.note(event)
    progress.turns, progress.commands = count(turns + 1), count(commands + 1)


def _begin_attempt(conversation: Conversation, event: SubtaskStarted) -> None:
    conversation.attempt, conversation.tree = event.attempt, event.tree
