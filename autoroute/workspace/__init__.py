"""The workspace of a run: a private clone, its checkpoints and commits, and the commands that run in it.

This module holds the ports that the engine and the tools know; ``clone.py`` and ``commands.py`` implement them.

The clone, its commits and what arrives of it:

clone.py            the private clone             publishing.py       one fetch into the user's repository
pristine.py         a checkout of the last commit left_out.py         files that commits leave out
conversions.py      what attributes would rewrite overwriting.py      overwrites files for a while
secret_scan.py      secrets in a change           auto_executed.py    files that run automatically
submodules.py       submodules, read-only         lfs.py              large files and other filters
special_files.py    pipes and devices in a tree   lfs_filter.py       the program that git runs for large files
bare_repositories.py  folders that git takes for repositories, without .git

The user's repository and what is beside its files:

repository.py       the user's repository         git.py              every call of git, hardened
guidance.py         AGENTS.md and its links       lock_files.py       the set-up that a repository needs
carried.py          environments and caches       foreign_installs.py this project in other environments
layers.py           folders beside the commit     available.py        environments on the PATH of commands
setup_results.py    what set-ups made             word_search.py      files that may contain a word

Commands and files:

commands.py         shell commands                processes.py        finds and kills what they left running
resource_limits.py  processes and memory          sandbox/            what commands may see and change
path_policy.py      which paths tools may touch   beneath.py          opens paths without leaving a folder
files.py            reads and writes files        bounded_files.py    reads the beginning of files on disk
mount_points.py     makes folders to mount on     rmtree.py           deletes folders, any content
removal.py          deletes, or says why not  copying.py          copies a folder, or says why not
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autoroute.errors import WorkspaceError
from autoroute.redaction import Redact


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a shell command.

    ``exit_code`` is None after a timeout; the command and its children were killed then. ``output`` is stdout and
    stderr, interleaved as they came and cut in the middle when long. ``log`` is the file with the whole output, None
    when nothing was cut.
    """

    exit_code: int | None
    output: str
    seconds: float
    log: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether the command ended in time with exit code 0."""
        return self.exit_code == 0

    def read_output(self, limit: int) -> str:
        """Return the whole output from the log, or its beginning and end if it has more than ``limit`` bytes."""
        if self.log is None:
            return self.output
        with self.log.open("rb") as file:
            head = file.read(limit // 2)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(head), size - limit // 2))
            return (head + file.read(limit // 2)).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths that differ between two trees, relative to the root, sorted."""

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def touched(self) -> tuple[str, ...]:
        """Paths that existed before and were modified or deleted."""
        return tuple(sorted((*self.modified, *self.deleted)))

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.deleted)


@dataclass(frozen=True, slots=True)
class Publication:
    """The commits that ``publish`` fetched into the user's repository; ``commit`` is the tip ("" without commits).

    ``excluded`` lists paths that git could not commit, such as a repository that a model made inside the workspace.
    ``auto_executed`` maps files of the change that run automatically to the occasion on which they run.
    """

    branch: str
    commit: str
    commits: int
    excluded: tuple[str, ...] = ()
    auto_executed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Differences:
    """What a workspace had and a checkout of its commit has not, as paths relative to the root.

    ``ignored`` and ``untracked`` are files and folders that were removed. ``converted`` are files that a checkout gives
    another content than they had, because of a filter or an attribute.
    """

    ignored: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ignored or self.untracked or self.converted)


class SecretsFound(WorkspaceError):
    """The commits contain text that looks like a secret; ``hint`` says what to do if it is one."""


class WorkspaceLost(WorkspaceError):
    """The workspace or a commit that the run needs is gone; the run ends, and ``hint`` says how to start over."""


class Commands(Protocol):
    """The port that runs shell commands in the workspace, inside a sandbox or without one."""

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        """Run one command with ``/bin/sh -c`` for at most ``timeout`` seconds, and leave no process of it running.

        Output that is too long to show is written to ``log``. The environment is built from an allow list.
        """
        ...

    def kill_leftovers(self) -> int:
        """Kill processes that earlier commands of this run left running; return their number.

        When autoroute is killed, its command keeps running. Call this before the workspace is opened again.
        """
        ...


class SetupResults(Protocol):
    """What set-ups made in earlier runs. ``programs`` says which programs there are: what ``described_by`` prints."""

    @property
    def described_by(self) -> str:
        """The command that describes the programs; it runs as set-up commands do."""
        ...

    def reuse(self, programs: str) -> str:
        """Give the workspace what the same set-up made in an earlier run; return that run, "" if there is none."""
        ...

    def keep(self, programs: str) -> None:
        """Keep what the set-up of this run made, for later runs, where that is possible."""
        ...


class LeftOutFiles(Protocol):
    """The files of the workspace that its commits leave out."""

    def explain(self, path: str) -> str:
        """Return why git does not take a file into commits (an ignore rule, for example), "" if it does."""
        ...

    def find_uncommitted(self, paths: Iterable[str]) -> Mapping[str, str]:
        """Map each of the paths that exists, and that the last snapshot does not have, to the reason."""
        ...

    def list_new(self) -> Sequence[str]:
        """Return the files that are new since the last snapshot; a repository made there is one path, with a slash."""
        ...

    def find_new(self, tree: str, written: Mapping[str, str]) -> Sequence[str]:
        """Return the files of ``tree`` that are new since the last commit and that only commands made.

        Not among them are renamed files of the last commit, and files that were ``written`` (path -> SHA-256 of the
        content) and perhaps moved since.
        """
        ...

    def find_staged(self, commands: Commands, paths: Sequence[str], log: Path) -> Collection[str]:
        """Return which of the paths, and of the files in the folders among them, models added in their repository.

        That repository may run anything, so git looks at it through ``commands``. A long output goes to ``log``.
        """
        ...

    def without(self, tree: str, paths: Sequence[str]) -> str:
        """Return ``tree`` without these files."""
        ...

    def fold(self, tree: str, paths: Sequence[str]) -> Sequence[str]:
        """Return the paths, with a folder (``build/``) in place of those in it where ``tree`` has no such folder."""
        ...


