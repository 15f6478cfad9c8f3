"""Publishing the commits of a run: one ``git fetch`` into the user's repository, one run at a time.

Fetching from an untrusted repository is safe: ``git-upload-pack`` is documented to run nothing that it configures, and
none of 30 ways to plant a program fired. Every other command of git inside it may run one.
"""

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
from autoroute.patterns import pattern
from autoroute.workspace.git import Git
from autoroute.workspace.repository import RUN_BRANCHES, Repository

_FETCH_OPTIONS = ("--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--upload-pack=git-upload-pack")
_CHECKED_OUT = pattern(r"refusing to fetch into (?:.* checked out( at '.*'))?", re.IGNORECASE)
_UNSAFE_OBJECT = pattern(r"error: object [0-9a-f]+: (.+)")
"""The finding of ``fetch.fsckObjects`` on a tree with ``.GIT`` in it, a hostile ``.gitmodules`` and the like."""
_STALE_LOCK_SECONDS = 2.0
"""git holds the lock of a branch only while it writes the branch; an older one was left by a killed git."""
_STALE_LOCK_CHECKS = 50
_MAX_WAIT_SECONDS = 300.0
"""How long to wait for another run: longer than any fetch from a folder on the same machine takes."""
_POLL_SECONDS = 0.05


def without_url_rewrites(git: Git, source: str) -> Git:
    """Return the same git, for which no ``insteadOf`` setting of the user rewrites the path ``source``.

    A rule that turns the path into ``ext::COMMAND`` would run that command.
    """
    # git applies the rule with the longest match. A name with ``=`` cannot be written in ``-c name=value``.
    rule = () if "=" in source else (f"url.{source}.insteadOf={source}",)
    return replace(git, settings=(*git.settings, *rule))


def publish(repository: Repository, history: Path, branch: str, tree: Path, trusted: str = "") -> None:
    """Fetch ``branch`` from ``history`` into the repository; git refuses if that would lose a commit of the user.

    ``tree`` is the folder that an error message names for inspection. ``trusted`` is an object that the repository had
    before the run, which git does not check. Raises ``WorkspaceError``.
    """
    with publish_lock(repository.git_dir), NamedTemporaryFile("w", encoding="ascii") as skip_list:
        skip_list.write(trusted and f"{trusted}\n")
        skip_list.flush()
        guarded = repository.git
        git = replace(guarded, settings=(*guarded.settings, f"fetch.fsck.skipList={skip_list.name}"))
        try:
            _fetch(git, history, branch, tree)
        except WorkspaceError as error:
            if checked_out := _CHECKED_OUT.search(error.message):
                raise WorkspaceError(
                    f"cannot update {branch}: it is checked out{checked_out[1] or ''}",
                    hint="git switch BRANCH, then autoroute resume",
                ) from None
            if not _remove_stale_lock(repository, branch):
                raise
            _fetch(git, history, branch, tree)


def _fetch(git: Git, history: Path, branch: str, tree: Path) -> None:
    # Without the mark of the run, so that ``kill_marked`` spares it: its locks are in the user's repository.
    source, reference = str(history), f"refs/heads/{branch}"
    git = without_url_rewrites(git, source)
    try:
        git.run("fetch", *_FETCH_OPTIONS, source, f"{reference}:{reference}")
    except WorkspaceError as error:
        unsafe = _UNSAFE_OBJECT.search(error.message)
        if unsafe is None:
            raise
        raise WorkspaceError(
            f"refusing to publish the commits: git considers an object unsafe ({unsafe[1]})",
            hint=f"inspect {tree} with care, then autoroute discard {branch.removeprefix(RUN_BRANCHES)}",
        ) from None


def _remove_stale_lock(repository: Repository, branch: str) -> bool:
    """Wait for a lock on the branch of the run to go, then delete it; return whether there was one."""
    lock = repository.git_dir / f"refs/heads/{branch}.lock"
    found, end = lock.exists(), time.monotonic() + _STALE_LOCK_SECONDS
    while lock.exists() and time.monotonic() < end:
        time.sleep(_STALE_LOCK_SECONDS / _STALE_LOCK_CHECKS)
    with suppress(FileNotFoundError):
        if found:
            lock.unlink()
    return found


@contextmanager
def publish_lock(git_dir: Path, max_wait: float = _MAX_WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock that lets one run at a time publish into a repository, after waiting up to ``max_wait`` seconds.

    The lock is on the folder itself, so that no file is left behind. Where the file system has no such locks, git's
    own have to suffice. Raises ``WorkspaceError`` when another run holds it
    for too long: it may be suspended (Ctrl-Z).
    """
    try:
        handle = os.open(git_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise WorkspaceError(f"cannot open {git_dir}: {error.strerror}") from None
    try:
        end = time.monotonic() + max_wait
        while not _take_lock(handle):
            if time.monotonic() > end:
                raise WorkspaceError(
                    f"another run is still publishing into this repository after {max_wait:.0f} seconds",
                    hint="wait for it, or end it if it is suspended (Ctrl-Z), then autoroute resume",
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _take_lock(handle: int) -> bool:
    """Try to take the lock; return False if another process has it, True also where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
