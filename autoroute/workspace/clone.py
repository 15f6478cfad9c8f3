"""The private clone of a run: ``tree/`` belongs to the models, ``history.git`` to autoroute.

A model may do anything in ``tree/``, even to its ``.git``. So autoroute's git never runs on that ``.git``. A copy of
it, made before any model runs, becomes ``history.git``; every snapshot, commit and diff is made there, with ``tree/``
as the work tree. Hooks, filters and configuration that a model plants are never read. Both share the objects of the
user's repository, so they are small.

A clone is created beside its final folder and renamed into place: a kill at any moment leaves a complete one or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

from autoroute.atomic import replace_file
from autoroute.errors import WorkspaceError
from autoroute.invisible import to_plain
from autoroute.parsing import Unreadable, read_object
from autoroute.patterns import pattern
from autoroute.redaction import Redact
from autoroute.text import join_first, truncate_middle
from autoroute.workspace import Changes, Differences, Publication, SecretsFound, WorkspaceLost
from autoroute.workspace.auto_executed import find_auto_executed
from autoroute.workspace.available import find_available
from autoroute.workspace.bare_repositories import find_staged_parts
from autoroute.workspace.carried import describe_environments
from autoroute.workspace.conversions import Kept, Staged, attribute_pattern, find_kept, read_staged
from autoroute.workspace.copying import copy_folder
from autoroute.workspace.files import Files
from autoroute.workspace.git import Git, guarded_git, join_paths, own_git
from autoroute.workspace.guidance import read_guidance
from autoroute.workspace.layers import Layers
from autoroute.workspace.left_out import LeftOut
from autoroute.workspace.lfs import NewObjects, filter_settings, lfs_store
from autoroute.workspace.overwriting import overwritten
from autoroute.workspace.path_policy import FileRefused, PathPolicy
from autoroute.workspace.pristine import CACHE_RULES, check_out_anew, list_ignored
from autoroute.workspace.processes import MARK_VARIABLE
from autoroute.workspace.publishing import publish, without_url_rewrites
from autoroute.workspace.removal import cannot_delete, delete
from autoroute.workspace.repository import RUN_BRANCHES, RUN_FOLDERS, Repository, add_trust_hint
from autoroute.workspace.rmtree import make_folders_writable, remove_folder, remove_tree, sweep, walk_bottom_up
from autoroute.workspace.sandbox.confinement import OBJECTS_PLACE
from autoroute.workspace.secret_scan import ContainsKey, SecretFinding, contains_no_key, scan_commits, scan_tree
from autoroute.workspace.special_files import remove_special_files
from autoroute.workspace.submodules import GITLINK, Submodules, check_out, find_submodules
from autoroute.workspace.word_search import find_holders

_HALF_WRITTEN = ".autoroute-" + 32 * "[0-9a-f]"
"""The temporary files of ``Files.write``, which remain when autoroute is killed while it writes one."""

ALWAYS_IGNORED = (*CACHE_RULES, "node_modules/", _HALF_WRITTEN)
"""Ignore rules beyond the repository's own, for what test runs and kills leave behind."""

_MAX_GUIDANCE_BYTES = 32 * 1024
_MAX_PACKED_PATHS = 20_000
_OWNER_FILE = "owner.json"
"""The file of a workspace that says which run of which repository works in it."""
_MAX_NAMED = 5
"""How many files or secrets an error message names."""
_MAX_ERROR_CHARACTERS = 2_000
_BASE_REF = "refs/autoroute/base"
"""The ref of ``history.git`` for the commit that the work starts from."""
_REMOTE = "autoroute-source"
"""The remote of a clone while it is created. The user's settings may give an ``origin`` of all repositories a URL."""
_FETCH_OPTIONS = ("--quiet", "--no-tags", "--no-write-fetch-head")
_ADD = ("add", "--all", "--ignore-errors", ".")
_MAX_SPECIAL = 1_000
"""How many special files are looked up in the index: a command line has a limit."""
_PATTERN_CHARACTERS = pattern(r"[\\*?\[\]!# ]")
_ESCAPED = r"\\\g<0>"
_WRONG_ENCODING = pattern(r"(?:failed to encode|BOM is (?:required|prohibited) in) '(.+)' (?:from|if encoded as) ")
"""git's message for a file that does not have the ``working-tree-encoding`` of its ``.gitattributes``."""
_MAX_WRONG_ENCODINGS = 10
"""How many wrongly encoded files are exempted one by one, before all files are."""
_NOT_STORED = "failed to insert into database"
_DIFF_OPTIONS = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--submodule=short")


