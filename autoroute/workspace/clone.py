"""The private clone: ``tree/`` is the models' world, ``history.git`` is ours.

A model may do anything in ``tree/``, its ``.git`` included. So no git of ours ever runs on that ``.git``: right after
the clone is made, and before a model runs, a copy of it becomes ``history.git``, and every snapshot, commit and diff is
made there, with ``tree/`` as a mere work tree. What a model plants (hooks, filters, configuration) is never read. The
objects are shared with the user's repository, so both are small.

A clone is made beside its place and takes it by one rename: what is there is whole, whenever autoroute was killed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from autoroute.atomic import replace_file
from autoroute.errors import WorkspaceError
from autoroute.redaction import Redact
from autoroute.text import join_first, truncate_middle
from autoroute.workspace import Changes, Publication, SecretsFound, WorkspaceLost
from autoroute.workspace.auto_executed import find_auto_executed
from autoroute.workspace.files import Files
from autoroute.workspace.git import DEFAULT_IDENTITY, Git, guarded_git, own_git
from autoroute.workspace.path_policy import FileRefused, PathPolicy
from autoroute.workspace.processes import MARK_VARIABLE
from autoroute.workspace.publishing import publish, without_url_rewrites
from autoroute.workspace.repository import RUN_BRANCHES, RUN_FOLDERS, Repository, add_trust_hint
from autoroute.workspace.rmtree import make_folders_writable, remove_tree, walk_bottom_up
from autoroute.workspace.secret_scan import ContainsKey, SecretFinding, never, scan_commits, scan_tree

_UNFINISHED = ".autoroute-" + 32 * "[0-9a-f]"
"""Files that the file tools were writing when autoroute was killed."""

DROPPINGS = (
    *("__pycache__/", "*.py[co]", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", "node_modules/", ".DS_Store"),
    _UNFINISHED,
)
"""What test runs and cuts leave behind, ignored beyond the repository's own rules: neither committed nor compared."""

_GUIDANCE = ("AGENTS.md", "CLAUDE.md")
_GUIDANCE_BYTES = 32 * 1024
_DIGEST_PATHS = 20_000
_BASE = "refs/autoroute/base"
"""Where ``history.git`` keeps the commit that the work starts from."""
_ONE_COMMIT = ("--quiet", "--no-tags", "--no-write-fetch-head", "--upload-pack=git-upload-pack")
_ADD = ("add", "--all", "--ignore-errors", ".")
_GITLINK = b"160000"
_SPECIAL = re.compile(r"[\\*?\[\]!# ]")
_ESCAPED = r"\\\g<0>"
_GLOB, _QUOTE = re.compile(r"[\\*?\[]"), re.compile(r'[\\"]')
_MISCODED = re.compile(r"(?:failed to encode|BOM is (?:required|prohibited) in) '(.+)' (?:from|if encoded as) ")
_MISCODED_FILES = 10
"""As many are stored as they are one by one, before all of them are."""
_NOT_STORED = "failed to insert into database"
_PLAIN_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--submodule=short")


