"""Submodules of the workspace: checked out from the user's own clones of them, and read-only for models.

The configuration of a submodule is hostile: git started inside one runs the filters and monitors that it names. So no
git runs in the user's submodule. A repository of our own takes the recorded commit from the user's objects, and nothing
else. Models get a copy of that repository as the ``.git`` of the submodule; ours, beside the history of the run,
compares and restores the files.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from autoroute.errors import WorkspaceError
from autoroute.patterns import pattern
from autoroute.text import join_first
from autoroute.workspace import Changes
from autoroute.workspace.files import Files
from autoroute.workspace.git import Git
from autoroute.workspace.mount_points import make_folders
from autoroute.workspace.path_policy import FileRefused, PathPolicy
from autoroute.workspace.repository import Repository
from autoroute.workspace.rmtree import make_folders_writable, remove_path, remove_tree

GITLINK = b"160000"
"""The file mode of a submodule or nested repository in a tree."""
_FOLDER = "modules"
"""The folder of repositories of submodules in a git folder, as git names it."""
_LIST = "modules.json"
"""The file in ``history.git`` that lists the submodules of the workspace."""
_MAX_DEPTH = 8
_MAX_SUBMODULES = 500
_MAX_NAMED = 5
_UNTRACKED, _IGNORED = "??", "!!"
OpenGit = Callable[[Path, Path], Git]
_STATUS = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=all", "--no-renames")
_QUOTED = pattern(r'[\\"]')


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule that a commit records, at ``path`` from the root of the repository.

    ``objects`` is where the user's own clone of it keeps its objects. ``problem`` says why it cannot be checked out, ""
    if it can; ``hint`` is the command that helps.
    """

    path: str
    commit: str
    name: str = ""
    url: str = ""
    objects: Path | None = None
    problem: str = ""
    hint: str = ""


def find_submodules(repository: Repository, commit: str, git: Git | None = None) -> tuple[Submodule, ...]:
    """Return the submodules of a commit, each before those nested in it; ``git`` has the commit.

    This reads objects of the user's submodules, and none of their settings.
    """
    git = git or repository.git
    if not commit:
        return ()
    own = Path(repository.git.text("rev-parse", "--absolute-git-dir")).resolve()
    folders = tuple(dict.fromkeys((own, repository.git_dir)))  # a linked worktree has submodules of its own
    found: list[Submodule] = []
    for submodule in _find(git, commit, repository.root.resolve(), folders, "", 0):
        found.append(submodule)
        if len(found) >= _MAX_SUBMODULES:
            break
    return tuple(found)


def describe_missing(submodules: Sequence[Submodule]) -> list[str]:
    """Return a sentence for each reason why submodules are missing from the workspace."""
    reasons: dict[str, list[Submodule]] = {}
    for submodule in submodules:
        if submodule.problem:
            reasons.setdefault(submodule.problem, []).append(submodule)
    return [
        f"submodule{'s' if len(those) > 1 else ''} {join_first([one.path for one in those], _MAX_NAMED)}: {reason}, "
        "so the folder is empty in this run" + (f" ({those[0].hint})" if those[0].hint else "")
        for reason, those in reasons.items()
    ]


def find_dirty(repository: Repository, submodules: Sequence[Submodule]) -> list[str]:
    """Return the paths of submodules whose checkout differs from the recorded commit, untracked files included.

    The files are compared by git on the user's repository, whose filters are disabled, with a copy of the submodule's
    index. No git runs in the submodule.
    """
    return [submodule.path for submodule in submodules if submodule.objects and _is_dirty(repository, submodule)]


def _is_dirty(repository: Repository, submodule: Submodule) -> bool:
    work, objects = repository.root / submodule.path, submodule.objects
    if (
        objects is None
        or not (objects.parent / "index").is_file()
        or not _is_plain(repository.root.resolve() / submodule.path)
    ):
        return False
    with TemporaryDirectory(prefix="autoroute-") as scratch:
        index = Path(scratch) / "index"
        shutil.copyfile(objects.parent / "index", index)
        git = replace(_with_objects(repository.git, objects), git_dir=repository.git_dir, work_tree=work, folder=work)
        git = git.with_variables(GIT_INDEX_FILE=str(index))
        git.run("update-index", "-q", "--refresh", accept=(0, 1))
        changed = git.run("diff-index", "--name-only", "--ignore-submodules", submodule.commit)
        return bool(changed or git.run("ls-files", "--others", "--exclude-standard"))