def read_owner(folder: Path) -> tuple[Path | None, str]:
    """Return the repository and the run of a workspace; None and "" for one that does not say it."""
    try:
        found = read_object((folder / _OWNER_FILE).read_text(encoding="ascii"))
        return Path(found["repository"]), str(found["run"])
    except (OSError, UnicodeDecodeError, Unreadable, KeyError, TypeError):
        return None, ""


def plan_base(repository: Repository, base: str = "", *, include_dirty: bool = False) -> str:
    """Return the commit that a new clone begins from: the one that ``base`` names, else HEAD; create nothing.

    Raises ``WorkspaceError`` for an unknown base, for one that cannot be combined with uncommitted changes, and where
    a branch of the user leaves no room for that of a run.
    """
    if base and include_dirty:
        raise WorkspaceError(
            "--include-dirty cannot be combined with --base: uncommitted changes belong to HEAD",
            hint="leave out one of the two",
        )
    conflicting = RUN_BRANCHES.removesuffix("/")
    # git stores branches as files, and a file ``autoroute`` leaves no room for a folder ``autoroute/``.
    if repository.git.succeeds("show-ref", "--verify", "--quiet", f"refs/heads/{conflicting}"):
        raise WorkspaceError(
            f"the branch {conflicting} is in the way: git cannot create {RUN_BRANCHES}RUN beside it",
            hint=f"git branch --move {conflicting} NAME",
        )
    return repository.resolve_commit(base) if base else repository.head


@dataclass(frozen=True, slots=True)
class _Settled:
    """The last snapshot, if it is what is in the index: as long as git leaves that file alone, nothing has changed."""

    tip: str
    tree: str
    state: tuple[int, ...]

    @classmethod
    def of(cls, tip: str, tree: str, index: Path) -> _Settled:
        return cls(tip, tree, _identify(index))

    def fits(self, tip: str, index: Path) -> bool:
        return self.tip == tip and self.state == _identify(index)


