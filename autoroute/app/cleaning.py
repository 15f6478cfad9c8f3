"""What runs left on this machine, workspaces and results of set-ups: what it is, how large, and deleting it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoroute.config.paths import setup_results_folder, workspace_folders
from autoroute.errors import AutorouteError
from autoroute.store import RunFolder
from autoroute.workspace.clone import read_owner
from autoroute.workspace.removal import delete
from autoroute.workspace.rmtree import measure
from autoroute.workspace.setup_results import delete_result, list_results

LeftoverState = Literal["running", "resumable", "over", "orphaned", "setup"]
"""``running`` runs keep their workspace; a ``resumable`` one cannot be resumed without it. An ``orphaned`` workspace is
of a run or repository that is gone. ``setup`` is what the set-up of a run made."""
_STATES_OF_ENDED_RUNS = ("approved", "rejected")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A folder of a run ("" if unknown), its size in bytes on the disk, and what became of the run."""

    folder: Path
    size: int
    state: LeftoverState
    run: str
    repository: Path | None

    @property
    def description(self) -> str:
        """One line for people."""
        where = f" in {self.repository}" if self.repository else ""
        means = {
            "running": "is running: kept",
            "resumable": "can be resumed until this is deleted",
            "over": "is over",
            "orphaned": "or its repository is gone",
            "setup": "made this with its set-up, for later runs",
        }
        return f"{show_size(self.size):>8}  run {self.run or self.folder.name}{where} {means[self.state]}"


def find_leftovers(environ: Mapping[str, str]) -> list[Leftover]:
    """Return what is left on this machine, the workspaces of running runs included, the largest first."""
    found = [_describe(folder) for folder in _list_workspaces(environ)]
    for result in list_results(setup_results_folder(environ)):
        git_dir = Path(result.repository)
        checkout = git_dir.parent if git_dir.name == ".git" else git_dir
        found.append(Leftover(result.folder, result.size, "setup", result.run, checkout))
    return sorted(found, key=lambda leftover: (-leftover.size, leftover.folder))


def delete_leftover(leftover: Leftover) -> bool:
    """Delete it; return False if a process works on its run. Raises ``WorkspaceError`` if part remains."""
    if leftover.state == "setup":
        delete_result(leftover.folder)
        return True
    folder = None
    with suppress(AutorouteError):
        folder = RunFolder.open(leftover.repository, leftover.run) if leftover.repository else None
    if folder is None:
        delete(leftover.folder)
        return True
    if folder.is_locked:
        return False
    with folder.lock("autoroute clean"):
        delete(leftover.folder)
    return True


def show_size(size: int) -> str:
    """Return a size in words: ``412 MB``."""
    for unit, bytes_each in (("GB", 1024**3), ("MB", 1024**2)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size // 1024} kB"


def _list_workspaces(environ: Mapping[str, str]) -> Iterator[Path]:
    for parent in workspace_folders(environ):
        with suppress(OSError), os.scandir(parent) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def _describe(folder: Path) -> Leftover:
    repository, run = read_owner(folder)
    state: LeftoverState = "orphaned"
    if repository is not None:
        with suppress(AutorouteError, OSError):
            found = RunFolder.open(repository, run)
            state = "over" if found.summary().state in _STATES_OF_ENDED_RUNS else "resumable"
            state = "running" if found.is_locked else state
    return Leftover(folder, measure(folder), state, run, repository)
