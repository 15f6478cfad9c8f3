"""Files of the workspace that its commits leave out: git ignores them, or only commands made them.

Everything here runs on ``history.git``, never on the ``.git`` of the tree.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from autoroute.errors import WorkspaceError
from autoroute.workspace import Commands
from autoroute.workspace.bare_repositories import find_around
from autoroute.workspace.files import Files
from autoroute.workspace.git import Git, join_paths
from autoroute.workspace.path_policy import FileRefused, PathPolicy
from autoroute.workspace.special_files import remove_special_files

_NOT_COMMITTED = "git cannot commit it: it is unreadable, or git reserves its name"
_CHECK_IGNORE = ("--no-literal-pathspecs", "check-ignore", "--verbose", "--non-matching", "-z", "--stdin")
_MAX_REASON_CHARACTERS = 200
_MAX_PATHS_ASKED = 200
_MAX_ASKED_BYTES = 4 * 1024 * 1024
_ASK_SECONDS = 60.0


class LeftOut:
    """The files in ``root`` that commits leave out; see ``LeftOutFiles``.

    ``git`` has an index of the last snapshot. ``last_tree`` returns the tree of the last commit. ``own_rules`` are the
    ignore rules of autoroute. ``excluded`` are paths that git could not commit, named before. An index for temporary
    use is made in ``scratch``, where locks that a kill left are deleted.
    """

    def __init__(
        self,
        git: Git,
        root: Path,
        last_tree: Callable[[], str],
        own_rules: Collection[str],
        excluded: Collection[str],
        scratch: Path,
    ) -> None:
        self._git = git
        self._last_tree = last_tree
        self._own_rules = own_rules
        self._excluded = excluded
        self._root = root
        self._index = scratch / "index-of-the-commit"
        self._files = Files(PathPolicy(root))
        # A model may have made a repository anywhere: its ``.git`` is looked for, and never opened.
        self._git_folders = Files(PathPolicy(root, protected=frozenset()))

    def explain(self, path: str) -> str:
        """Return why git does not take a file into commits, "" if it does."""
        return self._explain([path]).get(path, "")

    def find_uncommitted(self, paths: Iterable[str]) -> dict[str, str]:
        """Map each of the paths that exists, and that the last snapshot does not have, to the reason."""
        existing = [path for path in paths if self._is_file(path)]
        if not existing:
            return {}
        taken = set(self._git.paths("ls-files", "-z"))
        missing = [path for path in existing if path not in taken]
        reasons = self._explain(missing)
        return {path: reasons.get(path, _NOT_COMMITTED) for path in missing}

    def list_new(self) -> list[str]:
        """Return the files that are new since the last snapshot; a repository made there is one path, with a slash."""
        remove_special_files(self._root)  # the command before may have made one
        found = self._git.paths("ls-files", "--others", "--exclude-standard", "-z")
        folded = (f"{folder}/" if (folder := self._bare_around(path)) else path for path in found)
        return [path for path in dict.fromkeys(folded) if path not in self._excluded]

    def find_new(self, tree: str, written: Mapping[str, str]) -> list[str]:
        """Return the files of ``tree`` that are new since the last commit and that only commands made.

        Not among them are renamed files of the last commit, and files that were ``written`` (path -> SHA-256 of the
        content) and perhaps moved since.
        """
        last = self._last_tree()
        found = self._git.paths("diff-tree", "-r", "-z", "--name-only", "--find-renames", "--diff-filter=A", last, tree)
        hashes = set(written.values())
        return [path for path in found if path not in written and not (hashes and self._hash(path) in hashes)]

    def find_staged(self, commands: Commands, paths: Sequence[str], log: Path) -> set[str]:
        """Return which of the paths, and of the files in the folders among them, models added in their repository.

        That repository may run anything, so git looks at it through ``commands``. A long output goes to ``log``.
        """
        shown = [shlex.quote(path) for path in paths if _is_text(path)][:_MAX_PATHS_ASKED]
        if not shown:
            return set()
        command = f"git --literal-pathspecs ls-files --cached -z -- {' '.join(shown)}"
        result = commands.run(command, timeout=_ASK_SECONDS, cwd=self._root, log=log)
        if not result.passed:
            return set()
        output = result.output
        if result.log is not None:
            with result.log.open("rb") as file:
                output = file.read(_MAX_ASKED_BYTES).decode("utf-8", "replace")
            result.log.unlink()
        return set(output.split("\0"))

    def without(self, tree: str, paths: Sequence[str]) -> str:
        """Return ``tree`` without these files."""
        if not paths:
            return tree
        git = self._git.with_variables(GIT_INDEX_FILE=str(self._index))
        try:
            git.run("read-tree", tree)
            git.run("update-index", "--force-remove", "-z", "--stdin", data=join_paths(paths))
            return git.text("write-tree")
        finally:
            self._index.unlink(missing_ok=True)

    def fold(self, tree: str, paths: Sequence[str]) -> list[str]:
        """Return the paths, with a folder (``build/``) in place of those in it where ``tree`` has no such folder."""
        if not paths:
            return []
        folders = set(self._git.paths("ls-tree", "-r", "-d", "-z", "--name-only", tree))
        return list(dict.fromkeys(_fold(path, folders) for path in paths))

    def _explain(self, paths: Sequence[str]) -> dict[str, str]:
        repositories = {path: folder for path in paths if (folder := self._repository_of(path))}
        reasons = {path: f"it is in a git repository of its own, {one}/" for path, one in repositories.items()}
        rest = [path for path in paths if path not in reasons]
        if not rest:
            return reasons
        remove_special_files(self._root)
        # check-ignore refuses literal pathspecs. A path after "./" has no magic all the same.
        names = join_paths(f"./{path}" for path in rest)
        try:
            fields = self._git.run(*_CHECK_IGNORE, data=names, accept=(0, 1)).split(b"\0")
        except WorkspaceError:
            return reasons  # such as a path beyond a link, which file tools refuse anyway
        for source, line, pattern, path in zip(*(fields[start::4] for start in range(4)), strict=False):
            if source and not pattern.startswith(b"!"):
                rule = map(os.fsdecode, (source, line, pattern))
                reasons[os.fsdecode(path).removeprefix("./")] = self._describe_rule(*rule)
        return reasons

    def _describe_rule(self, source: str, line: str, pattern: str) -> str:
        if not Path(source).is_absolute():
            where = f"line {line} of {source}"
        else:
            where = "a rule of autoroute" if pattern in self._own_rules else "a rule of the user's own"
        return f"git ignores it: {pattern}, {where}"[:_MAX_REASON_CHARACTERS]

    def _repository_of(self, path: str) -> str:
        """Return the folder around a path that is a repository of its own, "" if none is."""
        for folder in list(PurePosixPath(path).parents)[-2::-1]:
            with suppress(FileRefused, OSError):
                git = f"{folder}/.git"
                if self._git_folders.exists(f"{git}/HEAD") or self._git_folders.size(git) is not None:
                    return str(folder)
        return self._bare_around(path)

    def _bare_around(self, path: str) -> str:
        """Return the bare repository that a path belongs to; "" for none, and for one that the user has in commits."""
        folder = find_around(path, self._exists)
        return "" if folder and self._git.paths("ls-files", "-z", "--", f"{folder}/HEAD") else folder

    def _exists(self, path: str) -> bool:
        try:
            return self._git_folders.exists(path)
        except FileRefused:
            return True  # a link, which git follows
        except OSError:
            return False

    def _is_file(self, path: str) -> bool:
        try:
            return self._files.exists(path) and not self._files.is_folder(path)
        except (FileRefused, OSError):
            return False

    def _hash(self, path: str) -> str:
        try:
            return hashlib.sha256(self._files.read(path)).hexdigest()
        except (FileRefused, OSError):
            return ""


def _fold(path: str, folders: Collection[str]) -> str:
    for folder in list(PurePosixPath(path).parents)[-2::-1]:
        if str(folder) not in folders:
            return f"{folder}/"
    return path


def _is_text(path: str) -> bool:
    """Return whether a path can be a word of a command: not with bytes other than UTF-8."""
    try:
        return bool(path.encode())
    except UnicodeEncodeError:
        return False