def _identify(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class PrivateClone:
    """The workspace of one run, in ``folder``; see ``Workspace``. It begins from ``base`` and publishes to ``branch``.

    A commit with a key of the user (``contains_key``), or with anything that looks like a secret, is not published
    unless a person accepts it (``accept_secrets``). ``owner`` is the user id that commands run as, and that the files
    get, if it is not ours. ``place`` is the path at which commands see the tree, None where that is its own.
    ``carried`` are folders of the user that commands find in the tree or in their home, see ``Layers``. ``home`` is a
    home folder of commands that outlives the run, None for one of the run's own.

    The constructor touches no file; ``open`` creates or reopens the clone.
    """

    def __init__(
        self,
        repository: Repository,
        folder: Path,
        run: str,
        *,
        base: str,
        include_dirty: bool = False,
        contains_key: ContainsKey = contains_no_key,
        accept_secrets: bool = False,
        owner: int | None = None,
        place: Path | None = None,
        carried: Mapping[str, Path] = MappingProxyType({}),
        home: Path | None = None,
    ) -> None:
        self._repository = repository
        self.place = place
        self._carried = carried
        self.home = home or folder / "home"
        self.layers = Layers(
            folder / "layers", folder / "tree", self.home, place is not None, owner, keeps_home=home is not None
        )
        self.folder = folder
        self._base = base
        self._include_dirty = include_dirty
        self._contains_key = contains_key
        self._accept_secrets = accept_secrets
        self._owner = owner
        self._excluded: set[str] = set()
        self._guidance = "", ""  # the base, and what was read from it
        self._has_submodules = False
        self._settled: _Settled | None = None
        self._known_tip: str | None = None
        # Our own git carries a mark like commands do: one that outlives a killed autoroute must not write into the
        # clone of the resumed run. The mark is made from the folder, because run ids of two repositories may be equal.
        self.mark = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
        self._mark = {MARK_VARIABLE: f"{self.mark}:git"}
        self.branch = f"{RUN_BRANCHES}{run}"
        store = lfs_store(repository)
        self._lfs_settings = filter_settings(folder / "lfs", store)
        self._git = self._history_git(folder)
        self._lfs = NewObjects(self._git, folder / "lfs", store)
        history = folder / "history.git"
        self._left_out = LeftOut(self._git, self.root, self.head_tree, ALWAYS_IGNORED, self._excluded, history)
        self._submodules = Submodules(self.root, history, self._own_git)

    def open(self, tip: str = "", *, needed: bool = False) -> None:
        """Create the clone, or reopen it as it was left and reset its branch to ``tip``, the last recorded commit."""
        if (self.folder / "history.git").is_dir():
            self._refuse_damage()
            remove_special_files(self.root)
            self._delete_leftovers()
            self._base = self._read_ref(_BASE_REF)
            if self._base and not self._git.succeeds("cat-file", "-e", f"{self._base}^{{commit}}"):
                raise self._lost("the commit that this run started from is gone from the repository")
            self._reset_branch(tip or self._base)
        elif tip or needed or not self._is_base_in_repository():
            raise self._lost("the workspace of this run is gone")
        else:
            self._create()
            self._base = self._read_ref(_BASE_REF)
        self._has_submodules = bool(_find_submodules(self._git))
        self.home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.home, self.temporary):
            # bwrap enters it as root without capabilities if the tree is inside; the folder around it is private.
            folder.mkdir(mode=0o755, exist_ok=True)
        self._submodules.load()
        self._name_shared_objects()
        self.layers.open(self._carried)
        self._give_to_owner()

    @property
    def root(self) -> Path:
        """The folder that models see as the project."""
        return self.folder / "tree"

    @property
    def environments(self) -> str:
        """The environments that commands have, in words."""
        return describe_environments(find_available(self.layers))

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of the set-up."""
        return self.folder / "tmp"

    @property
    def base(self) -> str:
        """The commit that the work starts from; "" in an empty repository."""
        return self._base

    def snapshot(self) -> str:
        """Return the tree of the current files."""
        removed, special = remove_special_files(self.root)
        if self._submodules.restore():
            self._give_to_owner()
        errors = self._add_all()
        tip, settled = self._tip() or self._empty_tree(), self._settled
        if settled and not (removed or special or errors) and settled.fits(tip, self._index):
            return settled.tree
        # git keeps the entry of a file that a command replaced with a pipe, as if it were still there.
        replaced = self._git.paths("ls-files", "-z", "--", *special[:_MAX_SPECIAL]) if special else []
        if replaced:
            self._git.run("update-index", "--force-remove", "-z", "--stdin", data=join_paths(replaced))
        self._excluded.update(removed, replaced)
        staged = read_staged(self._git, tip)
        kept = find_kept(self._git, tip, staged, Files(PathPolicy(self.root)), self.folder)
        if kept:
            self._keep(kept, staged)
        nested = [one.path for one in staged if one.new_mode == GITLINK != one.old_mode]
        # A repository inside the workspace would be committed as a mere commit id, which no one else could check out.
        for path in nested:
            self._git.run("update-index", "--force-remove", "--", path)
        parts = find_staged_parts(self._git, tip, staged)
        if parts:
            self._git.run("update-index", "--force-remove", "-z", "--stdin", data=join_paths(parts))
        unreadable = self._git.paths("ls-files", "--others", "--exclude-standard", "-z") if errors else []
        self._excluded.update(nested, (f"{folder}/" for folder in parts.values()), unreadable)
        tree = self._git.text("write-tree")
        is_plain = not (kept.as_is or kept.objects or nested or parts or unreadable or replaced)
        self._settled = _Settled.of(tip, tree, self._index) if is_plain else None
        return tree

    def restore(self, tree: str) -> Changes:
        """Reset the files to ``tree``; return the changes that this undid. Ignored files are kept."""
        with self._submodules.unrecorded():
            return self._restore(tree)

    def _restore(self, tree: str) -> Changes:
        current = self.snapshot()
        if current == tree:
            return Changes()
        self._settled = None
        undone = self._compare(tree, current)
        # Twice, because files that new ignore rules hide from the first pass appear once the rules are undone.
        for _ in range(2):
            make_folders_writable(self.root)
            self._git.run("read-tree", "--reset", "-u", tree)
            self._give_to_owner()
            current = self.snapshot()
            if current == tree:
                return undone
        left = self._compare(tree, current)
        if stuck := sorted({*left.added, *left.deleted} & {*undone.added, *undone.deleted}):
            raise WorkspaceError(
                f"cannot restore files of the workspace: {join_first(stuck, _MAX_NAMED)}", hint=f"inspect {self.root}"
            )
        return undone

    @property
    def left_out(self) -> LeftOut:
        """The files that commits leave out."""
        return self._left_out

    @property
    def submodules(self) -> Mapping[str, str]:
        """The commit of each submodule in the tree, by its path."""
        return self._submodules.commits

    def take_submodule_changes(self) -> Changes:
        """Return what commands changed in submodules since the last call, which ``snapshot`` has undone."""
        return self._submodules.take_changes()

    def exclude_new_files(self) -> None:
        """Exclude files that are new since the last snapshot from all later snapshots and commits."""
        remove_special_files(self.root)
        new = self._git.paths("ls-files", "--others", "--exclude-standard", "--directory", "-z")
        with (self.folder / "history.git/info/exclude").open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"/{_PATTERN_CHARACTERS.sub(_ESCAPED, path)}\n" for path in new if "\n" not in path)

    def keep_setup(self, *, again: bool = False) -> None:
        """Keep all that the set-up made, apart from what commands write later."""
        if again or not self.layers.is_frozen:
            remove_special_files(self.root)
            made = list_ignored(self._git, self.layers.paths)
            self.layers.freeze([*made, *self._submodules.list_ignored(self.layers.paths)])
            self._give_to_owner()

    def make_pristine(self) -> Differences:
        """Make the workspace a checkout of the last commit, with what the set-up made and nothing else."""
        self._settled = None
        remove_special_files(self.root)
        commit, base = self._tip() or self._empty_tree(), self._base or self._empty_tree()
        differences = check_out_anew(self._git, self.root, base, commit, self.layers.paths)
        inside = self._submodules.make_pristine(self.layers.paths)
        differences = replace(differences, ignored=(*differences.ignored, *inside))
        self.layers.renew()
        self._replace_repository()
        self._give_to_owner()
        return differences

    def compare(self, tree: str, since: str = "") -> Changes:
        """Return the changes from the tree or commit ``since`` (default: the last commit) to ``tree``."""
        return self._compare(since or self._tip() or self._empty_tree(), tree)

    def commit(self, tree: str, subject: str, body: str, trailers: Mapping[str, str]) -> str:
        """Commit ``tree`` on the branch of the run; return "" if it equals the tree of the last commit.

        Subject and body come from a model. ``git log`` must neither run their escapes nor hide a part of them.
        """
        tip = self._tip()
        if tree == self.head_tree():
            return ""
        lines = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in trailers.items())
        parts = (to_plain(part).strip() for part in (" ".join(subject.split()), body, lines))
        message = "\n\n".join(filter(None, parts)) + "\n"
        self._known_tip = _write_commit(self._git, self._repository, tree, tip, self.branch, message)
        return self._known_tip

    def head_tree(self) -> str:
        """Return the tree of the last commit, the empty tree before the first."""
        tip = self._tip()
        return self._git.text("rev-parse", f"{tip}^{{tree}}") if tip else self._empty_tree()

    def changed_files(self) -> Sequence[str]:
        """Return the paths that were added or modified between ``base`` and the last commit, sorted."""
        tip = self._tip()
        if not tip:
            return ()
        changes = self._compare(self._base or self._empty_tree(), tip)
        return sorted((*changes.added, *changes.modified))

    def overwritten(self, paths: Sequence[str], content: bytes) -> AbstractContextManager[Sequence[str]]:
        """Overwrite regular files while the context lasts, see ``overwriting.overwritten``."""
        return overwritten(Files(PathPolicy(self.root, place=self.place)), paths, content)

    def diff(self, limit: int, redact: Redact = str) -> str:
        """Return the unified diff from ``base`` to the last commit, cut in the middle to ``limit`` characters."""
        tip = self._tip()
        return self._diff(self._base or self._empty_tree(), tip, limit, redact) if tip else ""

    def find_auto_executed(self) -> Mapping[str, str]:
        """Map each automatically executed file that changed since ``base`` to the occasion on which it runs."""
        tip = self._tip()
        return find_auto_executed(self._git, self._base or self._empty_tree(), tip) if tip else {}

    def find_secrets(self, tree: str) -> Sequence[str]:
        """Return place and kind of each apparent secret that ``tree`` adds to the last commit, never its value."""
        if self._accept_secrets:
            return ()
        head, contains_key = self.head_tree(), self._contains_key
        findings = scan_tree(self._git, head, tree, contains_key)
        return [str(finding) for finding in (*findings, *self._lfs.scan_tree(head, tree, contains_key))]

    def pending_diff(self, limit: int, redact: Redact = str) -> str:
        """Return the unified diff from the last commit to the current files, redacted and cut like ``diff``."""
        return self._diff(self.head_tree(), self.snapshot(), limit, redact)

    def list_base(self) -> Mapping[str, str]:
        """Map the path of each file of ``base`` to its object."""
        lines = self._git.paths("ls-tree", "-r", "-z", self._base) if self._base else []
        return {path: entry.split()[2] for entry, _, path in (line.partition("\t") for line in lines)}

    def list_files(self, limit: int) -> Sequence[str]:
        """Return at most ``limit`` tracked paths, sorted."""
        return self._git.paths("ls-files", "-z")[:limit]

    def find_holders(self, words: Sequence[str]) -> Callable[[str], bool]:
        """Return a function that tells of a path whether its file may contain one of these ASCII words."""
        remove_special_files(self.root)
        return find_holders(replace(self._git, folder=self.root), words)

    def pack_files(self, limit: int) -> str:
        """Return tracked text files in full, at most ``limit`` characters; files near the root and small ones first."""
        # Through ``Files``: a tracked link may lead to a file of the user's outside.
        files = Files(PathPolicy(self.root, place=self.place))
        sizes = {path: size for path in self.list_files(_MAX_PACKED_PATHS) if (size := files.size(path)) is not None}
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
        omitted = len(paths) - len(parts)
        return "".join(parts) + (f"--- {omitted} more files are left out here\n" if omitted else "")

    def read_guidance(self, redact: Redact = str) -> str:
        """Return ``AGENTS.md``, else ``CLAUDE.md``, from the root of ``base``; later edits by a model do not count."""
        base, text = self._guidance
        if base != self._base:
            text = read_guidance(self._git, self._base)
            self._guidance = self._base, text
        data = redact(text).encode()
        note = "\n[cut here: the file is longer]" if len(data) > _MAX_GUIDANCE_BYTES else ""
        return data[:_MAX_GUIDANCE_BYTES].decode("utf-8", "replace") + note

    def publish(self, patch: Path, tip: str | None = None) -> Publication:
        """Fetch the commits into the user's repository, and write the whole diff to ``patch``."""
        if tip is not None:
            self._reset_branch(tip or self._base)
        tip, excluded = self._tip(), tuple(sorted(self._excluded))
        if tip == self._base:
            return Publication(self.branch, "", 0, excluded)
        published = self._repository.branch_tip(self.branch)
        if tip != published:
            self._refuse_secrets(tip, published)
            missing = self._lfs.deliver(tip, self._base)
            excluded += tuple(f"{path} (Git LFS content not found)" for path in missing)
            self._publish()
        change = self._git.run("diff", "--binary", *_DIFF_OPTIONS, self._base or self._empty_tree(), tip)
        try:
            replace_file(patch, change)
        except OSError as error:
            raise WorkspaceError(f"cannot write {patch}: {error.strerror}", hint="free some space there") from None
        commits = self._git.text("rev-list", "--count", f"{self._base}..{tip}" if self._base else tip)
        return Publication(self.branch, tip, int(commits), excluded, self.find_auto_executed())

    def remove(self) -> None:
        """Delete the clone, a large one in the background; raise ``WorkspaceError`` if part of it cannot be deleted.

        Published commits do not need it.
        """
        for folder in (self._unfinished, self.folder):
            if reason := remove_folder(folder):
                raise cannot_delete(folder, reason)
        with suppress(OSError):
            self.folder.parent.rmdir()  # if it was the last

    @property
    def _index(self) -> Path:
        return self.folder / "history.git/index"

    @property
    def _reference(self) -> str:
        return f"refs/heads/{self.branch}"

    @property
    def _unfinished(self) -> Path:
        """The folder in which the clone is created, until it is complete."""
        return self.folder.with_name(f"{self.folder.name}.new")

    def _history_git(self, folder: Path) -> Git:
        return self._own_git(folder / "history.git", folder / "tree")

    def _own_git(self, git_dir: Path, work_tree: Path) -> Git:
        git = own_git(git_dir, work_tree, self._repository.environ).with_variables(**self._mark)
        return replace(git, settings=(*git.settings, *self._lfs_settings))

    def _create(self) -> None:
        folder = self._unfinished
        delete(folder)
        sweep(folder.parent)
        try:
            folder.mkdir(mode=0o700, parents=True)
            self._fill(folder)
            folder.rename(self.folder)
        except OSError as error:
            remove_tree(folder)
            raise WorkspaceError(f"cannot create the workspace {self.folder}: {error.strerror or error}") from None
        except BaseException:
            remove_tree(folder)
            raise

    def _fill(self, folder: Path) -> None:
        repository, commit, tree = self._repository, self._base, folder / "tree"
        # From an empty repository ``git clone`` does not take over the object format (sha1 or sha256).
        object_format = {"GIT_DEFAULT_HASH": repository.git.text("rev-parse", "--show-object-format")}
        source = guarded_git(folder, repository.environ).with_variables(**self._mark, **object_format)
        # With --shared, models would also see all objects of an alternate, which may be a private repository.
        sharing = "--no-local" if repository.has_alternates() else "--shared"
        options = ("--quiet", sharing, f"--origin={_REMOTE}", "--no-tags", "--no-checkout", "--template=")
        origin = str(repository.git_dir)
        source = without_url_rewrites(source, origin)
        try:
            source.run("clone", *options, repository.upload_pack, origin, str(tree))
        except WorkspaceError as error:
            raise add_trust_hint(error, repository.root, repository.git_dir) from None
        git = self._own_git(tree / ".git", tree)
        if commit and not git.succeeds("cat-file", "-e", f"{commit}^{{commit}}"):
            # Before protocol 2, upload-pack refuses to send a commit that no ref names.
            replace(source, git_dir=tree / ".git").run(
                "-c", "protocol.version=2", "fetch", *_FETCH_OPTIONS, repository.upload_pack, origin, commit
            )
        if git.succeeds("remote", "get-url", _REMOTE):
            git.run("remote", "remove", _REMOTE)
        exclude = tree / ".git/info/exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text("\n".join((*ALWAYS_IGNORED, "")), "utf-8")
        git.run("symbolic-ref", "HEAD", self._reference)
        if commit:
            git.run("update-ref", self._reference, commit)
        if self._include_dirty:
            commit = self._commit_dirty(git, tree)
        if commit:
            git.run("read-tree", "--reset", "-u", commit)
            self._check_out_submodules(tree, commit, object_format)
        owner = json.dumps({"repository": os.fspath(repository.root), "run": self.branch.removeprefix(RUN_BRANCHES)})
        (folder / _OWNER_FILE).write_text(owner, encoding="ascii")
        copy_folder(tree / ".git", folder / "history.git")
        # Not in ``tree``: the file that the repository's configuration names may be any file of the user.
        lines = "\n".join((repository.read_excludes(), *ALWAYS_IGNORED, ""))
        (folder / "history.git/info/exclude").write_text(lines, "utf-8", "surrogateescape")
        if commit:
            self._history_git(folder).run("update-ref", _BASE_REF, commit)

    def _check_out_submodules(self, tree: Path, commit: str, variables: Mapping[str, str]) -> None:
        def open_git(git_dir: Path, work_tree: Path) -> Git:
            return self._own_git(git_dir, work_tree).with_variables(**variables)

        submodules = find_submodules(self._repository, commit, open_git(tree / ".git", tree))
        check_out(submodules, tree, open_git, "\n".join((*ALWAYS_IGNORED, "")))

    def _commit_dirty(self, git: Git, tree: Path) -> str:
        """Commit the user's uncommitted changes in the clone; return the commit.

        Their ignore rules and filters apply. This works on a copy of their index and writes to the objects of the
        clone, so their index, objects and files do not change. (Working on the user's own index is not safe: after 62
        of 89 kills of a ``git commit -am``, a leftover ``index.lock`` made their next ``git add`` fail.)
        """
        repository, head = self._repository, self._base
        index = tree / ".git/index-of-the-user"
        users_index = Path(repository.git.text("rev-parse", "--path-format=absolute", "--git-path", "index"))
        if users_index.is_file():
            shutil.copyfile(users_index, index)
        user = repository.staging_git.with_variables(
            GIT_INDEX_FILE=str(index),
            GIT_OBJECT_DIRECTORY=str(tree / ".git/objects"),
            GIT_ALTERNATE_OBJECT_DIRECTORIES=str(repository.git_dir / "objects"),
            **self._mark,
        )
        _skip_submodules(user, repository.root)
        user.run("add", "--update", ".")
        if head:
            staged, files_of_user = read_staged(user, head), Files(PathPolicy(repository.root))
            kept = find_kept(user, head, staged, files_of_user, tree.parent, by_attributes=False)
            _set_objects(user, staged, kept.objects)
        new = user.paths("ls-files", "--others", "--exclude-standard", "-z")
        # A path with a slash at its end is a repository. It would be committed as a mere commit id, see ``snapshot``.
        self._excluded.update(path for path in new if path.endswith("/"))
        files = join_paths(path for path in new if not path.endswith("/"))
        user.run("update-index", "--add", "--replace", "-z", "--stdin", data=files)
        # Records of runs are not part of the work, even if the repository tracks them.
        user.run("reset", "--quiet", "--", RUN_FOLDERS)
        dirty = user.text("write-tree")
        index.unlink()
        if head and dirty == git.text("rev-parse", f"{head}^{{tree}}"):
            return head
        message = "Uncommitted changes at the start of the run\n"
        return _write_commit(git, repository, dirty, head, self.branch, message)

    def _give_to_owner(self) -> None:
        """Give the files that we wrote to the user that commands run as."""
        if self._owner is None:
            return
        for own in (self.home, self.temporary):
            if own.stat().st_uid != self._owner:
                os.chown(own, self._owner, self._owner)
        for folder, name, _ in walk_bottom_up(self.root):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid != self._owner:
                os.chown(name, self._owner, self._owner, dir_fd=folder, follow_symlinks=False)

    def _replace_repository(self) -> None:
        """Replace the ``.git`` that commands see by a copy of ours, which has the commits so far and nothing else."""
        fresh, seen, aside = self.folder / "seen.git", self.root / ".git", self.folder / "replaced.git"
        for folder in (fresh, aside):
            delete(folder)
        copy_folder(self.folder / "history.git", fresh)
        (fresh / "info/exclude").write_text("\n".join((*ALWAYS_IGNORED, "")), "utf-8")
        if os.path.lexists(seen):
            seen.rename(aside)
        fresh.rename(seen)
        self._name_shared_objects()
        delete(aside)

    def _name_shared_objects(self) -> None:
        """Tell the git of commands where it finds the objects of the user's repository, which the tree's own shares.

        At their own path commands see the objects of the tree if the tree is shown there. A model may have replaced
        any part of the tree's ``.git``, so no link in it is followed; one without the folder is left as it is.
        """
        shared = self._repository.shared_objects
        if shared is None:
            return
        path = ".git/objects/info/alternates"
        files = Files(PathPolicy(self.root, protected=frozenset()))
        with suppress(FileRefused, OSError):
            if files.exists(path):
                files.write(path, os.fsencode(f"{OBJECTS_PLACE if self.place else shared}\n"))

    def _delete_leftovers(self) -> None:
        """Delete locks and half-written files of a killed autoroute; the caller holds the lock of the run."""
        for lock in (self.folder / "history.git").rglob("*.lock"):
            with suppress(OSError):
                lock.unlink()
        for path in self._git.paths("ls-files", "--others", "--ignored", f"--exclude={_HALF_WRITTEN}", "-z"):
            if fnmatchcase(path.rpartition("/")[2], _HALF_WRITTEN):
                with suppress(OSError):
                    (self.root / path).unlink()

    def _refuse_damage(self) -> None:
        if not self.root.is_dir() or not self._git.succeeds("rev-parse", "--git-dir"):
            raise self._lost(f"the workspace {self.folder} is damaged")

    def _reset_branch(self, tip: str) -> None:
        """Reset the branch to ``tip`` ("" for before the first commit) without touching a file."""
        self._known_tip = self._read_ref(self._reference)
        if tip == self._known_tip:
            return
        if not tip:
            self._git.run("update-ref", "-d", self._reference)
        elif self._git.succeeds("cat-file", "-e", f"{tip}^{{commit}}"):
            self._git.run("update-ref", self._reference, tip)
        else:
            raise self._lost(f"the workspace of this run does not have its commit {tip[:12]}")
        self._known_tip = tip

    def _is_base_in_repository(self) -> bool:
        """Return whether the repository has the base; at first, only the clone has one of uncommitted changes."""
        base = f"{self._base}^{{commit}}"
        return not self._base or self._repository.git.succeeds("cat-file", "-e", base)

    def _lost(self, message: str) -> WorkspaceLost:
        start = f" --base {self.branch}" if self._repository.branch_tip(self.branch) else ""
        return WorkspaceLost(message, hint=f"autoroute run TASK{start}")

    def _refuse_secrets(self, tip: str, published: str) -> None:
        """Raise ``SecretsFound`` if a commit beyond ``published`` adds what looks like a secret."""
        if self._accept_secrets:
            return
        # A base of uncommitted changes would be published too, so it is scanned unless the repository has it already.
        base = self._base if self._is_base_in_repository() else f"{self._base}^@"
        known = [base, published if published and self._git.succeeds("cat-file", "-e", published) else ""]
        findings = scan_commits(self._git, tip, known, self._contains_key)
        if findings := [*findings, *self._lfs.scan_commits(tip, self._base, self._contains_key)]:
            in_users_files = any(finding.commit == self._base for finding in findings)
            shown = join_first([self._describe(finding) for finding in findings], _MAX_NAMED, "; ")
            discard = f"autoroute discard {self.branch.removeprefix(RUN_BRANCHES)}"
            raise SecretsFound(
                f"refusing to publish the commits: they contain what looks like a secret: {shown}",
                hint=f"remove it or have git ignore it, then {discard} and run again"
                if in_users_files
                else f"revoke it, then {discard}",
            )

    def _describe(self, finding: SecretFinding) -> str:
        return f"{finding} (in your own uncommitted files)" if finding.commit == self._base else str(finding)

    def _publish(self) -> None:
        # A ``.gitmodules`` that the user had before may fail git's checks; it is theirs, so it is trusted.
        gitmodules = f"{self._base}:.gitmodules"
        has_gitmodules = self._base and self._git.succeeds("cat-file", "-e", gitmodules)
        trusted = self._git.text("rev-parse", gitmodules) if has_gitmodules else ""
        publish(self._repository, self.folder / "history.git", self.branch, self.root, trusted)

    def _add_all(self) -> str:
        """Stage all files; return git's errors about those that it could not read."""
        if self._has_submodules:
            _skip_submodules(self._git, self.root)
        errors = self._add()
        if _NOT_STORED in errors:
            # Here the disk fails, not the file: leaving the file out would lose it.
            raise WorkspaceError(f"git add: {errors[-_MAX_ERROR_CHARACTERS:]}", hint="check the disk")
        return errors

    def _add(self) -> str:
        """Run ``git add``; store a file as it is if it lacks the encoding that a model declared for it."""
        for _ in range(_MAX_WRONG_ENCODINGS):
            try:
                return self._git.collect_errors(*_ADD)
            except WorkspaceError as error:
                file = _WRONG_ENCODING.search(error.message)
                if not file:
                    break
                self._store_as_is(attribute_pattern(file[1]) or "*", "-working-tree-encoding")
        self._store_as_is("*", "-working-tree-encoding")
        return self._git.collect_errors(*_ADD)

    def _keep(self, kept: Kept, staged: Sequence[Staged]) -> None:
        """Store files that no one changed as they were, and edited ones without the conversions of git."""
        for path in kept.as_is:
            self._store_as_is(attribute_pattern(path), "-text", "-ident", "-working-tree-encoding", "-filter")
        if kept.as_is:
            # Without this, git would not look again at files whose times have not changed.
            _set_entries(self._git, [(one.old_mode, one.old, one.path) for one in staged if one.path in kept.as_is])
            self._add()
        _set_objects(self._git, staged, kept.objects)

    def _store_as_is(self, pattern: str, *attributes: str) -> None:
        path = self.folder / "history.git/info/attributes"
        with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{pattern} {' '.join(attributes)}\n")

    def _tip(self) -> str:
        """Return the last commit, "" before the first. No one else writes to this history, so it is read once."""
        if self._known_tip is None:
            self._known_tip = self._read_ref(self._reference)
        return self._known_tip

    def _read_ref(self, reference: str) -> str:
        """Return the commit that a ref of ``history.git`` names, "" without the ref."""
        return self._git.text("for-each-ref", "--format=%(objectname)", reference)

    def _empty_tree(self) -> str:
        return self._git.text("hash-object", "-t", "tree", os.devnull)

    def _diff(self, before: str, after: str, limit: int, redact: Redact) -> str:
        text = redact(self._git.run("diff", *_DIFF_OPTIONS, before, after).decode("utf-8", "replace"))
        return truncate_middle(text, limit, "characters of the diff")

    def _compare(self, before: str, after: str) -> Changes:
        fields = self._git.paths("diff-tree", "-r", "--name-status", "--no-renames", "-z", before, after)
        paths: dict[str, list[str]] = {"A": [], "M": [], "D": []}
        for status, path in zip(fields[::2], fields[1::2], strict=True):
            paths["M" if status == "T" else status].append(path)
        return Changes(*(tuple(sorted(paths[status])) for status in "AMD"))


