"""The user's repository: read, given one branch by fetch, and changed by ``merge`` and ``delete_branch`` on request."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from autoroute.errors import WorkspaceError
from autoroute.patterns import pattern
from autoroute.text import did_you_mean
from autoroute.workspace.auto_executed import find_auto_executed
from autoroute.workspace.bounded_files import read_start
from autoroute.workspace.conversions import find_untouched
from autoroute.workspace.files import Files
from autoroute.workspace.git import (
    DEFAULT_IDENTITY,
    Git,
    check_version,
    find_driver_overrides,
    guarded_git,
    staging_git,
    users_git,
)
from autoroute.workspace.path_policy import PathPolicy

RUN_BRANCHES = "autoroute/"
"""How the branch of every run begins."""
RUN_FOLDERS = ".autoroute"
"""The folder of a checkout in which autoroute keeps its runs."""
_MAX_EXCLUDES_BYTES = 1024 * 1024
_STATUS_OPTIONS = ("--no-renames", "--ignore-submodules=dirty")
"""git looks for changes in a submodule by a git inside it, which would run what its configuration names."""
_OPERATIONS = MappingProxyType(
    {
        "MERGE_HEAD": "a merge",
        "CHERRY_PICK_HEAD": "a cherry-pick",
        "REVERT_HEAD": "a revert",
        "rebase-merge": "a rebase",
        "rebase-apply": "a rebase",
    }
)
"""Files in the git folder that mark an operation in progress, with its name."""
_IDENTITY = pattern(r"(.+) <(.*)> \d+ [+-]\d+\n")
"""What ``git var`` prints: name, e-mail, seconds since 1970 and the time zone."""
_NOT_COMMITTED = "Not committing merge; use 'git commit' to complete the merge."
"""git's advice after a merge commit failed, which is wrong once the merge is undone."""
_HOOKS_PATH = ("config", "--type=path", "--get", "core.hooksPath")
_COMMIT_HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg")
_PARTIAL = r"^(remote\..*\.(promisor|partialclonefilter)|extensions\.partialclone)$"
"""The settings that make a repository a partial clone."""
_UNKNOWN_EXTENSION = pattern(r"unknown repository extensions? found:\s*(\w+)|unknown .*extensions\.(\w+)")
_DUBIOUS_OWNERSHIP = pattern(r"dubious ownership in repository at '(.+)'")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the user, seen from one of its checkouts.

    ``root`` is the checkout, ``git_dir`` the folder of objects and refs (shared by all worktrees). ``head`` is the
    commit that is checked out ("" before the first), ``branch`` its branch ("" when HEAD is detached). ``settings``
    disable the filters and hooks that its configuration names.
    """

    root: Path
    git_dir: Path
    head: str
    branch: str
    environ: Mapping[str, str]
    settings: Sequence[str] = ()

    @classmethod
    def discover(cls, folder: Path, environ: Mapping[str, str]) -> Repository:
        """Return the repository around ``folder``.

        Raises ``WorkspaceError`` for none, and for one that autoroute cannot work in or must not trust.
        """
        git = guarded_git(folder, environ)
        check_version(git)
        try:
            found, top = git.text("rev-parse", "--absolute-git-dir", "--show-toplevel").split("\n", 1)
        except WorkspaceError as error:
            raise _explain(error, folder) from None
        if "\n" in top:
            raise WorkspaceError(
                f"the path of this repository contains a line break: {folder}", hint="rename that folder"
            )
        root, resolved = Path(top), folder.resolve()
        git = guarded_git(root, environ)
        # ``core.worktree`` can name any folder of the user, whose files would then be cloned and shown to models.
        found_from_root = git.run("rev-parse", "--absolute-git-dir", accept=(0, 128)) == os.fsencode(f"{found}\n")
        if not found_from_root or root not in (resolved, *resolved.parents):
            raise WorkspaceError(
                f"refusing to work in {folder}: {found} names a work tree elsewhere, {root}",
                hint=f"check its core.worktree: git --git-dir={shlex.quote(found)} config core.worktree",
            )
        git_dir = (root / git.text("rev-parse", "--git-common-dir")).resolve()
        _refuse_unrelated_git_dir(git, root, Path(found).resolve(), git_dir)
        # Before any object is read: git would fetch a missing one with a command that the repository configures.
        partial = git.run("config", "-z", "--get-regexp", _PARTIAL, accept=(0, 1))
        if partial:
            raise WorkspaceError(
                f"refusing to work in {root}: it is a partial clone, and its missing objects are at its remote",
                hint=f"fetch them: {_completing_commands(root, os.fsdecode(partial))}",
            )
        settings = find_driver_overrides(git)
        head = (
            git.text("rev-parse", "HEAD") if git.succeeds("rev-parse", "--verify", "--quiet", "HEAD^{commit}") else ""
        )
        branch = git.text("symbolic-ref", "--short", "HEAD") if git.succeeds("symbolic-ref", "--quiet", "HEAD") else ""
        return cls(root, git_dir, head, branch, environ, settings)

    @property
    def users_git(self) -> Git:
        """git as the user runs it here, for operations that they asked for by name."""
        return users_git(self.root, self.environ)

    @property
    def git(self) -> Git:
        """git for operations of autoroute; it runs no program that a configuration names."""
        return guarded_git(self.root, self.environ, self.settings)

    @property
    def staging_git(self) -> Git:
        """git that stores the user's uncommitted files; it runs their filters, as ``git add`` would."""
        return staging_git(self.root, self.environ, self.settings)

    @property
    def upload_pack(self) -> str:
        """The option of clone and fetch that names the program which serves this repository's objects.

        git hands no setting of ``GIT_CONFIG_COUNT`` on to that program. It would refuse a repository of another user
        that only a variable trusts.
        """
        found = self.git.run("config", "--show-scope", "-z", "--get-all", "safe.directory", accept=(0, 1))
        entries = os.fsdecode(found).split("\0")
        trusted = [value for scope, value in zip(entries[::2], entries[1::2], strict=False) if scope == "command"]
        options = "".join(f" -c {shlex.quote(f'safe.directory={folder}')}" for folder in trusted)
        return f"--upload-pack=git{options} upload-pack" if trusted else "--upload-pack=git-upload-pack"

    def find_dirty_paths(self) -> tuple[str, ...]:
        """Return the paths with uncommitted changes, untracked files included, without refreshing the index.

        A file that differs from the commit only by what its checkout converted is not one of them.
        """
        found = self.git.paths("--no-optional-locks", "status", "--porcelain", "-z", *_STATUS_OPTIONS)
        entries = [(entry[:2], entry[3:]) for entry in found if not entry[3:].startswith(f"{RUN_FOLDERS}/")]
        modified = [path for kind, path in entries if kind == " M"]
        untouched = find_untouched(self.git, self.head, modified, Files(PathPolicy(self.root))) if self.head else set()
        return tuple(sorted({path for _, path in entries} - untouched))

    def resolve_commit(self, ref: str) -> str:
        """Return the commit that ``ref`` names; raise ``WorkspaceError``, with similar refs, if there is none."""
        # A ref that begins with a dash would be taken for an option of git, such as ``--output=FILE``.
        if not ref.startswith("-") and self.git.succeeds("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"):
            return self.git.text("rev-parse", "--verify", f"{ref}^{{commit}}")
        known = self.git.text("for-each-ref", "--format=%(refname:short)").splitlines()
        raise WorkspaceError(f"commit not found: {ref!r}", hint=did_you_mean(ref, known, otherwise="git branch --all"))

    def read_identity(self) -> dict[str, str]:
        """Return the variables that give a commit the author and committer that git would give it here.

        What git does not know is taken from ``DEFAULT_IDENTITY``.
        """
        return {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in zip(("NAME", "EMAIL"), self._read_person(role), strict=True)
        }

    def _read_person(self, role: str) -> tuple[str, str]:
        """Return the name and e-mail of the author or committer."""
        # git reads them from variables, from settings of three kinds, and from the machine. Only git knows the order.
        done = self.git.run("var", f"GIT_{role}_IDENT", accept=(0, 128))
        if found := _IDENTITY.fullmatch(os.fsdecode(done)):
            return found[1], found[2]
        known = (
            self.environ.get(f"GIT_{role}_{key.upper()}")
            or self._read_setting(f"{role.lower()}.{key}")
            or self._read_setting(f"user.{key}")
            or (self.environ.get("EMAIL") if key == "email" else "")
            or DEFAULT_IDENTITY[key]
            for key in ("name", "email")
        )
        name, email = known
        return name, email

    def _read_setting(self, name: str) -> str:
        return os.fsdecode(self.git.run("config", "--get", name, accept=(0, 1))).removesuffix("\n")

    def read_excludes(self) -> str:
        """Return the user's ignore rules outside ``.gitignore`` files: ``info/exclude`` and ``core.excludesFile``.

        Models must not see them: the configuration of a repository can name any file there, such as one with keys.
        """
        files = [self.git_dir / "info/exclude"]
        if self.git.succeeds("config", "--get", "core.excludesFile"):
            files.append(Path(self.git.text("config", "--type=path", "--get", "core.excludesFile")))
        elif home := self.environ.get("XDG_CONFIG_HOME") or self.environ.get("HOME", "") + "/.config":
            files.append(Path(home) / "git/ignore")
        return "\n".join(start for path in files if (start := read_start(path, _MAX_EXCLUDES_BYTES)))

    def has_alternates(self) -> bool:
        """Return whether objects of another repository are used.

        Whoever made this repository may have named one of the user's private repositories there.
        """
        return (self.git_dir / "objects/info/alternates").exists()

    @property
    def shared_objects(self) -> Path | None:
        """The folder of objects that a clone shares, which commands must see; None where a clone has its own."""
        return None if self.has_alternates() else self.git_dir / "objects"

    def find_commit_hooks(self) -> tuple[str, ...]:
        """Return the names of the user's hooks that look at a commit before it is made. They are not run."""
        # Not by ``git``, whose hardening sets another folder.
        named = os.fsdecode(self.users_git.run(*_HOOKS_PATH, accept=(0, 1))).removesuffix("\n")
        folder = self.root / named if named else self.git_dir / "hooks"
        return tuple(name for name in _COMMIT_HOOKS if os.access(folder / name, os.X_OK) and (folder / name).is_file())

    def branch_tip(self, branch: str) -> str:
        """Return the last commit of a branch, "" if there is none."""
        return self.git.text("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def find_auto_executed(self, branch: str) -> dict[str, str]:
        """Map each automatically executed file that merging ``branch`` changes to the occasion on which it runs."""
        tip = self.branch_tip(branch)
        if not tip or not self.head:
            return {}
        shared = self.git.run("merge-base", self.head, tip, accept=(0, 1)).decode().strip()
        return find_auto_executed(self.git, shared or self.head, tip)

    def merge(self, branch: str) -> bool:
        """Merge ``branch`` into the branch that is checked out, with the user's git; return False if nothing was new.

        Raises ``WorkspaceError``, and does not merge, while another operation is in progress. A merge that fails is
        aborted. After a merge, this checks that the commits have arrived.
        """
        tip = self.branch_tip(branch)
        if not tip:
            raise WorkspaceError(f"branch not found: {branch}", hint="autoroute runs")
        if not self.branch:
            raise WorkspaceError(f"cannot merge {branch}: HEAD is detached, not on a branch", hint="git switch BRANCH")
        for marker, operation in _OPERATIONS.items():
            if (self.root / self.git.text("rev-parse", "--git-path", marker)).exists():
                raise WorkspaceError(
                    f"cannot merge {branch}: {operation} is in progress here", hint="finish or abort it: git status"
                )
        if self.git.succeeds("merge-base", "--is-ancestor", tip, "HEAD"):
            return False
        try:
            # The short name is unambiguous: a tag of the same name would win over the bare name of the branch.
            name = self.git.text("for-each-ref", "--format=%(refname:short)", f"refs/heads/{branch}")
            self.users_git.run("merge", "--no-edit", "--commit", "--no-squash", name)
        except WorkspaceError as error:
            raise self._abort_merge(branch, error) from None
        if not self.git.succeeds("merge-base", "--is-ancestor", tip, "HEAD"):
            raise WorkspaceError(
                f"git merge succeeded, but the commits of {branch} are not reachable from {self.branch}",
                hint=f"git log {self.branch}..{branch}",
            )
        return True

    def _abort_merge(self, branch: str, error: WorkspaceError) -> WorkspaceError:
        """Abort a merge that failed; return the error to raise."""
        conflicts = self.git.paths("diff", "--name-only", "--diff-filter=U", "-z")
        if self.git.succeeds("rev-parse", "--verify", "--quiet", "MERGE_HEAD"):
            self.users_git.run("merge", "--abort")
            if conflicts:
                return WorkspaceError(
                    f"{branch} conflicts with {self.branch} in {', '.join(conflicts)}; nothing was merged",
                    hint=f"git merge {branch}, then resolve the conflicts",
                )
            words = error.message.replace(_NOT_COMMITTED, "").strip()
            return WorkspaceError(
                f"git did not commit the merge of {branch}, so it was undone and nothing was merged: {words}",
                hint=f"a hook of yours may have refused it; to finish the merge by hand: git merge {branch}",
            )
        hint = "commit or stash your changes first" if "would be overwritten" in error.message else ""
        return WorkspaceError(f"cannot merge {branch}: {error.message}", hint=hint)

    def delete_branch(self, run: str, commits: Collection[str]) -> None:
        """Delete the branch of a run, which made ``commits``.

        Raises ``WorkspaceError`` when it is checked out, and when that would lose a commit of someone else: the branch
        ends in one that the run did not make and no other ref contains.
        """
        branch = f"{RUN_BRANCHES}{run}"
        reference, tip = f"refs/heads/{branch}", self.branch_tip(branch)
        if not tip:
            return
        if self.branch == branch or (place := self.git.text("for-each-ref", "--format=%(worktreepath)", reference)):
            where = "" if self.branch == branch else f" in {place}"
            raise WorkspaceError(
                f"cannot delete {branch}: it is checked out{where}", hint="git switch BRANCH, then discard again"
            )
        containing = self.git.text("for-each-ref", f"--contains={tip}", "--format=%(refname)").splitlines()
        if tip not in commits and containing == [reference]:
            raise WorkspaceError(
                f"refusing to delete {branch}: the run did not make its last commit {tip[:12]}, "
                "and no other branch contains it",
                hint=f"to keep the commit: git branch NAME {branch}; to delete it: git branch -D {branch}",
            )
        self.git.run("update-ref", "--no-deref", "-d", reference, tip)


def add_trust_hint(error: WorkspaceError, *folders: Path) -> WorkspaceError:
    """Return the error, with a command as hint if git refuses a repository because another user owns it."""
    if not _DUBIOUS_OWNERSHIP.search(error.message):
        return error
    commands = (f"git config --global --add safe.directory {shlex.quote(str(folder))}" for folder in folders)
    return WorkspaceError(error.message, hint=" && ".join(commands))


def _explain(error: WorkspaceError, folder: Path) -> WorkspaceError:
    """Return an error that says why git finds no checkout, and what to do."""
    if dubious := _DUBIOUS_OWNERSHIP.search(error.message):
        # A clone of the repository needs its ``.git`` to be trusted too.
        return add_trust_hint(error, Path(dubious[1]), Path(dubious[1]) / ".git")
    if "must be run in a work tree" in error.message or "cannot use bare repository" in error.message:
        return WorkspaceError(f"{folder} is a bare repository, without a checkout", hint="git clone it, and run there")
    if extension := _UNKNOWN_EXTENSION.search(error.message):
        name = extension[1] or extension[2]
        return WorkspaceError(
            f"this git is too old for {folder}: the repository uses the extension {name}",
            hint="install git 2.45 or newer" if name.lower() == "refstorage" else "install a newer git",
        )
    if "not a git repository" in error.message:
        return WorkspaceError(f"{folder} is not a git repository", hint="git init, or change to your repository")
    return error


def _completing_commands(root: Path, settings: str) -> str:
    """Return the commands that make a partial clone a full one; ``settings`` are those that make it partial."""
    entries = [entry.partition("\n") for entry in settings.split("\0") if entry]
    remotes = [key.split(".", 1)[1].rpartition(".")[0] for key, _, _ in entries if key.startswith("remote.")]
    remotes += [value for key, _, value in entries if key.startswith("extensions.")]
    keys = [key for key, _, _ in entries]
    # Without the filter, everything is fetched; the other settings may only go when nothing is missing any more.
    keys.sort(key=lambda key: not key.endswith(".partialclonefilter"))
    unset = [f"config --unset-all {shlex.quote(key)}" for key in dict.fromkeys(keys)]
    filters = sum(key.endswith(".partialclonefilter") for key in dict.fromkeys(keys))
    fetch = [f"fetch --refetch {shlex.quote(remote)}" for remote in dict.fromkeys(remotes)]
    git = f"git -C {shlex.quote(str(root))}"
    return " && ".join(f"{git} {words}" for words in (*unset[:filters], *fetch, *unset[filters:]))


def _refuse_unrelated_git_dir(git: Git, root: Path, own: Path, common: Path) -> None:
    """Raise ``WorkspaceError`` if ``.git`` points to a git folder that does not belong to this checkout.

    The ``.git`` of an unpacked archive may name any folder or private repository of the user, and models would see its
    content. So the git folder has to point back to the checkout, as those of real worktrees and submodules do.
    """
    if own != common:
        gitdir = own / "gitdir"
        is_worktree = own.parent == common / "worktrees" and gitdir.is_file()
        points_back = is_worktree and (own / read_start(gitdir).rstrip("\n")).resolve().parent == root
        hint = f"if it is yours: git -C {shlex.quote(str(common))} worktree repair {shlex.quote(str(root))}"
    else:
        points_back = own == root / ".git" or (
            git.succeeds("config", "--get", "core.worktree")
            and (own / git.text("config", "--get", "core.worktree")).resolve() == root
        )
        hint = "work in a clone of it, or set its core.worktree to this checkout if it has no other"
    if not points_back:
        raise WorkspaceError(
            f"refusing to work in {root}: its .git points to {common}, which does not belong to it", hint=hint
        )
    # The folder of objects is shown to commands: a link would show another one.
    if (common / "objects").resolve() != common / "objects":
        raise WorkspaceError(
            f"refusing to work in {root}: {common / 'objects'} is a link to another folder",
            hint="work in a clone of the repository",
        )