class PrivateClone:
    """The workspace of one run, in ``folder``; see ``Workspace`` for its promises. ``branch`` is what it delivers to.

    ``contains_key`` says whether a text contains a key of the user's: such a commit is not delivered, nor one with
    what looks like a secret, unless a person accepts them (``accept_secrets``). ``owner`` is the user that commands run
    as where that is not us, and whose the files then are.

    Constructing it touches nothing; ``open`` makes it or finds it again.
    """

    def __init__(
        self,
        repository: Repository,
        folder: Path,
        run: str,
        *,
        base: str,
        include_dirty: bool = False,
        contains_key: ContainsKey = never,
        accept_secrets: bool = False,
        owner: int | None = None,
    ) -> None:
        self._repository = repository
        self.folder = folder
        self._base = base
        self._include_dirty = include_dirty
        self._contains_key = contains_key
        self._accept_secrets = accept_secrets
        self._owner = owner
        self._left_out: set[str] = set()
        self._guidance = "", ""  # of which base it was read, and what it says
        self._submodules = False
        # A git that outlives a killed autoroute is found as its commands are: it must not write where we go on.
        # By its place: two repositories may have runs of the same id, and what is ended must be this one's alone.
        self.mark = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
        self._mark = {MARK_VARIABLE: f"{self.mark}:git"}
        self.branch = f"{RUN_BRANCHES}{run}"
        self._git = self._history(folder)

    @classmethod
    def plan(
        cls,
        repository: Repository,
        folder: Path,
        run: str,
        *,
        base: str | None = None,
        include_dirty: bool = False,
        contains_key: ContainsKey = never,
        owner: int | None = None,
    ) -> PrivateClone:
        """The clone that would be made from ``base`` (default: HEAD), the user's uncommitted changes on request.

        Raises ``WorkspaceError`` for a base that there is not.
        """
        if base and include_dirty:
            raise WorkspaceError("uncommitted changes belong to HEAD and not to another base", hint="leave out --base")
        in_the_way = RUN_BRANCHES.removesuffix("/")
        if repository.git.succeeds("show-ref", "--verify", "--quiet", f"refs/heads/{in_the_way}"):
            raise WorkspaceError(
                f"there is a branch {in_the_way}, beside which git can keep no branch {RUN_BRANCHES}RUN",
                hint=f"git branch --move {in_the_way} NAME",
            )
        commit = repository.resolve_commit(base) if base else repository.head
        return cls(
            repository, folder, run, base=commit, include_dirty=include_dirty, contains_key=contains_key, owner=owner
        )

    def open(self, tip: str = "", *, needed: bool = False) -> None:
        """Make the clone, or find it as it was left and put its branch back to ``tip``, the last commit on record."""
        if (self.folder / "history.git").is_dir():
            self._refuse_damage()
            self._sweep()
            self._base = self._commit_at(_BASE)
            if self._base and not self._git.succeeds("cat-file", "-e", f"{self._base}^{{commit}}"):
                raise self._gone("the commit that this run started from is gone from the repository")
            self._rewind(tip or self._base)
        elif tip or needed or not self._base_is_theirs():
            raise self._gone("the workspace of this run is gone")
        else:
            self._make()
            self._base = self._commit_at(_BASE)
        self._submodules = bool(_submodules(self._git))
        self._hand_over()

    @property
    def root(self) -> Path:
        """The folder that models see as the project."""
        return self.folder / "tree"

    @property
    def base(self) -> str:
        """Commit that the work starts from; "" in an empty repository. Uncommitted changes are in it after ``open``."""
        return self._base

    def snapshot(self) -> str:
        """The tree of what is there now."""
        complaints = self._add_all()
        tip = self._tip() or self._empty_tree()
        staged = self._git.run("diff-index", "--cached", "--raw", "--no-abbrev", "-z", tip).split(b"\0")
        nested = [
            os.fsdecode(path)
            for change, path in zip(staged[::2], staged[1::2], strict=False)
            if change.split(b" ")[1] == _GITLINK and change.split(b" ")[0] != b":" + _GITLINK
        ]
        for path in nested:
            self._git.run("update-index", "--force-remove", "--", path)
        unreadable = self._git.paths("ls-files", "--others", "--exclude-standard", "-z") if complaints else []
        self._left_out.update(nested, unreadable)
        return self._git.text("write-tree")

    def restore(self, tree: str) -> Changes:
        """Put the files back as they were at ``tree``; returns what had to be undone (ignored files stay)."""
        now = self.snapshot()
        if now == tree:
            return Changes()
        undone = self._compare(tree, now)
        for _ in range(2):  # what rules of a model's had git ignore shows once they are gone
            make_folders_writable(self.root)
            self._git.run("read-tree", "--reset", "-u", tree)
            self._hand_over()
            now = self.snapshot()
            if now == tree:
                return undone
        left = self._compare(tree, now)
        if stuck := sorted({*left.added, *left.deleted} & {*undone.added, *undone.deleted}):
            raise WorkspaceError(
                f"files of the workspace could not be put back: {', '.join(stuck[:5])}", hint=f"look at {self.root}"
            )
        return undone

    def exclude_new_files(self) -> None:
        """What is new since the last snapshot is no part of the work."""
        new = self._git.paths("ls-files", "--others", "--exclude-standard", "--directory", "-z")
        with (self.folder / "history.git/info/exclude").open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"/{_SPECIAL.sub(_ESCAPED, path)}\n" for path in new if "\n" not in path)

    def compare(self, tree: str, since: str = "") -> Changes:
        """What differs in ``tree`` from the tree or commit ``since`` (default: the last commit)."""
        return self._compare(since or self._tip() or self._empty_tree(), tree)

    def commit(self, tree: str, subject: str, body: str, trailers: Mapping[str, str]) -> str:
        """Commit ``tree`` on the run's branch; "" when it does not differ from the last commit."""
        tip = self._tip()
        if tree == self.head_tree():
            return ""
        lines = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in trailers.items())
        message = "\n\n".join(part for part in (" ".join(subject.split()), body.strip(), lines) if part) + "\n"
        return _write_commit(self._git, self._repository, tree, tip, self.branch, message)

    def head_tree(self) -> str:
        """The tree of the last commit; the empty tree before the first."""
        tip = self._tip()
        return self._git.text("rev-parse", f"{tip}^{{tree}}") if tip else self._empty_tree()

    def diff(self, limit: int, redact: Redact = str) -> str:
        """The unified diff from ``base`` to the last commit, cut in the middle to ``limit`` characters."""
        tip = self._tip()
        return self._difference(self._base or self._empty_tree(), tip, limit, redact) if tip else ""

    def find_auto_executed(self) -> Mapping[str, str]:
        """The files that differ from ``base`` in the last commit and run by themselves, each with when it does."""
        tip = self._tip()
        return find_auto_executed(self._git, self._base or self._empty_tree(), tip) if tip else {}

    def find_secrets(self, tree: str) -> Sequence[str]:
        """What looks like a secret in ``tree`` and is new since the last commit: places and kinds, never a value."""
        if self._accept_secrets:
            return ()
        return [str(leak) for leak in scan_tree(self._git, self.head_tree(), tree, self._contains_key)]

    def pending_diff(self, limit: int, redact: Redact = str) -> str:
        """The unified diff from the last commit to what is there now, cut in the middle like ``diff``."""
        return self._difference(self.head_tree(), self.snapshot(), limit, redact)

    def list_files(self, limit: int) -> Sequence[str]:
        """Tracked paths, at most ``limit`` of them, sorted."""
        return self._git.paths("ls-files", "-z")[:limit]

    def pack_files(self, limit: int) -> str:
        """Tracked text files in full, near the root and small ones first, at most ``limit`` characters."""
        files = Files(PathPolicy(self.root))
        sizes = {path: size for path in self.list_files(_DIGEST_PATHS) if (size := files.size(path)) is not None}
        paths = sorted(sizes, key=lambda path: (path.count("/") > 1, sizes[path], path))
        parts: list[str] = []
        for path in paths:
            try:
                data = files.read(path, limit * 4)
            except (FileRefused, OSError):
                continue
            text = data.decode("utf-8", "replace")
            piece = f"--- {path}\n{text.rstrip()}\n"
            if b"\0" in data or len(piece) > limit:
                continue
            parts.append(piece)
            limit -= len(piece)
        left = len(paths) - len(parts)
        return "".join(parts) + (f"--- and {left} files that are left out here\n" if left else "")

    def read_guidance(self, redact: Redact = str) -> str:
        """``AGENTS.md`` or ``CLAUDE.md`` at the root of ``base``: not what a model may have made of it since."""
        base, text = self._guidance
        if base != self._base:
            text = self._read_guidance()
            self._guidance = self._base, text
        data = redact(text).encode()
        cut = "\n[cut here: the file is longer]" if len(data) > _GUIDANCE_BYTES else ""
        return data[:_GUIDANCE_BYTES].decode("utf-8", "replace") + cut

    def _read_guidance(self) -> str:
        for name in _GUIDANCE:
            if self._git.succeeds("cat-file", "-e", f"{self._base}:{name}"):
                return self._git.run("cat-file", "-p", f"{self._base}:{name}").decode("utf-8", "replace")
        return ""

    def publish(self, patch: Path, tip: str | None = None) -> Publication:
        """Bring the commits into the user's repository by one fetch, and write the whole diff to ``patch``."""
        if tip is not None:
            self._rewind(tip or self._base)
        tip, left_out = self._tip(), tuple(sorted(self._left_out))
        if tip == self._base:
            return Publication(self.branch, "", 0, left_out)
        there = self._repository.branch_tip(self.branch)
        if tip != there:
            self._refuse_leaks(tip, there)
            self._bring()
        change = self._git.run("diff", "--binary", *_PLAIN_DIFF, self._base or self._empty_tree(), tip)
        try:
            replace_file(patch, change)
        except OSError as error:
            words = f"{patch} cannot be written: {error.strerror}"
            raise WorkspaceError(words, hint="free some space there") from None
        commits = self._git.text("rev-list", "--count", f"{self._base}..{tip}" if self._base else tip)
        return Publication(self.branch, tip, int(commits), left_out, self.find_auto_executed())

    def remove(self) -> None:
        """Delete the clone, which the user's repository does not need; raises ``WorkspaceError`` where some stays."""
        _delete(self._unfinished)
        _delete(self.folder)

    @property
    def _reference(self) -> str:
        return f"refs/heads/{self.branch}"

    @property
    def _unfinished(self) -> Path:
        """Where the clone is made, until it is whole."""
        return self.folder.with_name(f"{self.folder.name}.new")

    def _history(self, folder: Path) -> Git:
        git = own_git(folder / "history.git", folder / "tree", self._repository.environ)
        return git.with_variables(**self._mark)

    def _make(self) -> None:
        folder = self._unfinished
        _delete(folder)
        try:
            folder.mkdir(mode=0o700, parents=True)
            self._fill(folder)
            folder.rename(self.folder)
        except OSError as error:
            remove_tree(folder)
            raise WorkspaceError(f"{self.folder} cannot be made: {error.strerror or error}") from None
        except BaseException:
            remove_tree(folder)
            raise

    def _fill(self, folder: Path) -> None:
        repository, commit, tree = self._repository, self._base, folder / "tree"
        # Of an empty repository git does not see how it names its objects.
        naming = {"GIT_DEFAULT_HASH": repository.git.text("rev-parse", "--show-object-format")}
        source = guarded_git(folder, repository.environ).with_variables(**self._mark, **naming)
        # What another repository lends is not for models to see, so nothing is shared with one that borrows.
        sharing = "--no-local" if repository.has_alternates() else "--shared"
        options = ("--quiet", sharing, "--origin=origin", "--no-tags", "--no-checkout", "--template=")
        origin = str(repository.git_dir)
        source = without_url_rewrites(source, origin)
        try:
            source.run("clone", *options, origin, str(tree))
        except WorkspaceError as error:
            raise add_trust_hint(error, repository.root, repository.git_dir) from None
        git = own_git(tree / ".git", tree, repository.environ).with_variables(**self._mark)
        if commit and not git.succeeds("cat-file", "-e", f"{commit}^{{commit}}"):
            replace(source, git_dir=tree / ".git").run(
                "-c", "protocol.version=2", "fetch", *_ONE_COMMIT, origin, commit
            )
        if git.succeeds("remote", "get-url", "origin"):
            git.run("remote", "remove", "origin")
        exclude = tree / ".git/info/exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text("\n".join((*DROPPINGS, "")), "utf-8")
        git.run("symbolic-ref", "HEAD", self._reference)
        if commit:
            git.run("update-ref", self._reference, commit)
        if self._include_dirty:
            commit = self._commit_dirty(git, tree)
        if commit:
            git.run("read-tree", "--reset", "-u", commit)
        shutil.copytree(tree / ".git", folder / "history.git", symlinks=True)
        # The user's own rules go where no model reads.
        lines = "\n".join((repository.read_excludes(), *DROPPINGS, ""))
        (folder / "history.git/info/exclude").write_text(lines, "utf-8", "surrogateescape")
        if commit:
            self._history(folder).run("update-ref", _BASE, commit)

    def _commit_dirty(self, git: Git, tree: Path) -> str:
        """The user's uncommitted changes as a commit in the clone.

        Their own ignore rules and filters decide what belongs to it, on a copy of their index and writing to the
        clone's objects, so that their index, their objects and their files stay as they are.
        """
        repository, head = self._repository, self._base
        index = tree / ".git/index-of-the-user"
        theirs = Path(repository.git.text("rev-parse", "--path-format=absolute", "--git-path", "index"))
        if theirs.is_file():
            shutil.copyfile(theirs, index)
        user = repository.staging_git.with_variables(
            GIT_INDEX_FILE=str(index),
            GIT_OBJECT_DIRECTORY=str(tree / ".git/objects"),
            GIT_ALTERNATE_OBJECT_DIRECTORIES=str(repository.git_dir / "objects"),
            **self._mark,
        )
        _spare_submodules(user, repository.root)
        user.run("add", "--update", ".")
        new = user.paths("ls-files", "--others", "--exclude-standard", "-z")
        # A repository in it that is no submodule would come in as a mere commit id, which nobody could check out.
        self._left_out.update(path for path in new if path.endswith("/"))
        files = "".join(f"{path}\0" for path in new if not path.endswith("/"))
        user.run("update-index", "--add", "--replace", "-z", "--stdin", data=os.fsencode(files))
        # What runs keep is none of them, whatever the repository says of it.
        user.run("reset", "--quiet", "--", RUN_FOLDERS)
        dirty = user.text("write-tree")
        index.unlink()
        if head and dirty == git.text("rev-parse", f"{head}^{{tree}}"):
            return head
        message = "Uncommitted changes at the start of the run\n"
        return _write_commit(git, repository, dirty, head, self.branch, message)

    def _hand_over(self) -> None:
        """Give what we have written to the user that commands run as."""
        if self._owner is None:
            return
        for folder, name, _ in walk_bottom_up(self.root):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid != self._owner:
                os.chown(name, self._owner, self._owner, dir_fd=folder, follow_symlinks=False)

    def _sweep(self) -> None:
        """Take away what a kill left behind; nobody else works here, for the caller holds the run's lock."""
        for lock in (self.folder / "history.git").rglob("*.lock"):
            with suppress(OSError):
                lock.unlink()
        for path in self._git.paths("ls-files", "--others", "--ignored", f"--exclude={_UNFINISHED}", "-z"):
            if fnmatchcase(path.rpartition("/")[2], _UNFINISHED):
                with suppress(OSError):
                    (self.root / path).unlink()

    def _refuse_damage(self) -> None:
        if not self.root.is_dir() or not self._git.succeeds("rev-parse", "--git-dir"):
            raise self._gone(f"the workspace {self.folder} is damaged")

    def _rewind(self, tip: str) -> None:
        """Put the branch back to ``tip`` ("" is before the first commit) without touching a file."""
        if tip == self._tip():
            return
        if not tip:
            self._git.run("update-ref", "-d", self._reference)
        elif self._git.succeeds("cat-file", "-e", f"{tip}^{{commit}}"):
            self._git.run("update-ref", self._reference, tip)
        else:
            raise self._gone(f"the workspace of this run does not have its commit {tip[:12]}")

    def _base_is_theirs(self) -> bool:
        """Whether the user's repository has the base; one of uncommitted changes is in the clone alone at first."""
        base = f"{self._base}^{{commit}}"
        return not self._base or self._repository.git.succeeds("cat-file", "-e", base)

    def _gone(self, message: str) -> WorkspaceLost:
        start = f" --base {self.branch}" if self._repository.branch_tip(self.branch) else ""
        return WorkspaceLost(message, hint=f"autoroute run TASK{start}")

    def _refuse_leaks(self, tip: str, there: str) -> None:
        """Raise ``WorkspaceError`` where a commit that is not ``there`` yet adds what looks like a secret."""
        if self._accept_secrets:
            return
        base = self._base if self._base_is_theirs() else f"{self._base}^@"  # their uncommitted files come in as well
        known = [base, there if there and self._git.succeeds("cat-file", "-e", there) else ""]
        if leaks := scan_commits(self._git, tip, known, self._contains_key):
            yours = any(leak.commit == self._base for leak in leaks)
            shown = join_first([self._place(leak) for leak in leaks], 5, "; ")
            discard = f"autoroute discard {self.branch.removeprefix(RUN_BRANCHES)}"
            raise SecretsFound(
                f"the commits hold what looks like a secret, so they were not brought in: {shown}",
                hint=f"take it out or have git ignore it, {discard}, and run again"
                if yours
                else f"revoke it, {discard}",
            )

    def _place(self, leak: SecretFinding) -> str:
        return f"{leak} (in your own uncommitted files)" if leak.commit == self._base else str(leak)

    def _bring(self) -> None:
        digest = hashlib.sha256(os.fsencode(self._repository.git_dir)).hexdigest()[:16]
        lock = self.folder.parent.with_name(f"import-{digest}.lock")
        settings = f"{self._base}:.gitmodules"
        known = self._base and self._git.succeeds("cat-file", "-e", settings)
        theirs = self._git.text("rev-parse", settings) if known else ""
        publish(self._repository, self.folder / "history.git", self.branch, lock, self.root, theirs)

    def _add_all(self) -> str:
        """Stage everything that is there; what git says of what could not be, and stays out."""
        if self._submodules:
            _spare_submodules(self._git, self.root)
        complaints = self._add()
        if _NOT_STORED in complaints:
            # Not a file that git cannot read, but a disk that does not take what it has read.
            raise WorkspaceError(f"git add: {complaints[-2_000:]}", hint="check the disk")
        return complaints

    def _add(self) -> str:
        """``git add``, for which a file that does not have the encoding that a model declared is stored as it is."""
        for _ in range(_MISCODED_FILES):
            try:
                return self._git.collect_errors(*_ADD)
            except WorkspaceError as error:
                miscoded = _MISCODED.search(error.message)
                if not miscoded:
                    break
                pattern = _GLOB.sub(_ESCAPED, f"/{miscoded[1]}")
                self._store_as_is('"' + _QUOTE.sub(_ESCAPED, pattern) + '"')
        self._store_as_is("*")
        return self._git.collect_errors(*_ADD)

    def _store_as_is(self, pattern: str) -> None:
        with (self.folder / "history.git/info/attributes").open("a", encoding="utf-8") as file:
            file.write(f"{pattern} -working-tree-encoding\n")

    def _tip(self) -> str:
        """The last commit, "" before the first."""
        return self._commit_at(self._reference)

    def _commit_at(self, reference: str) -> str:
        """The commit that a ref of ours names, "" without it."""
        return self._git.text("for-each-ref", "--format=%(objectname)", reference)

    def _empty_tree(self) -> str:
        return self._git.text("hash-object", "-t", "tree", os.devnull)

    def _difference(self, before: str, after: str, limit: int, redact: Redact) -> str:
        text = redact(self._git.run("diff", *_PLAIN_DIFF, before, after).decode("utf-8", "replace"))
        return truncate_middle(text, limit, "characters of the diff")

    def _compare(self, before: str, after: str) -> Changes:
        fields = self._git.paths("diff-tree", "-r", "--name-status", "--no-renames", "-z", before, after)
        paths: dict[str, list[str]] = {"A": [], "M": [], "D": []}
        for status, path in zip(fields[::2], fields[1::2], strict=True):
            paths["M" if status == "T" else status].append(path)
        return Changes(*(tuple(sorted(paths[status])) for status in "AMD"))


