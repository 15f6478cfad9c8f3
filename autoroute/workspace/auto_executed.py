"""Finding files of a change that run automatically on someone's machine, such as hooks, CI and editor settings.

They are legitimate to edit and an old way to attack: settings of VS Code that an agent wrote ran commands on the host
(CVE-2025-53773). So the review, the receipt and ``autoroute merge`` name them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cache, partial, reduce
from importlib.resources import files
from itertools import accumulate
from typing import Any

from autoroute.parsing import read_object, read_toml
from autoroute.workspace.bare_repositories import belongs_to, find_bare_repositories, may_make_one
from autoroute.workspace.git import Git
from autoroute.workspace.path_policy import fold_name

_REPOSITORY = "makes git take its folder for a repository, whose settings run programs"
_DOCUMENTATION = frozenset(
    {"agent.md", "agents.md", "claude.md", "crush.md", "gemini.md", "qwen.md", "skill.md", "warp.md"}
)
"""Names that, in lower case and below the root, are ordinary pages of documentation."""
_LINK, _GITLINK = "120000", "160000"
_MAX_MANIFEST_BYTES = 1024 * 1024
_MAX_PARTS = 3
"""Of how many names a folder or the end of a path in the table consists at most."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file of which only some ``keys`` run anything, and what parses it."""

    trigger: str
    keys: Sequence[str]
    read: Callable[[str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Rules:
    """The table of ``auto_executed.toml``: each name, glob and folder with the occasion on which it runs.

    ``names`` has names of files and ends of paths. ``outer`` are the folders and those around them: a link in place of
    one brings its content.
    """

    folders: Mapping[str, str]
    outer: Mapping[str, str]
    names: Mapping[str, str]
    patterns: Mapping[str, str]
    manifests: Mapping[str, Manifest]
    any_pattern: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> Rules:
        """Read the table."""
        programs = tomllib.loads(text)
        kinds, manifests = programs.pop("kinds"), programs.pop("manifests")
        found: dict[str, dict[str, str]] = {"folders": {}, "names": {}, "paths": {}, "patterns": {}}
        for kind, rows in programs.items():
            for row in rows.values():
                for field, names in found.items():
                    names |= dict.fromkeys(row.get(field, "").split(), kinds[kind])
        folders, patterns = found["folders"], found["patterns"]
        outer = {
            end: trigger for folder, trigger in folders.items() for end in accumulate(folder.split("/"), "{}/{}".format)
        }
        return cls(
            folders,
            outer,
            {**found["names"], **found["paths"]},
            patterns,
            {
                name: Manifest(
                    kinds[row["kind"]], row["keys"].split(), read_toml if name.endswith(".toml") else read_object
                )
                for name, row in manifests.items()
            },
            re.compile("|".join(map(translate, patterns))),
        )

    def match(self, name: str) -> str:
        """Return the occasion of the first glob that a file's name matches, "" if it matches none."""
        if not self.any_pattern.match(name):
            return ""
        return next(trigger for pattern, trigger in self.patterns.items() if fnmatchcase(name, pattern))


@cache
def load_rules() -> Rules:
    """Return the table; it is read when first used."""
    return Rules.of(files("autoroute.workspace").joinpath("auto_executed.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that a change adds or modifies: its git mode in octal digits, and readers of its old and new content."""

    path: str
    mode: str
    before: Callable[[], bytes]
    after: Callable[[], bytes]


def find_auto_executed(git: Git, before: str, after: str) -> dict[str, str]:
    """Map each automatically executed file that differs between two trees or commits to the occasion when it runs."""
    fields = git.paths("diff-tree", "-r", "--raw", "--no-abbrev", "--no-renames", "-z", before, after)
    found = {}
    changed = fields[1::2]
    bare = find_bare_repositories(_list_files(git, after) if may_make_one(changed) else ())
    for change, path in zip(fields[::2], changed, strict=True):
        _, mode, old, new, status = change.split(" ")
        if status == "D" or mode == _GITLINK:
            continue
        file = ChangedFile(path, mode, partial(_read_blob, git, old), partial(_read_blob, git, new))
        if trigger := find_trigger(file) or (_REPOSITORY if belongs_to(path, bare) else ""):
            found[path] = trigger
    return found


def _list_files(git: Git, tree: str) -> list[str]:
    return git.paths("ls-tree", "-r", "-z", "--name-only", tree)


def find_trigger(file: ChangedFile) -> str:
    """Return the occasion on which this file runs automatically, "" if it does not."""
    rules = load_rules()
    parts = [fold_name(part) for part in file.path.split("/")]
    name = parts[-1]
    for folder in _joined(parts[:-1]):
        if trigger := rules.folders.get(folder):
            return trigger
    if manifest := rules.manifests.get(name):
        return manifest.trigger if _differ(file, manifest) else ""
    if name in _DOCUMENTATION and file.path.endswith(f"/{name}"):
        return ""
    ends = list(_joined(parts, only_last=True))[::-1]  # the longest first, because it says most
    if file.mode == _LINK and (found := next((rules.outer[end] for end in ends if end in rules.outer), "")):
        return f"a link in place of a folder whose content {found}"
    return next((rules.names[end] for end in ends if end in rules.names), "") or rules.match(name)


def _joined(parts: Sequence[str], *, only_last: bool = False) -> Iterator[str]:
    """Yield each part, and with the parts before it as far as a rule can name them."""
    for end in range(len(parts) if only_last else 1, len(parts) + 1):
        for start in range(end - 1, max(-1, end - 1 - _MAX_PARTS), -1):
            yield "/".join(parts[start:end])


def _read_blob(git: Git, oid: str) -> bytes:
    if not oid.strip("0"):
        return b""
    # The id of a large file differs whenever its content does, and is neither valid JSON nor TOML.
    too_large = int(git.text("cat-file", "-s", oid)) > _MAX_MANIFEST_BYTES
    return f"<{oid}>".encode() if too_large else git.run("cat-file", "blob", oid)


def _differ(file: ChangedFile, manifest: Manifest) -> bool:
    """Return whether the executed parts of a manifest changed."""
    return bool(_read_parts(file.before(), manifest) != _read_parts(file.after(), manifest))


def _read_parts(data: bytes, manifest: Manifest) -> Any:
    """Return the executed parts of a manifest; the bytes themselves if it cannot be parsed."""
    try:
        table = manifest.read(data.decode("utf-8")) if data else {}
        found = {key: reduce(_get, key.split("."), table) for key in manifest.keys}
    except (ValueError, AttributeError):
        return data
    return {key: value for key, value in found.items() if value is not None}


def _get(table: Any, key: str) -> Any:
    return table.get(key) if table else None
