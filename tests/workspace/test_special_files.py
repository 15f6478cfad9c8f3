"""No call of git on the workspace waits for a pipe, whichever file of git a command put in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autoroute.workspace.clone import PrivateClone
from tests.workspace.conftest import Place


def _pipe(name: str) -> Callable[[Path], None]:
    def plant(tree: Path) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).unlink(missing_ok=True)
        os.mkfifo(tree / name)

    return plant


def _repository(folder: str, pipe: str, lead: str = "") -> Callable[[Path], None]:
    """Make what looks like a repository, one of whose files is a pipe; ``lead`` is a ``.git`` that leads there."""

    def plant(tree: Path) -> None:
        for name in ("objects", "refs/heads"):
            (tree / folder / name).mkdir(parents=True, exist_ok=True)
        (tree / folder / "HEAD").write_text("ref: refs/heads/main\n")
        _pipe(f"{folder}/{pipe}")(tree)
        (tree / "q").mkdir(exist_ok=True)
        if lead == "file":
            (tree / "q/.git").write_text(f"gitdir: ../{folder}\n")
        elif lead == "link":
            (tree / "q/.git").symlink_to(f"../{folder}")

    return plant


def _link(tree: Path) -> None:
    _pipe("pipe")(tree)
    (tree / ".gitignore").symlink_to("pipe")


PLANTS = {
    **{
        name: _pipe(name)
        for name in (".gitignore", "sub/.gitignore", ".gitattributes", ".gitmodules", "a.txt", "q/.git")
    },
    **{f"q/.git/{name}": _repository("q/.git", name) for name in ("HEAD", "config", "commondir", "refs/heads/main")},
    "a repository that a file names": _repository("fake", "HEAD", "file"),
    "a repository that a link leads to": _repository("fake", "HEAD", "link"),
    "the repository of commands, that a file names": _repository(".git", "HEAD", "file"),
    "a link to a pipe": _link,
}
CALLS: dict[str, Callable[[PrivateClone], object]] = {
    "snapshot": lambda clone: clone.snapshot(),
    "restore": lambda clone: clone.restore(clone.head_tree()),
    "make_pristine": lambda clone: clone.make_pristine(),
    "open": lambda clone: clone.open(),
    "keep_setup": lambda clone: clone.keep_setup(again=True),
    "exclude_new_files": lambda clone: clone.exclude_new_files(),
    "find_holders": lambda clone: clone.find_holders(["word"]),
    "list_new": lambda clone: clone.left_out.list_new(),
    "explain": lambda clone: clone.left_out.explain("sub/new.txt"),
    "find_uncommitted": lambda clone: clone.left_out.find_uncommitted(["a.txt", "q/new.txt"]),
}
"""Each fails after the time limit of git (600 s) if it waits."""


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("plant", PLANTS)
def test_git_does_not_wait(place: Place, plant: str, call: str) -> None:
    clone = place.clone()
    clone.snapshot()
    PLANTS[plant](clone.root)
    CALLS[call](clone)


def test_a_pipe_that_git_does_not_read_stays(place: Place) -> None:
    clone = place.clone()
    os.mkfifo(clone.root / "server")
    clone.snapshot()
    assert (clone.root / "server").is_fifo()
