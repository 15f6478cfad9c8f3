"""Calls that were running when autoroute was killed: file hashes show whether they took effect."""

from __future__ import annotations

from autoroute.events import Intent
from autoroute.tools.tool import ToolContext, ToolOutcome
from autoroute.tools.write import hash_file, warn_left_out

NOT_RUN_AGAIN = ToolOutcome(
    "autoroute was stopped during this command, so it was not run again; the files are as they were before it",
    is_error=True,
)


def outcome_of_change(intent: Intent, past_tense: str, context: ToolContext) -> ToolOutcome | None:
    """Return the outcome of an interrupted file change, or None if the file is unchanged and the change can be made.

    ``past_tense`` is the tool's word for a change that was made. Raises what a tool's ``prepare`` raises.
    """
    now = _hash_at(intent.path, context)
    if now == intent.before:
        return None
    if now == intent.after:
        done = past_tense if intent.before else "created"
        warning = warn_left_out(intent.path, context)
        return ToolOutcome(f"{done} {intent.path} (just before autoroute was interrupted){warning}")
    return ToolOutcome(
        f"{intent.path}: something else changed this file while autoroute was interrupted; re-read it",
        is_error=True,
    )


def _hash_at(path: str, context: ToolContext) -> str:
    """Return the hash of the file at ``path`` as intents record it, "" if no file exists."""
    return hash_file(context.files.read(path) if context.files.exists(path) else None)
