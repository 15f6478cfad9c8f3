"""A call that had begun when autoroute was killed, with no result on record: what became of it."""

from __future__ import annotations

from autoroute.events import Intent
from autoroute.tools.tool import ToolContext, ToolOutcome
from autoroute.tools.write import digest

NOT_RUN_AGAIN = ToolOutcome(
    "this command was interrupted when autoroute was stopped, and was not run again; the files are as they were "
    "before it",
    is_error=True,
)


def settle(intent: Intent, done: str, context: ToolContext) -> ToolOutcome | None:
    """What became of a change, by the bytes that are there now; None when nothing did, and it can be made.

    ``done`` is the tool's word for a change that was made. Raises as a tool's ``prepare`` does.
    """
    now = _state(intent.path, context)
    if now == intent.before:
        return None
    if now == intent.after:
        return ToolOutcome(f"{done if intent.before else 'created'} {intent.path} (done just before an interruption)")
    return ToolOutcome(
        f"{intent.path}: the file was changed by something else while autoroute was interrupted; read it again",
        is_error=True,
    )


def _state(path: str, context: ToolContext) -> str:
    """The hash of a file as intents have it, "" where there is none."""
    return digest(context.files.read(path) if context.files.exists(path) else None)
