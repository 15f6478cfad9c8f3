"""New files that only commands made: which of them a commit takes, and which it leaves out.

A commit takes a new file that a file tool wrote, that the plan or the review names, that is a renamed file of the last
commit, or that the model added in its own repository. The others are coverage reports, databases, objects and the like.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoroute.engine.sitting import Sitting
from autoroute.events import FilesLeftOut
from autoroute.phases import prompts
from autoroute.routing import Phase
from autoroute.tools import match_names

_MAX_PATHS = 100
"""How many paths an event holds. Folders stand for the files in them, so more are rare."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit takes of the files in the workspace: a tree. ``left_out`` are the files that it does not take."""

    tree: str
    left_out: tuple[str, ...] = ()


def select_change(sitting: Sitting, tree: str) -> Change:
    """Return what a commit takes of ``tree``, the tree of the last snapshot."""
    context, files = sitting.context, sitting.context.workspace.left_out
    is_named = match_names(_names(sitting))
    found = [path for path in files.find_new(tree, sitting.state.work.written) if not is_named(path)]
    if not found:
        return Change(tree)
    log = context.files.logs / "staged.log"
    staged = files.find_staged(context.workbench.commands, files.fold(files.without(tree, found), found), log)
    left_out = tuple(path for path in found if path not in staged)
    return Change(files.without(tree, left_out), left_out)


def describe_new_files(sitting: Sitting) -> str:
    """Tell the model which new files of its last command a commit leaves out; return "" for none.

    Without new files this costs one listing of the tree.
    """
    workspace = sitting.context.workspace
    new = set(workspace.left_out.list_new())
    if not new:
        return ""
    change = select_change(sitting, workspace.snapshot())
    paths = workspace.left_out.fold(change.tree, [path for path in change.left_out if path in new])
    repositories = sorted(path for path in new if path.endswith("/"))
    return prompts.describe_left_out(paths, repositories)


def report_left_out(sitting: Sitting, phase: Phase, subtask: str, change: Change) -> FilesLeftOut | None:
    """Return the event about the files that the commit of a subtask leaves out; None if they are on record."""
    paths = tuple(sitting.context.workspace.left_out.fold(change.tree, change.left_out))[:_MAX_PATHS]
    if paths in ((), sitting.state.work.left_out):
        return None
    return FilesLeftOut(phase=phase, subtask=subtask, paths=paths)


def _names(sitting: Sitting) -> Iterable[str]:
    """Return the paths and patterns that the plan or the last review names."""
    artifacts = sitting.artifacts
    planned = [name for subtask in artifacts.plan.subtasks for name in subtask.files]
    return [*planned, *(issue.file for issue in artifacts.review.issues)] if artifacts.review else planned