def _set_objects(git: Git, staged: Sequence[Staged], objects: Mapping[str, str]) -> None:
    """Set other objects for staged files."""
    _set_entries(git, [(one.new_mode, objects[one.path], one.path) for one in staged if one.path in objects])


def _set_entries(git: Git, entries: Sequence[tuple[bytes, str, str]]) -> None:
    """Set mode and object of paths in the index; mode 0 removes one."""
    if entries:
        lines = [b"%s %s\t%s\0" % (mode, name.encode(), os.fsencode(path)) for mode, name, path in entries]
        git.run("update-index", "-z", "--index-info", data=b"".join(lines))


def _find_submodules(git: Git) -> list[bytes]:
    """Return the paths of the submodules in the index, without those in conflict."""
    entries = git.run("ls-files", "--stage", "-z").split(b"\0")
    return [entry.partition(b"\t")[2] for entry in entries if entry[:6] == GITLINK and b" 0\t" in entry]


def _skip_submodules(git: Git, root: Path) -> None:
    """Make git skip the submodules in the index; remove those whose folder is gone.

    To look for changes in a submodule, git starts a git inside it, which runs programs that are configured there.
    """
    present: list[bytes] = []
    gone: list[bytes] = []
    for path in _find_submodules(git):
        (present if (root / os.fsdecode(path)).is_dir() else gone).append(path + b"\0")
    for option, paths in (("--assume-unchanged", present), ("--force-remove", gone)):
        if paths:
            git.run("update-index", option, "-z", "--stdin", data=b"".join(paths))


def _write_commit(git: Git, repository: Repository, tree: str, parent: str, branch: str, message: str) -> str:
    """Commit a tree with plumbing commands, which use no hook, editor or index; return the commit."""
    author = git.with_variables(**repository.read_identity())
    parents = ("-p", parent) if parent else ()
    text = message.replace("\0", "").encode("utf-8", "replace")
    commit = author.run("commit-tree", tree, *parents, data=text).decode().strip()
    git.run("update-ref", f"refs/heads/{branch}", commit, parent)
    return commit
