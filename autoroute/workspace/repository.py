"""The user's repository: looked at, given branches by one fetch, and changed only where the user says ``merge``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from autoroute.errors import WorkspaceError
from autoroute.text import did_you_mean
from autoroute.workspace.auto_executed import find_auto_executed
from autoroute.workspace.git import Git, check_version, guarded_git, overrides, staging_git, users_git

RUN_BRANCHES = "autoroute/"
RUN_FOLDERS = ".autoroute"
_EXCLUDES_READ = 1024 * 1024
_STATUS = ("--no-renames", "--ignore-submodules=dirty")
"""A look into a submodule would run what that one's configuration names."""
_UNDER_WAY = MappingProxyType(
    {
        "MERGE_HEAD": "a merge",
        "CHERRY_PICK_HEAD": "a cherry-pick",
        "REVERT_HEAD": "a revert",
        "rebase-merge": "a rebase",
        "rebase-apply": "a rebase",
    }
)
"""What git keeps in its folder while the user is in the middle of something, with what that is."""
_DUBIOUS = re.compile(r"dubious ownership in repository at '(.+)'")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the user's, seen from its checkout.

    ``root`` is the checkout, ``git_dir`` where its objects and refs are (shared by all its worktrees), ``head`` the
    commit that is checked out ("" before the first), ``branch`` its branch ("" when HEAD is detached). ``settings``
    take the programs out of use that only its configuration names.
    """

    root: Path
    git_dir: Path
    head: str
    branch: str
    environ: Mapping[str, str]
    settings: Sequence[str] = ()

    @classmethod
    def discover(cls, folder: Path, environ: Mapping[str, str]) -> Repository:
        """The repository around ``folder``; raises ``WorkspaceError`` when there is none that can be worked with."""
        git = guarded_git(folder, environ)
        check_version(git)
        try:
            found, top = git.text("rev-parse", "--absolute-git-dir", "--show-toplevel").split("\n", 1)
        except WorkspaceError as error:
            raise _explained(error, folder) from None
        if "\n" in top:
            raise WorkspaceError(f"a path of this repository holds a line break: {folder}", hint="rename that folder")
        root, here = Path(top), folder.resolve()
        git = guarded_git(root, environ)
        # A repository may name any folder as its work tree: only the one that it lies in is believed.
        lies_there = git.run("rev-parse", "--absolute-git-dir", accept=(0, 128)) == os.fsencode(f"{found}\n")
        if not lies_there or root not in (here, *here.parents):
            raise WorkspaceError(
                f"{found} says that its work tree is {root}, where it does not lie", hint="look at its core.worktree"
            )
        git_dir = (root / git.text("rev-parse", "--git-common-dir")).resolve()
        _refuse_others(git, root, Path(found).resolve(), git_dir)
        # Asked before any object is looked at: a look would fetch the object, by a command that the repository names.
        if git.succeeds("config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$"):
            raise WorkspaceError(
                f"{root} is a partial clone: objects that it lacks could only be fetched from its remote",
                hint="clone it without --filter",
            )
        settings = overrides(git)
        head = (
            git.text("rev-parse", "HEAD") if git.succeeds("rev-parse", "--verify", "--quiet", "HEAD^{commit}") else ""
        )
        branch = git.text("symbolic-ref", "--short", "HEAD") if git.succeeds("symbolic-ref", "--quiet", "HEAD") else ""
        return cls(root, git_dir, head, branch, environ, settings)

    @property
    def users(self) -> Git:
        """git as the user runs it here: for what they asked for by name."""
        return users_git(self.root, self.environ)

    @property
    def git(self) -> Git:
        """git for what autoroute does here: nothing that the configuration names is run."""
        return guarded_git(self.root, self.environ, self.settings)

    @property
    def staging(self) -> Git:
        """git to store the user's uncommitted files: their filters are run, as by ``git add``."""
        return staging_git(self.root, self.environ, self.settings)

    def dirty(self) -> tuple[str, ...]:
        """Paths with uncommitted changes, untracked ones included; asking does not even refresh the index."""
        entries = self.git.paths("--no-optional-locks", "status", "--porcelain", "-z", *_STATUS)
        return tuple(sorted(entry[3:] for entry in entries if not entry[3:].startswith(f"{RUN_FOLDERS}/")))

    def resolve(self, ref: str) -> str:
        """The commit that ``ref`` names; raises ``WorkspaceError`` with the nearest names."""
        if not ref.startswith("-") and self.git.succeeds("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"):
            return self.git.text("rev-parse", "--verify", f"{ref}^{{commit}}")
        known = self.git.text("for-each-ref", "--format=%(refname:short)").splitlines()
        raise WorkspaceError(f"there is no commit {ref!r} here", hint=did_you_mean(ref, known))

    def identity(self) -> dict[str, str]:
        """The name and e-mail that the user commits with; empty where they have told git none."""
        return {
            key: value
            for key in ("name", "email")
            if self.git.succeeds("config", "--get", f"user.{key}")
            and (value := self.git.text("config", "--get", f"user.{key}"))
        }

    def excludes(self) -> str:
        """What the user ignores outside ``.gitignore`` files: ``info/exclude`` and ``core.excludesFile``.

        Not for models to read: a repository's own configuration can name any file there.
        """
        files = [self.git_dir / "info/exclude"]
        if self.git.succeeds("config", "--get", "core.excludesFile"):
            files.append(Path(self.git.text("config", "--type=path", "--get", "core.excludesFile")))
        elif home := self.environ.get("XDG_CONFIG_HOME") or self.environ.get("HOME", "") + "/.config":
            files.append(Path(home) / "git/ignore")
        return "\n".join(_beginning(path) for path in files if path.is_file())

    def borrows(self) -> bool:
        """Whether it takes objects from another repository: from any, for its files may have come with it."""
        return (self.git_dir / "objects/info/alternates").exists()

    def object_folders(self) -> tuple[Path, ...]:
        """Where the objects are that a clone shares, for commands to see: none of a repository that it borrows from."""
        return () if self.borrows() else (self.git_dir / "objects",)

    def tip(self, branch: str) -> str:
        """The commit at the end of a branch, "" without one."""
        return self.git.text("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def find_auto_executed(self, branch: str) -> dict[str, str]:
        """The files that a merge of ``branch`` would bring and that run by themselves, each with when it does."""
        tip = self.tip(branch)
        if not tip or not self.head:
            return {}
        shared = self.git.run("merge-base", self.head, tip, accept=(0, 1)).decode().strip()
        return find_auto_executed(self.git, shared or self.head, tip)

    def merge(self, branch: str) -> bool:
        """Merge into the branch that is checked out, as the user's git does it, and prove that the commits arrived.

        False when they were there before. Raises ``WorkspaceError``; a merge that fails is taken back whole, and none
        is begun in the middle of something of the user's.
        """
        tip = self.tip(branch)
        if not tip:
            raise WorkspaceError(f"there is no branch {branch} here", hint="autoroute runs")
        if not self.branch:
            raise WorkspaceError("HEAD is detached, so there is no branch to merge into", hint="git switch BRANCH")
        for mark, what in _UNDER_WAY.items():
            if (self.root / self.git.text("rev-parse", "--git-path", mark)).exists():
                raise WorkspaceError(f"{what} of yours is under way here", hint="finish it first, or take it back")
        if self.git.succeeds("merge-base", "--is-ancestor", tip, "HEAD"):
            return False
        try:
            # By a name that no tag of the same name wins over.
            name = self.git.text("for-each-ref", "--format=%(refname:short)", f"refs/heads/{branch}")
            self.users.run("merge", "--no-edit", "--commit", "--no-squash", name)
        except WorkspaceError as error:
            raise self._take_back(branch, error) from None
        if not self.git.succeeds("merge-base", "--is-ancestor", tip, "HEAD"):
            raise WorkspaceError(f"the commits of {branch} are not reachable from {self.branch} after the merge")
        return True

    def _take_back(self, branch: str, error: WorkspaceError) -> WorkspaceError:
        conflicts = self.git.paths("diff", "--name-only", "--diff-filter=U", "-z")
        if self.git.succeeds("rev-parse", "--verify", "--quiet", "MERGE_HEAD"):
            self.users.run("merge", "--abort")
            if conflicts:
                return WorkspaceError(
                    f"{branch} conflicts with {self.branch} in {', '.join(conflicts)}; nothing was merged",
                    hint=f"git merge {branch}, and resolve the conflicts",
                )
        hint = "commit or stash your changes first" if "would be overwritten" in error.message else ""
        return WorkspaceError(f"{branch} cannot be merged: {error.message}", hint=hint)

    def discard(self, run: str, made: Collection[str]) -> None:
        """Delete the branch of a run, which ``made`` these commits, unless it is checked out.

        Raises ``WorkspaceError`` where it ends in a commit of somebody else's that no other ref holds.
        """
        branch = f"{RUN_BRANCHES}{run}"
        reference, tip = f"refs/heads/{branch}", self.tip(branch)
        if not tip:
            return
        if self.branch == branch or (place := self.git.text("for-each-ref", "--format=%(worktreepath)", reference)):
            where = "" if self.branch == branch else f" in {place}"
            raise WorkspaceError(f"{branch} is checked out{where}", hint="git switch another branch first")
        holding = self.git.text("for-each-ref", f"--contains={tip}", "--format=%(refname)").splitlines()
        if tip not in made and holding == [reference]:
            raise WorkspaceError(
                f"{branch} ends in commit {tip[:12]}, which the run did not make and no other branch holds",
                hint=f"keep it by git branch NAME {branch}, or git branch -D {branch}, and discard again",
            )
        self.git.run("update-ref", "--no-deref", "-d", reference, tip)


def trust_needed(error: WorkspaceError, *folders: Path) -> WorkspaceError:
    """What lets git work in a repository of another user's; a clone of it asks for its ``.git`` too."""
    if not _DUBIOUS.search(error.message):
        return error
    ways = (f"git config --global --add safe.directory {shlex.quote(str(folder))}" for folder in folders)
    return WorkspaceError(error.message, hint=" && ".join(ways))


def _explained(error: WorkspaceError, folder: Path) -> WorkspaceError:
    """Why git finds no checkout, in words that say what to do."""
    if somebody := _DUBIOUS.search(error.message):
        return trust_needed(error, Path(somebody[1]), Path(somebody[1]) / ".git")
    if "must be run in a work tree" in error.message or "cannot use bare repository" in error.message:
        return WorkspaceError(f"{folder} is a bare repository, without a checkout", hint="run in a clone of it")
    if "not a git repository" in error.message:
        return WorkspaceError(f"{folder} is not a git repository", hint="git init, or go to your repository")
    return error


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_EXCLUDES_READ).decode("utf-8", "surrogateescape")


def _refuse_others(git: Git, root: Path, own: Path, common: Path) -> None:
    """Raise ``WorkspaceError`` where ``.git`` leads to a history that does not know of this checkout.

    Whoever made the checkout wrote its ``.git``, and may have named any folder or repository of the user's there, which
    models would see. What it leads to has to point back: their own worktrees and submodules do.
    """
    if own != common:
        named = own / "gitdir"
        theirs = own.parent == common / "worktrees" and named.is_file()
        back = theirs and (own / os.fsdecode(named.read_bytes()).rstrip("\n")).resolve().parent == root
        hint = f"if it is yours: git -C {shlex.quote(str(common))} worktree repair {shlex.quote(str(root))}"
    else:
        back = own == root / ".git" or (
            git.succeeds("config", "--get", "core.worktree")
            and (own / git.text("config", "--get", "core.worktree")).resolve() == root
        )
        hint = "work in a clone of it, or name this checkout in its core.worktree if it has no other"
    if not back:
        raise WorkspaceError(f"{root / '.git'} leads to {common}, which does not know of this checkout", hint=hint)
    if (common / "objects").resolve() != common / "objects":
        raise WorkspaceError(
            f"{common / 'objects'} is a link to another folder", hint="work in a clone of the repository"
        )