class Workspace(Protocol):
    """The private clone of one run. Trees and commits are git object ids in hex."""

    @property
    def root(self) -> Path:
        """The folder that models see as the project."""
        ...

    @property
    def place(self) -> Path | None:
        """The path at which commands see the project; None where that is ``root``."""
        ...

    @property
    def environments(self) -> str:
        """The environments that commands have, in words: ``.venv (Python 3.11), node_modules (pnpm)``."""
        ...

    @property
    def base(self) -> str:
        """The commit that the work starts from; "" in an empty repository.

        After ``open`` it includes the user's uncommitted changes, if the run was asked to include them.
        """
        ...

    @property
    def left_out(self) -> LeftOutFiles:
        """The files that commits leave out."""
        ...

    def open(self, tip: str = "", *, needed: bool = False) -> None:
        """Create the workspace, or reopen it as it was left, even if autoroute was killed at any point.

        ``tip`` is the last recorded commit ("" for none beyond the base). The branch is reset to it; files are kept.
        Leftover locks and half-written files are deleted. The caller must hold the lock of the run, and must have
        killed leftover commands. Raises ``WorkspaceError`` when the workspace is gone although ``tip`` is given, or
        although it is ``needed`` for uncommitted work.
        """
        ...

    def snapshot(self) -> str:
        """Return the tree of the current files, as ``git add --all`` sees them. Fast when little changed."""
        ...

    def restore(self, tree: str) -> Changes:
        """Reset the files to ``tree``; return the changes that this undid. Ignored files are kept."""
        ...

    @property
    def submodules(self) -> Mapping[str, str]:
        """The commit of each submodule in the tree, by its path; "" where the submodule is missing."""
        ...

    def take_submodule_changes(self) -> Changes:
        """Return what commands changed in submodules since the last call: ``snapshot`` has undone it.

        Files that were new are ``added``; a submodule with another commit checked out is ``modified`` itself.
        """
        ...

    def exclude_new_files(self) -> None:
        """Exclude files that are new since the last snapshot from all later snapshots and commits."""
        ...

    def keep_setup(self, *, again: bool = False) -> None:
        """Keep all that the set-up made, apart from what commands write later.

        Called before a model works, and ``again`` after a set-up command that ran later than that.
        """
        ...

    def make_pristine(self) -> Differences:
        """Make the workspace what a checkout of the last commit would be, with what the set-up made and nothing else.

        The repository that commands see in it is made anew too. Return what it had beyond that.
        """
        ...

    def compare(self, tree: str, since: str = "") -> Changes:
        """Return the changes from the tree or commit ``since`` (default: the last commit) to ``tree``."""
        ...

    def commit(self, tree: str, subject: str, body: str, trailers: Mapping[str, str]) -> str:
        """Commit ``tree`` on the branch of the run; return "" if it equals the tree of the last commit."""
        ...

    def head_tree(self) -> str:
        """Return the tree of the last commit, the empty tree before the first."""
        ...

    def changed_files(self) -> Sequence[str]:
        """Return the paths that were added or modified between ``base`` and the last commit, sorted."""
        ...

    def overwritten(self, paths: Sequence[str], content: bytes) -> AbstractContextManager[Sequence[str]]:
        """Overwrite regular files while the context lasts, and restore their content and mode at its end.

        The context is the paths that were overwritten, without links and what cannot be read. The time of a file moves
        forward each time, so that nothing built from it before counts as current.
        """
        ...

    def diff(self, limit: int, redact: Redact) -> str:
        """Return the unified diff from ``base`` to the last commit, cut in the middle to ``limit`` characters.

        ``redact`` is applied before the cut, because it would not recognize half of a key.
        """
        ...

    def find_auto_executed(self) -> Mapping[str, str]:
        """Map each automatically executed file that changed since ``base`` to the occasion on which it runs."""
        ...

    def find_secrets(self, tree: str) -> Sequence[str]:
        """Return place and kind of each apparent secret that ``tree`` adds to the last commit, never its value."""
        ...

    def pending_diff(self, limit: int, redact: Redact) -> str:
        """Return the unified diff from the last commit to the current files, redacted and cut like ``diff``."""
        ...

    def list_files(self, limit: int) -> Sequence[str]:
        """Return at most ``limit`` tracked paths, sorted."""
        ...

    def find_holders(self, words: Sequence[str]) -> Callable[[str], bool]:
        """Return a function that tells of a path whether its file may contain one of these ASCII words."""
        ...

    def pack_files(self, limit: int) -> str:
        """Return tracked text files in full, at most ``limit`` characters; files near the root and small ones first."""
        ...

    def read_guidance(self, redact: Redact) -> str:
        """Return the repository's ``AGENTS.md``, else its ``CLAUDE.md``, cut when long; "" without either."""
        ...

    def publish(self, patch: Path, tip: str | None = None) -> Publication:
        """Fetch the commits into the user's repository, and write the whole diff to ``patch``.

        ``tip`` is the last recorded commit, as for ``open``; None means the last commit there is. A later commit, made
        just before a cancellation, is not on record. Resuming the run makes it anew, which would conflict with a
        published one. Raises ``SecretsFound``, and publishes nothing, when a commit adds what looks like a secret.
        """
        ...