def _submodules(git: Git) -> list[bytes]:
    """The paths of the submodules in the index; one that is in conflict is none."""
    entries = git.run("ls-files", "--stage", "-z").split(b"\0")
    return [entry.partition(b"\t")[2] for entry in entries if entry[:6] == _GITLINK and b" 0\t" in entry]


def _spare_submodules(git: Git, root: Path) -> None:
    """Have git look into no submodule; one whose folder is gone is taken out of the index.

    git would look for changes by a git inside it, which runs what is configured there.
    """
    there: list[bytes] = []
    gone: list[bytes] = []
    for path in _submodules(git):
        (there if (root / os.fsdecode(path)).is_dir() else gone).append(path + b"\0")
    for option, paths in (("--assume-unchanged", there), ("--force-remove", gone)):
        if paths:
            git.run("update-index", option, "-z", "--stdin", data=b"".join(paths))


def _delete(folder: Path) -> None:
    if stayed := remove_tree(folder):
        raise WorkspaceError(f"{folder} cannot be deleted: {stayed}", hint="delete it yourself")


def _write_commit(git: Git, repository: Repository, tree: str, parent: str, branch: str, message: str) -> str:
    """Commit a tree by plumbing: no hook, no editor, no index involved."""
    who = {**DEFAULT_IDENTITY, **repository.read_identity()}
    author = git.with_variables(
        **{f"GIT_{role}_{key.upper()}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    )
    parents = ("-p", parent) if parent else ()
    text = message.replace("\0", "").encode("utf-8", "replace")
    commit = author.run("commit-tree", tree, *parents, data=text).decode().strip()
    git.run("update-ref", f"refs/heads/{branch}", commit, parent)
    return commit
