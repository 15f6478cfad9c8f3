"""Where models work: a private clone, its checkpoints and commits, and the commands run in it.

The engine and the tools know these seams; ``clone.py`` is the implementation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autoroute.errors import WorkspaceError
from autoroute.redaction import Redact


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a shell command did. ``output`` is stdout and stderr as they came, cut in the middle when long.

    ``exit_code`` is None when it ran out of time (it and its children are then gone). ``log`` holds the whole
    output when ``output`` was cut.
    """

    exit_code: int | None
    output: str
    seconds: float
    log: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths that differ between two trees, relative to the root, sorted."""

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def touched(self) -> tuple[str, ...]:
        """Paths that existed before and are no longer the same."""
        return tuple(sorted((*self.modified, *self.deleted)))

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.deleted)


@dataclass(frozen=True, slots=True)
class Publication:
    """What ``publish`` brought into the user's repository; ``commit`` is the tip ("" when there was none).

    ``excluded`` are paths that git could not take: repositories that a model made inside the workspace.
    ``auto_executed`` are the files of the change that run by themselves, each with when it does.
    """

    branch: str
    commit: str
    commits: int
    excluded: tuple[str, ...] = ()
    auto_executed: Mapping[str, str] = field(default_factory=dict)


class SecretsFound(WorkspaceError):
    """The commits hold what looks like a secret. A person may say that it is none; ``hint`` is for when it is one."""


class WorkspaceLost(WorkspaceError):
    """What a run needs to go on is not there any more: it ends here, and ``hint`` says how to begin anew."""


class Commands(Protocol):
    """Runs shell commands where models may work. The sandbox is an implementation of this."""

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        """Run one command with ``/bin/sh -c`` and leave nothing of it running.

        ``log`` is where the whole output goes if it has to be cut. The environment is an allow list.
        """
        ...

    def kill_leftovers(self) -> int:
        """Kill what is left of the run's earlier commands; how many processes there were.

        A killed autoroute leaves its command running. Called before the workspace is opened again.
        """
        ...


class Workspace(Protocol):
    """The private clone of one run. Trees and commits are git object ids (hex)."""

    @property
    def root(self) -> Path:
        """The folder that models see as the project."""
        ...

    @property
    def base(self) -> str:
        """Commit that the work starts from; "" in an empty repository. Uncommitted changes are in it after ``open``."""
        ...

    def open(self, tip: str = "", *, needed: bool = False) -> None:
        """Make the workspace, or find it again as it was left, whenever an earlier autoroute was killed.

        ``tip`` is the last commit on record ("" = none but the base): the branch is put back to it, the files stay as
        they are. Leftover locks and half-written files go; so the caller holds the run's lock, and has ended what is
        left of its commands. Raises ``WorkspaceError`` when the workspace is gone although there is a tip, or it is
        ``needed`` for work that is not committed.
        """
        ...

    def snapshot(self) -> str:
        """The tree of what is there now: everything git would add. Cheap when little changed."""
        ...

    def restore(self, tree: str) -> Changes:
        """Put the files back as they were at ``tree``; returns what had to be undone (ignored files stay)."""
        ...

    def exclude_new_files(self) -> None:
        """What is new since the last snapshot is no part of the work: not in any later one, and never committed."""
        ...

    def compare(self, tree: str, since: str = "") -> Changes:
        """What differs in ``tree`` from the tree or commit ``since`` (default: the last commit)."""
        ...

    def commit(self, tree: str, subject: str, body: str, trailers: Mapping[str, str]) -> str:
        """Commit ``tree`` on the run's branch; "" when it does not differ from the last commit."""
        ...

    def head_tree(self) -> str:
        """The tree of the last commit; the empty tree before the first."""
        ...

    def diff(self, limit: int, redact: Redact) -> str:
        """The unified diff from ``base`` to the last commit, cut in the middle to ``limit`` characters.

        ``redact`` takes out what no model may be told, before the cut: a part of a key is found no more.
        """
        ...

    def find_auto_executed(self) -> Mapping[str, str]:
        """The files that differ from ``base`` in the last commit and run by themselves, each with when it does."""
        ...

    def find_secrets(self, tree: str) -> Sequence[str]:
        """What looks like a secret in ``tree`` and is new since the last commit: places and kinds, never a value."""
        ...

    def pending_diff(self, limit: int, redact: Redact) -> str:
        """The unified diff from the last commit to what is there now, cut in the middle like ``diff``."""
        ...

    def list_files(self, limit: int) -> Sequence[str]:
        """Tracked paths, at most ``limit`` of them, sorted."""
        ...

    def pack_files(self, limit: int) -> str:
        """Tracked text files in full, near the root and small ones first, at most ``limit`` characters."""
        ...

    def read_guidance(self, redact: Redact) -> str:
        """The repository's words to coding agents (``AGENTS.md``, else ``CLAUDE.md``), "" without, cut when long."""
        ...

    def publish(self, patch: Path, tip: str | None = None) -> Publication:
        """Bring the commits into the user's repository by one fetch, and write the whole diff to ``patch``.

        ``tip`` is the last commit on record, as for ``open``: one that was just made when the run was cancelled is made
        anew when it goes on, and would not fit on what was delivered. None is the last that there is. Raises
        ``SecretsFound`` where a commit adds what looks like a secret; nothing is brought in then.
        """
        ...