def find_gitlinks(git: Git, commit: str) -> dict[str, str]:
    """Map the path of each submodule that a commit records to the commit of it."""
    entries = git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")
    links = [entry.partition(b"\t") for entry in entries if entry.startswith(GITLINK)]
    return {os.fsdecode(path): head.split(b" ")[2].decode() for head, _, path in links}


def _find(git: Git, commit: str, root: Path, folders: Sequence[Path], prefix: str, depth: int) -> Iterator[Submodule]:
    links = find_gitlinks(git, commit)
    named = _read_gitmodules(git, commit) if links else {}
    for link, recorded in links.items():
        path, (name, url) = f"{prefix}{link}", named.get(link, ("", ""))
        submodule = _locate(git, Submodule(path, recorded, name, url), root, folders)
        yield submodule
        if submodule.objects is not None and depth < _MAX_DEPTH:
            inner = [submodule.objects.parent]
            yield from _find(_with_objects(git, submodule.objects), recorded, root, inner, f"{path}/", depth + 1)


def _locate(git: Git, submodule: Submodule, root: Path, folders: Sequence[Path]) -> Submodule:
    """Return the submodule with the place of its objects, or with the reason why it has none."""
    path, commit, name, url = submodule.path, submodule.commit, submodule.name, submodule.url
    if not _is_safe(path) or (name and not _is_safe(name)):
        return Submodule(path, commit, name, url, problem="its path or name in .gitmodules is unsafe")
    candidates = [*(folder / _FOLDER / name for folder in folders if name), root / path / ".git"]
    present = [folder / "objects" for folder in candidates if _is_plain(folder / "objects")]
    for objects in present:
        if _with_objects(git, objects).succeeds("rev-list", "--objects", "--no-walk", "--quiet", commit):
            return Submodule(path, commit, name, url, objects)
    hint = f"git submodule update --init --recursive -- {shlex.quote(path)}" if name else ""
    if present:
        return Submodule(path, commit, name, url, None, "your clone of it lacks the commit that is recorded", hint)
    missing = "it is not initialized in your checkout" if name else "it is recorded, and .gitmodules does not name it"
    return Submodule(path, commit, name, url, None, missing, hint)


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    return not ({"", ".", ".."} & {*parts} or "\n" in path or PathPolicy(Path("/")).is_protected(path))


def _is_plain(folder: Path) -> bool:
    """Return whether a folder exists, with no link on the way: one could lead to a private repository of the user."""
    try:
        return folder.is_dir() and folder.resolve() == folder
    except OSError:
        return False


def _with_objects(git: Git, objects: Path) -> Git:
    """Return git that also reads the objects in a folder."""
    quoted = '"' + _QUOTED.sub(r"\\\g<0>", str(objects)) + '"'
    known = git.variables.get("GIT_ALTERNATE_OBJECT_DIRECTORIES", "")
    return git.with_variables(GIT_ALTERNATE_OBJECT_DIRECTORIES=f"{quoted}:{known}" if known else quoted)


def _read_gitmodules(git: Git, commit: str) -> dict[str, tuple[str, str]]:
    """Map the path of each submodule that ``.gitmodules`` of a commit names to its name and URL."""
    try:
        listed = git.run("config", f"--blob={commit}:.gitmodules", "--no-includes", "-z", "--list")
    except WorkspaceError:  # no such file, or one that is not a configuration
        return {}
    values: dict[str, dict[str, str]] = {}
    for entry in os.fsdecode(listed).split("\0"):
        key, _, value = entry.partition("\n")
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "submodule" and name:
            values.setdefault(name, {})[variable] = value
    return {
        value["path"].rstrip("/"): (name, value.get("url", "")) for name, value in values.items() if "path" in value
    }


