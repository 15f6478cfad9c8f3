"""The commits so far, fetched into the user's repository: when a sitting ends, and where a person reviews them."""

from __future__ import annotations

from collections.abc import Generator

from autoroute.engine.sitting import Sitting
from autoroute.errors import WorkspaceError
from autoroute.events import Event, Notice, Published
from autoroute.text import join_first
from autoroute.workspace import SecretsFound

_MAX_PATHS = 5


def publish(sitting: Sitting) -> Generator[Event, None, WorkspaceError | None]:
    """Publish the commits on record and write the patch; return the error, after a notice, where that is impossible."""
    context = sitting.context
    try:
        publication = context.workspace.publish(context.files.patch, sitting.state.history.tip)
    except WorkspaceError as error:
        if isinstance(error, SecretsFound):
            error.hint = f"if it is not a secret: {context.resume} --accept-secrets; otherwise {error.hint}"
        text = f"the commits were not brought into the repository: {error.message}"
        yield Notice(level="warning", text=f"{text} ({error.hint})" if error.hint else text)
        return error
    if publication.excluded:
        paths = ", ".join(publication.excluded)
        kinds = "nested git repositories, unreadable files, or names that git reserves"
        yield Notice(level="warning", text=f"left out of the commits ({kinds}): {paths}")
    if undone := sitting.state.work.restored_submodules:
        text = f"submodules are read-only: changes there were undone: {join_first(undone, _MAX_PATHS)}"
        yield Notice(level="warning", text=text)
    if publication.commit:
        yield Published(
            branch=publication.branch,
            commit=publication.commit,
            commits=publication.commits,
            auto_executed=publication.auto_executed,
        )
    return None
