"""The one way of a run's commits into the user's repository: a fetch, one at a time."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from autoroute.errors import WorkspaceError
from autoroute.workspace.git import Git
from autoroute.workspace.repository import RUN_BRANCHES, Repository

_OPTIONS = ("--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--upload-pack=git-upload-pack")
_CHECKED_OUT = re.compile(r"refusing to fetch into (?:.* checked out( at '.*'))?", re.IGNORECASE)
_UNSAFE = re.compile(r"error: object [0-9a-f]+: (.+)")
"""What ``fetch.fsckObjects`` says of a tree with ``.GIT`` in it, a hostile ``.gitmodules`` and their like."""
_LOCKED = 2.0
"""Seconds after which a lock on a branch of ours is nobody's: git holds one for the time of a write."""

_LONGEST_IMPORT = 300.0
"""Seconds that another run is waited for: more than git takes for any fetch from a folder beside."""
_LOOK_AGAIN = 0.05


def without_url_rewrites(git: Git, source: str) -> Git:
    """The same git, for which no ``insteadOf`` of the user's makes another address of the path ``source``."""
    # The longest match wins.
    ours = () if "=" in source else (f"url.{source}.insteadOf={source}",)
    return replace(git, settings=(*git.settings, *ours))


def publish(repository: Repository, history: Path, branch: str, lock: Path, tree: Path, theirs: str = "") -> None:
    """Fetch ``branch`` from ``history``; git refuses where that would lose a commit of the user's.

    ``lock`` is held meanwhile, ``tree`` is where a person may look at what was refused. ``theirs`` is an object that
    was the user's before the run, so that git need not judge it. Raises ``WorkspaceError``.
    """
    with publish_lock(lock), NamedTemporaryFile("w", encoding="ascii") as known:
        known.write(theirs and f"{theirs}\n")
        known.flush()
        guarded = repository.git
        git = replace(guarded, settings=(*guarded.settings, f"fetch.fsck.skipList={known.name}"))
        try:
            _fetch(git, history, branch, tree)
        except WorkspaceError as error:
            if checked_out := _CHECKED_OUT.search(error.message):
                raise WorkspaceError(
                    f"{branch} is checked out{checked_out[1] or ''}, and git brings no commits into a branch that is",
                    hint="git switch another branch first, then autoroute resume",
                ) from None
            if not _free_branch(repository, branch):
                raise
            _fetch(git, history, branch, tree)


def _fetch(git: Git, history: Path, branch: str, tree: Path) -> None:
    # Without the run's mark: a fetch that outlives us is let to its end, for its locks are in the user's repository.
    source, reference = str(history), f"refs/heads/{branch}"
    git = without_url_rewrites(git, source)
    try:
        git.run("fetch", *_OPTIONS, source, f"{reference}:{reference}")
    except WorkspaceError as error:
        unsafe = _UNSAFE.search(error.message)
        if unsafe is None:
            raise
        raise WorkspaceError(
            f"the commits hold what git takes from nobody ({unsafe[1]}), so they were not brought in",
            hint=f"look at {tree} with care; autoroute discard {branch.removeprefix(RUN_BRANCHES)}",
        ) from None


def _free_branch(repository: Repository, branch: str) -> bool:
    """Whether there was a lock on our branch, of a fetch that is at its end by now or was killed."""
    lock = repository.git_dir / f"refs/heads/{branch}.lock"
    found, end = lock.exists(), time.monotonic() + _LOCKED
    while lock.exists() and time.monotonic() < end:
        time.sleep(_LOCKED / 50)
    with suppress(FileNotFoundError):
        if found:
            lock.unlink()
    return found


@contextmanager
def publish_lock(path: Path, longest: float = _LONGEST_IMPORT) -> Iterator[None]:
    """Wait for other runs that bring their commits into the same repository; without locks, git's own have to do.

    Raises ``WorkspaceError`` when another one takes too long: it may have been stopped in the middle, with Ctrl-Z.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        end = time.monotonic() + longest
        while not _is_taken(handle):
            if time.monotonic() > end:
                raise WorkspaceError(
                    f"another run has brought its commits into this repository for {longest:.0f} seconds",
                    hint="wait for its end, or end it if it was stopped (Ctrl-Z), then autoroute resume",
                )
            time.sleep(_LOOK_AGAIN)
        yield
    finally:
        os.close(handle)


def _is_taken(handle: int) -> bool:
    """Whether the lock is ours now, or there are none here."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
