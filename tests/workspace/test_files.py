from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from autoroute.workspace.boundary import Boundary, FileRefused
from autoroute.workspace.files import MAX_BYTES, Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "project/src").mkdir(parents=True)
    (tmp_path / "project/.git").mkdir()
    (tmp_path / "project/.git/config").write_text("git's own")
    (tmp_path / "project/src/a.txt").write_bytes(b"a\r\n\xff")
    return tmp_path / "project"


def test_a_file_is_read_byte_by_byte_by_relative_or_absolute_path(root: Path) -> None:
    files = Files(Boundary(root))
    assert (
        files.read("src/a.txt") == files.read(f"{root}/src/a.txt") == files.read("./src/../src/a.txt") == b"a\r\n\xff"
    )


@pytest.mark.parametrize("path", ["../outside.txt", "src/../../outside.txt", "/etc/passwd", "{root}2/x", ".."])
def test_nothing_outside_is_reached(root: Path, path: str) -> None:
    path = path.format(root=root)
    with pytest.raises(FileRefused, match="outside"):
        Files(Boundary(root)).read(path)
    with pytest.raises(FileRefused, match="outside"):
        Files(Boundary(root)).write(path, b"x")


@pytest.mark.parametrize(("link", "target"), [("out", "../outside.txt"), ("abs", "/etc/passwd"), ("in", "src/a.txt")])
def test_a_link_is_not_followed_and_its_target_is_told(root: Path, link: str, target: str) -> None:
    (root / link).symlink_to(target)
    for act in (lambda: Files(Boundary(root)).read(link), lambda: Files(Boundary(root)).write(link, b"x")):
        with pytest.raises(FileRefused, match="symbolic link"):
            act()
    assert (root.parent / "outside.txt").read_text() == "secret"


def test_a_folder_on_the_way_that_is_a_link_is_not_followed(root: Path) -> None:
    (root / "way").symlink_to(root.parent)
    with pytest.raises(FileRefused, match="symbolic link"):
        Files(Boundary(root)).read("way/outside.txt")
    with pytest.raises(FileRefused, match="symbolic link"):
        Files(Boundary(root)).write("way/new.txt", b"x")
    assert not (root.parent / "new.txt").exists()


def test_only_regular_files_are_read_and_nothing_blocks(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for path, words in (("pipe", "no regular file"), ("src", "folder"), ("", "folder")):
        with pytest.raises((FileRefused, IsADirectoryError), match=words):
            Files(Boundary(root)).read(path)
    with pytest.raises(FileRefused, match="no regular file"):
        Files(Boundary(root)).write("pipe", b"x")


def test_a_huge_file_is_refused_by_its_size(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(FileRefused, match="10,485,761 bytes"):
        Files(Boundary(root)).read("huge")


def test_a_missing_file_is_the_systems_own_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Files(Boundary(root)).read("src/none.txt")


def test_a_write_makes_folders_keeps_the_mode_and_leaves_nothing_else(root: Path) -> None:
    script = root / "run.sh"
    script.write_text("old")
    script.chmod(0o750)
    Files(Boundary(root)).write("run.sh", b"new")
    Files(Boundary(root)).write("deep/er/new.txt", b"x")
    assert stat.S_IMODE(script.stat().st_mode) == 0o750
    assert script.read_text() == "new"
    assert [path.name for path in (root / "deep/er").iterdir()] == ["new.txt"]


def test_a_hard_link_elsewhere_keeps_its_bytes(root: Path) -> None:
    os.link(root.parent / "outside.txt", root / "linked.txt")
    Files(Boundary(root)).write("linked.txt", b"mine")
    assert (root.parent / "outside.txt").read_text() == "secret"
