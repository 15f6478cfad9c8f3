"""git tells which files cannot contain a word; of every file that it does not know, it says nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.workspace.conftest import Place

WORD = "needle"
HOLDING = {
    "tracked.py": b"the needle\n",
    "utf16.txt": "the needle".encode("utf-16"),
    "latin1.txt": b"caf\xe9 needle\n",
    "binary.bin": b"\0\1needle",
    "long.min.js": b"x" * 1_000_000 + b"needle",
    "crlf.txt": b"a\r\nneedle\r\n",
    "na\xefve name.txt": b"needle",
    "sub/needle.txt": b"x needle x",
}
OTHERS = {"other.py": b"nothing\n", "case.py": b"NEEDLE\n", "split.txt": b"nee\ndle\n", "empty.txt": b""}


@pytest.fixture
def written(place: Place) -> Path:
    """Return the tree of a clone whose files, known and new, are written."""
    for name, content in {**HOLDING, **OTHERS}.items():
        place.write(name, content)
    place.write(".gitattributes", "*.py -diff\n*.js binary\n*.txt diff=custom\n")
    place.write(".gitignore", "ignored/\n")
    place.commit()
    return place.clone().root


def test_only_files_that_cannot_contain_the_word_are_left_out(place: Place, written: Path) -> None:
    clone = place.clone()
    (written / "new.py").write_text(WORD)
    (written / "tracked.py").write_text("not any more\n")
    (written / "other.py").write_text(f"now with a {WORD}\n")
    may_hold = clone.find_holders([WORD])
    assert {name for name in (*HOLDING, *OTHERS, "new.py") if may_hold(name)} == {
        *(set(HOLDING) - {"tracked.py"}),
        *("other.py", "new.py"),
    }
    either = clone.find_holders([WORD, "nothing"])
    assert not either("case.py")
    assert either("utf16.txt")


def test_of_what_git_leaves_out_nothing_is_known(place: Place, written: Path) -> None:
    nested = written / "nested"
    subprocess.run(["git", "init", "--quiet", nested], check=True, env=place.environ)
    for name in ("ignored/a.py", "nested/b.py", "__pycache__/c.py"):
        (written / name).parent.mkdir(exist_ok=True)
        (written / name).write_text("anything\n")
    may_hold = place.clone().find_holders([WORD])
    assert all(map(may_hold, ("ignored/a.py", "nested/b.py", "__pycache__/c.py", "missing.py")))


def test_special_files_and_links_do_not_stop_the_search(place: Place, written: Path) -> None:
    os.mkfifo(written / "sub/.gitignore")
    os.mkfifo(written / "pipe.py")
    (written / "link.py").symlink_to("/etc/passwd")
    may_hold = place.clone().find_holders([WORD])
    assert may_hold("tracked.py")
    assert not may_hold("other.py")


def test_a_damaged_repository_leaves_nothing_out(place: Place, written: Path) -> None:
    clone = place.clone()
    (clone.folder / "history.git/index").write_bytes(b"damaged")
    assert clone.find_holders([WORD])("other.py")


def test_words_are_no_options_and_no_expressions(place: Place, written: Path) -> None:
    (written / "dash.txt").write_text("a --help here\n")
    (written / "dot.txt").write_text("a.b\n")
    clone = place.clone()
    assert clone.find_holders(["--help"])("dash.txt")
    assert not clone.find_holders(["--help"])("dot.txt")
    assert not clone.find_holders(["n.edle"])("tracked.py")