class Submodules:
    """The submodules in the tree ``root``, compared and restored by repositories of our own beside the run's history.

    ``open_git`` returns git for a repository of ours and its work tree. Tell each snapshot to ``restore`` first.
    """

    def __init__(self, root: Path, history: Path, open_git: OpenGit) -> None:
        self._root = root
        self._history = history
        self._open_git = open_git
        self._commits: Mapping[str, str] = {}
        self._added: set[str] = set()
        self._modified: set[str] = set()

    def load(self) -> None:
        """Read which submodules the workspace has, after it was created."""
        file = self._history / _LIST
        self._commits = json.loads(file.read_text("utf-8")) if file.is_file() else {}

    @property
    def commits(self) -> Mapping[str, str]:
        """The commit that is checked out in each submodule, by its path from the root; "" where it is missing."""
        return self._commits

    def take_changes(self) -> Changes:
        """Return what ``restore`` has undone since the last call."""
        changes = Changes(added=tuple(sorted(self._added)), modified=tuple(sorted(self._modified)))
        self._added, self._modified = set(), set()
        return changes

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Undo changes within a block without keeping them for ``take_changes``: verify commands made them."""
        kept = self._added, self._modified
        self._added, self._modified = set(), set()
        try:
            yield
        finally:
            self._added, self._modified = kept

    def list_ignored(self, kept: Collection[str] = ()) -> list[str]:
        """Return the ignored files and folders in the submodules, without those that are ``kept``."""
        found = []
        for number, (path, _) in enumerate(self._present()):
            git = self._open_git(self._history / _repository(number), self._root / path)
            if _is_plain(self._root.resolve() / path) and not self._is_removed(path):
                entries = git.paths(*_STATUS, "--ignored=matching")
                found += [f"{path}/{entry[3:]}".rstrip("/") for entry in entries if entry[:2] == _IGNORED]
        return [path for path in found if not any(f"{path}/".startswith(f"{one}/") for one in kept)]

    def make_pristine(self, kept: Collection[str]) -> list[str]:
        """Undo all changes, and remove ignored files that are not ``kept``; return their paths."""
        with self.unrecorded():
            self.restore()
        ignored = self.list_ignored(kept)
        for path in ignored:
            remove_path(self._root / path)
        return ignored

    def restore(self) -> bool:
        """Undo all changes in the submodules, except of ignored files; return whether there were any.

        A submodule whose folder is gone stays away if ``.gitmodules`` no longer names it: it was removed.
        """
        before = len(self._added) + len(self._modified)
        for number, (path, _) in enumerate(self._present()):
            if not self._is_removed(path):
                self._restore(path, _repository(number))
        for path, commit in self._commits.items():
            if not commit:
                self._empty(path)
        return len(self._added) + len(self._modified) > before

    def _present(self) -> list[tuple[str, str]]:
        """Return path and commit of each submodule that is checked out, in the order of their repositories."""
        return [(path, commit) for path, commit in self._commits.items() if commit]

    def _restore(self, path: str, repository: str) -> None:
        if not _make_plain_folder(self._root, path):
            self._modified.add(path)
        self._restore_repository(path, repository)
        work, commit = self._root / path, self._commits[path]
        git = self._open_git(self._history / repository, work)
        # Twice, because files that new ignore rules hide from the first pass appear once the rules are undone.
        for _ in range(2):
            entries = [(entry[:2], entry[3:]) for entry in git.paths(*_STATUS)]
            if not entries:
                return
            make_folders_writable(work)
            git.run("read-tree", "--reset", "-u", commit)
            for kind, changed in entries:
                if kind == _UNTRACKED:
                    self._added.add(f"{path}/{changed}")
                    remove_path(work / changed)
                else:
                    self._modified.add(f"{path}/{changed}")

    def _empty(self, path: str) -> None:
        """Empty the folder of a missing submodule: what is in there could not be committed."""
        folder = self._root / path
        try:
            names = [entry.name for entry in Files(PathPolicy(self._root, protected=frozenset())).entries(path)]
        except (FileRefused, OSError):
            return
        for name in names:
            remove_path(folder / name)
            self._added.add(f"{path}/{name}")

    def _restore_repository(self, path: str, repository: str) -> None:
        """Restore the ``.git`` that models see if another commit is checked out there, or another repository."""
        files = Files(PathPolicy(self._root, protected=frozenset()))
        link, head = f"{path}/.git", f".git/{repository}/HEAD"
        pointer = _pointer(path, repository).encode()
        if not _has(files, link, pointer):
            remove_path(self._root / link)
            with suppress(FileRefused, OSError):
                files.write(link, pointer)
                self._modified.add(path)
        with suppress(FileRefused, OSError):
            if files.is_folder(".git") and not _has(files, head, f"{self._commits[path]}\n".encode()):
                moved = files.exists(head)
                _make_plain_folder(self._root, f".git/{repository}")
                remove_tree(self._root / ".git" / repository)
                shutil.copytree(self._history / repository, self._root / ".git" / repository, symlinks=True)
                if moved:
                    self._modified.add(path)

    def _is_removed(self, path: str) -> bool:
        """Return whether the tree no longer has the submodule, neither its folder nor its entry."""
        files = Files(PathPolicy(self._root))
        try:
            if files.exists(path):
                return False
            text = files.read(".gitmodules").decode("utf-8", "replace") if files.exists(".gitmodules") else ""
        except (FileRefused, OSError):
            return False
        return not re.search(rf"(?m)^\s*path\s*=\s*\"?{re.escape(path)}\"?\s*$", text)


def check_out(submodules: Sequence[Submodule], root: Path, open_git: OpenGit, excludes: str) -> None:
    """Check out submodules in a new tree whose ``.git`` no model has seen. The history of the run is a copy of it.

    ``excludes`` are ignore rules beyond those of the submodules.
    """
    present = [submodule for submodule in submodules if submodule.objects is not None]
    git = open_git(root / ".git", root)
    for number, submodule in enumerate(present):
        _check_out(submodule, root, _repository(number), open_git, excludes)
        if submodule.name and submodule.url:
            # So that ``git submodule`` commands of a build find nothing to do, where they would clone.
            with suppress(WorkspaceError):
                git.run("config", f"submodule.{submodule.name}.url", submodule.url)
    if submodules:
        listed = {submodule.path: submodule.commit if submodule.objects else "" for submodule in submodules}
        (root / ".git" / _LIST).write_text(json.dumps(listed), "utf-8")


def _check_out(submodule: Submodule, root: Path, repository: str, open_git: OpenGit, excludes: str) -> None:
    folder, work = root / ".git" / repository, root / submodule.path
    (folder / "info").mkdir(parents=True)
    git = open_git(folder, work)
    git.run("init", "--quiet", "--template=")
    git.run("config", "core.worktree", os.path.relpath(work, folder))
    (folder / "info/exclude").write_text(excludes, "utf-8")
    # Only the recorded commit is copied: commands cannot see the user's objects, and need no more to build.
    source = _with_objects(git, submodule.objects) if submodule.objects else git
    objects = source.run("rev-list", "--objects", "--no-walk", submodule.commit)
    source.run("pack-objects", "--quiet", str(folder / "objects/pack/pack"), data=objects)
    if source.text("rev-list", "--parents", "--no-walk", submodule.commit) != submodule.commit:
        (folder / "shallow").write_text(f"{submodule.commit}\n", "ascii")
    git.run("update-ref", "--no-deref", "HEAD", submodule.commit)
    work.mkdir(parents=True, exist_ok=True)
    git.run("read-tree", "--reset", "-u", submodule.commit)
    (work / ".git").write_text(_pointer(submodule.path, repository), "utf-8", "surrogateescape")


def _repository(number: int) -> str:
    """Return the folder of a submodule in a git folder: by number, because names are chosen by whoever wrote them."""
    return f"{_FOLDER}/{number}"


def _pointer(path: str, repository: str) -> str:
    """Return the content of the ``.git`` file of a submodule."""
    return f"gitdir: {os.path.relpath(f'/.git/{repository}', f'/{path}')}\n"


def _has(files: Files, path: str, content: bytes) -> bool:
    try:
        return files.exists(path) and files.read(path) == content
    except (FileRefused, OSError):
        return False


def _make_plain_folder(root: Path, path: str) -> bool:
    """Make each part of a path a folder, in place of a file or link; return whether each was one."""
    try:
        return make_folders(root, path)
    except OSError as error:
        raise WorkspaceError(f"cannot restore the submodule {path}: {error.strerror}") from None
