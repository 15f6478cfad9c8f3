from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoroute.workspace.rmtree import remove_folder, remove_tree, sweep, walk_bottom_up
from tests.workspace.conftest import dig

AS_A_USER = """
import os, sys
from pathlib import Path
from autoroute.workspace.rmtree import remove_tree
os.geteuid() or os.setuid(60990)
print(remove_tree(Path("top")))
"""


def as_a_user(folder: Path) -> str:
    """What is said when ``top`` in the folder is removed by somebody to whom closed folders are closed."""
    if os.geteuid() == 0:
        for handle, name, _ in walk_bottom_up(folder):
            os.chown(name, 60990, 60990, dir_fd=handle, follow_symlinks=False)
    done = subprocess.run([sys.executable, "-c", AS_A_USER], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444, 0o500, 0o555])
def test_folders_without_permissions_are_removed(tmp_path: Path, mode: int) -> None:
    inner = tmp_path / "top/module/inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for folder in (inner, inner.parent, inner.parent.parent):
        folder.chmod(mode)
    assert as_a_user(tmp_path) == ""
    assert not (tmp_path / "top").exists()


def test_what_remains_is_reported(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has a file that a user cannot delete")
    inner = tmp_path / "top/module"
    inner.mkdir(parents=True)
    (inner / "theirs").write_text("x")
    (inner.parent / "ours").write_text("x")
    done = "import os; os.chmod('top/module', 0o755); "
    os.chown(tmp_path, 60990, 60990)
    os.chown(tmp_path / "top", 60990, 60990)
    said = subprocess.run(
        [sys.executable, "-c", done + AS_A_USER], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout == "theirs: Permission denied\n"
    assert [path.name for path in (tmp_path / "top").iterdir()] == ["module"]


def test_deep_folders_are_removed_and_descriptors_closed(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    dig(tmp_path / "top")
    before = len(list(Path("/dev/fd").iterdir()))
    assert remove_tree(tmp_path / "top") == ""
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    (outside / "inner").mkdir(parents=True)
    outside.chmod(0o555)
    (top / "inner").mkdir(parents=True)
    for link, target in (("link", outside), ("inner/up", ".."), ("dead", "nowhere")):
        (top / link).symlink_to(target)
    assert remove_tree(top) == ""
    assert [path.name for path in tmp_path.rglob("*")] == ["outside", "inner"]
    assert outside.stat().st_mode & 0o777 == 0o555
    outside.chmod(0o755)


def test_a_link_in_place_of_the_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "top").symlink_to("outside")
    assert remove_tree(tmp_path / "top") == "top: Not a directory"
    assert (tmp_path / "outside").is_dir()


def test_a_missing_folder_counts_as_removed(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "top") == ""
    assert remove_tree(tmp_path / "none/top") == ""


def test_a_folder_that_is_moved_meanwhile_stops_the_walk(tmp_path: Path) -> None:
    (tmp_path / "top/one/two/three").mkdir(parents=True)
    found = walk_bottom_up(tmp_path / "top")
    assert next(found)[1] == "three"
    (tmp_path / "top/one/two").rename(tmp_path / "two")
    with pytest.raises(OSError, match="moved"):
        next(found)


def test_everything_comes_before_its_folder(tmp_path: Path) -> None:
    (tmp_path / "top/one").mkdir(parents=True)
    (tmp_path / "top/one/file").touch()
    (tmp_path / "top/other").touch()
    found = [(name, is_folder) for _, name, is_folder in walk_bottom_up(tmp_path / "top")]
    assert found == [("other", False), ("file", False), ("one", True), ("top", True)]


def fill(folder: Path, files: int = 50) -> Path:
    for number in range(files):
        (folder / f"inner/{number}").mkdir(parents=True)
        (folder / f"inner/{number}/file").write_text("x")
    return folder


def wait_for_remover(place: Path) -> None:
    """Wait until the process that removes what was set aside has ended: it holds a lock as long as it works."""
    handle = os.open(place, os.O_RDONLY)
    while any(place.glob("removed-*")):
        fcntl.flock(handle, fcntl.LOCK_EX)
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def test_a_small_folder_is_gone_at_once(tmp_path: Path) -> None:
    assert remove_folder(fill(tmp_path / "top"), max_wait=60) == ""
    assert list(tmp_path.iterdir()) == []
    assert remove_folder(tmp_path / "top") == ""


def test_a_large_folder_is_set_aside_at_once_and_removed_in_the_background(tmp_path: Path) -> None:
    place, outside = tmp_path / "workspaces", tmp_path / "outside"
    fill(place / "top")
    fill(outside)
    (place / "top/link").symlink_to(outside)
    dig(place / "top")
    (place / "other-run").mkdir()
    assert remove_folder(place / "top", max_wait=0) == ""
    assert not (place / "top").exists()
    wait_for_remover(place)
    assert [path.name for path in place.iterdir()] == ["other-run"]
    assert len(list(outside.rglob("file"))) == 50


def test_what_a_killed_remover_left_is_swept(tmp_path: Path) -> None:
    place, outside = tmp_path / "workspaces", fill(tmp_path / "outside")
    fill(place / "removed-0123")
    (place / "removed-link").symlink_to(outside)
    (place / "run").mkdir()
    sweep(place)
    while (place / "removed-0123").exists():
        os.sched_yield()
    assert {path.name for path in place.iterdir()} == {"removed-link", "run"}
    assert len(list(outside.rglob("file"))) == 50


def test_the_remover_has_no_environment_and_is_no_child_of_ours(tmp_path: Path) -> None:
    place = tmp_path / "workspaces"
    for number in range(40):
        fill(place / f"removed-{number}", files=100)
    handle = os.open(place, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)  # the remover waits until the test has seen it
    sweep(place)
    found = [
        path
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and str(place).encode() in read(path / "cmdline")
    ]
    assert [read(path / "environ") for path in found] == [b""]
    parents = [int(read(path / "stat").rpartition(b") ")[2].split()[1]) for path in found]
    assert os.getpid() not in parents
    os.close(handle)
    wait_for_remover(place) if place.exists() else None


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
