"""Which files there are to look at: all but ``.git`` and what ``.gitignore`` leaves out, by ``rg`` or by our own walk.

Both give the same files. Symbolic links are never followed and never listed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from autoroute.tools.calls import Refused
from autoroute.tools.ignoring import Rule, opinion, read_rules

_SECONDS = 60
_MAX_FILES = 500_000

QUIET = ("--no-config", "--no-messages", "--color=never")
_SAME_RULES_AS_OURS = (
    "--hidden",
    "--glob=!.git",
    "--no-require-git",
    "--no-ignore-dot",
    "--no-ignore-exclude",
    "--no-ignore-global",
    "--no-ignore-parent",
)

# The rules on the way to a folder, outermost first, each with the folder that it is relative to.
_Rules = tuple[tuple[str, tuple[Rule, ...]], ...]


def find_place(root: Path, path: str) -> Path:
    """Where ``path``, relative to ``root``, is. Raises ``Refused`` when a symbolic link is on the way."""
    if os.path.realpath(root / path) != os.path.join(os.path.realpath(root), path).rstrip("/"):  # noqa: PTH118 - as text
        raise Refused(f"{path} goes through a symbolic link; use the path it leads to")
    return root / path


def list_files(root: Path, ripgrep: str | None) -> list[str]:
    """Paths of the files under ``root``, relative to it, sorted by their parts.

    Raises ``Refused`` when there are too many, or when listing takes too long.
    """
    files = list(_ask_ripgrep(root, ripgrep) if ripgrep else _walk(root))
    if len(files) > _MAX_FILES:
        raise Refused(f"there are more than {_MAX_FILES:,} files; look with `bash`, in a folder of your choice")
    return sorted(files, key=lambda path: path.split("/"))


def _ask_ripgrep(root: Path, ripgrep: str) -> Iterator[str]:
    """What ``rg`` lists; an ``rg`` that cannot is no reason not to answer."""
    command = [ripgrep, *QUIET, *_SAME_RULES_AS_OURS, "--files", "--null", "./"]
    try:
        done = subprocess.run(
            command, cwd=root, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"listing the files took longer than {_SECONDS} s") from None
    if done.returncode not in (0, 1) and not done.stdout:
        return _walk(root)
    return (os.fsdecode(path).removeprefix("./") for path in done.stdout.split(b"\0") if path)


def _walk(root: Path) -> Iterator[str]:
    """Every file that no ``.gitignore`` on the way to it leaves out. A folder that is left out is not entered."""
    count = 0
    waiting: list[tuple[str, _Rules]] = [("", ())]
    while waiting:
        folder, above = waiting.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        rules = above
        if any(entry.name == ".gitignore" and entry.is_file() for entry in entries):
            rules = (*above, (folder, _rules(root / folder / ".gitignore")))
        for entry in entries:
            path = f"{folder}{entry.name}"
            if entry.name == ".git" or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if not _ignored(path, rules, is_folder=True):
                    waiting.append((f"{path}/", rules))
            elif entry.is_file(follow_symlinks=False) and not _ignored(path, rules, is_folder=False):
                yield path
                count += 1
                if count > _MAX_FILES:
                    return


def _rules(path: Path) -> tuple[Rule, ...]:
    try:
        return read_rules(path.read_bytes())
    except OSError:
        return ()


def _ignored(path: str, rules: _Rules, *, is_folder: bool) -> bool:
    """What the nearest ``.gitignore`` with an opinion says."""
    for folder, here in reversed(rules):
        verdict = opinion(here, os.fsencode(path.removeprefix(folder)), is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False
