"""The commits so far, brought into the user's repository: at the end of a sitting, and where a person looks at them."""

from __future__ import annotations

from collections.abc import Generator

from autoroute.engine.context import Progress
from autoroute.errors import WorkspaceError
from autoroute.events import Event, Notice, Published
from autoroute.workspace import SecretsFound


def publish(progress: Progress) -> Generator[Event, None, WorkspaceError | None]:
    """Deliver what is on record, and write the patch; the error where that cannot be done, which is said."""
    context = progress.context
    try:
        publication = context.workspace.publish(context.patch, progress.tip)
    except WorkspaceError as error:
        if isinstance(error, SecretsFound):
            error.hint = f"if it is none: {context.resume} --accept-secrets; else {error.hint}"
        words = f"the commits could not be brought into the repository: {error.message}"
        yield Notice(level="warning", text=f"{words} ({error.hint})" if error.hint else words)
        return error
    if publication.excluded:
        inner = ", ".join(publication.excluded)
        what = "git repositories of their own, unreadable files, or names that git keeps for itself"
        yield Notice(level="warning", text=f"left out of the commits ({what}): {inner}")
    if publication.commit:
        yield Published(
            branch=publication.branch,
            commit=publication.commit,
            commits=publication.commits,
            auto_executed=publication.auto_executed,
        )
    return None
