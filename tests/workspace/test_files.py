from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.workspace.beneath import OpenBeneath, open_by_component, open_with_openat2, select_open_beneath
from autoroute.workspace.files import MAX_BYTES, Entry, Files
from autoroute.workspace.path_policy import FileRefused, PathPolicy

SECRET = "secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.txt").write_text(SECRET)
    (tmp_path / "project/src").mkdir(parents=True)
    (tmp_path / "project/.git").mkdir()
    (tmp_path / "project/.git/config").write_text("git's own")
    (tmp_path / "project/src/a.txt").write_bytes(b"a\r\n\xff")
    return tmp_path / "project"


@pytest.fixture(params=[open_with_openat2, open_by_component])
def open_beneath(request: pytest.FixtureRequest) -> OpenBeneath:
    if request.param not in (open_by_component, select_open_beneath()):
        pytest.skip("this kernel has no openat2, or a filter forbids it")
    chosen: OpenBeneath = request.param
    return chosen


@pytest.fixture
def files(root: Path, open_beneath: OpenBeneath) -> Files:
    return Files(PathPolicy(root), open_beneath)


def test_a_file_is_read_by_relative_or_absolute_path(root: Path, files: Files) -> None:
    paths = ["src/a.txt", f"{root}/src/a.txt", "./src/../src/a.txt"]
    assert [files.read(path) for path in paths] == 3 * [b"a\r\n\xff"]


@pytest.mark.parametrize(
    "path", ["../outside/a.txt", "/etc/passwd", "{root}2/x", "..", ".git/config", "a\0b", "\ud800"]
)
def test_a_path_that_the_policy_refuses_is_not_touched(root: Path, files: Files, path: str) -> None:
    path = path.format(root=root)
    for act in (files.read, files.exists, files.is_folder, files.entries, lambda path: files.write(path, b"x")):
        with pytest.raises(FileRefused):
            act(path)
    assert files.size(path) is None


@pytest.mark.parametrize(
    ("link", "target"),
    [("out", "../outside/a.txt"), ("abs", "/etc/passwd"), ("in", "src/a.txt"), ("magic", "/proc/self/root/etc/passwd")],
)
def test_a_link_is_not_followed_and_its_target_is_named(root: Path, files: Files, link: str, target: str) -> None:
    (root / link).symlink_to(target)
    for act in (files.read, files.exists, files.entries, lambda path: files.write(path, b"x")):
        with pytest.raises(FileRefused, match=f"^{link} is a symbolic link to {target}, "):
            act(link)
    assert files.size(link) is None
    assert (root.parent / "outside/a.txt").read_text() == SECRET


def test_a_folder_on_the_way_that_is_a_link_is_not_followed(root: Path, files: Files) -> None:
    (root / "src/way").symlink_to(root.parent / "outside")
    for path in ("src/way/a.txt", "src/way/new/er.txt"):
        for act in (files.read, files.exists, files.entries, lambda path: files.write(path, b"x")):
            with pytest.raises(FileRefused, match=f"^src/way is a symbolic link to {root.parent}/outside, "):
                act(path)
    assert [path.name for path in (root.parent / "outside").iterdir()] == ["a.txt"]


def swap(root: Path) -> None:
    """Put a link to a folder outside in the place of ``src``."""
    (root / "src").rename(root / "moved")
    (root / "src").symlink_to(root.parent / "outside")


def before(root: Path, open_beneath: OpenBeneath) -> OpenBeneath:
    def open_too_late(folder: int, path: str, flags: int) -> int:
        if not (root / "moved").exists():
            swap(root)
        return open_beneath(folder, path, flags)

    return open_too_late


def after(root: Path, open_beneath: OpenBeneath) -> OpenBeneath:
    def open_just_in_time(folder: int, path: str, flags: int) -> int:
        handle = open_beneath(folder, path, flags)
        if not (root / "moved").exists():
            swap(root)
        return handle

    return open_just_in_time


def test_a_folder_replaced_by_a_link_before_it_is_opened_is_refused(root: Path, open_beneath: OpenBeneath) -> None:
    files = Files(PathPolicy(root), before(root, open_beneath))
    for act in (files.read, files.exists, lambda path: files.write(path, b"x")):
        with pytest.raises(FileRefused, match="symbolic link"):
            act("src/a.txt")
    assert (root.parent / "outside/a.txt").read_text() == SECRET


def test_a_folder_replaced_by_a_link_after_it_was_opened_is_still_used(root: Path, open_beneath: OpenBeneath) -> None:
    Files(PathPolicy(root), after(root, open_beneath)).write("src/a.txt", b"mine")
    assert (root / "moved/a.txt").read_bytes() == b"mine"
    assert [path.name for path in (root / "moved").iterdir()] == ["a.txt"]
    assert (root.parent / "outside/a.txt").read_text() == SECRET


def test_a_folder_replaced_by_a_link_while_folders_are_created_is_refused(
    root: Path, open_beneath: OpenBeneath
) -> None:
    with suppress(FileRefused):
        Files(PathPolicy(root), after(root, open_beneath)).write("src/new/er.txt", b"x")
    assert [path.name for path in (root.parent / "outside").iterdir()] == ["a.txt"]


def test_only_regular_files_are_read_and_nothing_blocks(root: Path, files: Files) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(root, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket" if os.path.isdir("/proc/self/fd") else str(root / "socket"))  # noqa: PTH112
        os.close(here)
    for path, words in (
        ("pipe", "not a regular file"),
        ("socket", "not a regular file"),
        ("src", "folder"),
        ("", "folder"),
    ):
        with pytest.raises(FileRefused, match=words):
            files.read(path)
        with pytest.raises(FileRefused, match=words):
            files.write(path, b"x")
        assert files.size(path) is None


def test_a_file_above_the_limit_is_refused(root: Path, files: Files) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(1024**4)
    with pytest.raises(FileRefused, match=f"has 1,099,511,627,776 bytes; files over {MAX_BYTES:,} are not read whole"):
        files.read("huge")
    with pytest.raises(FileRefused, match=r"src/a.txt has 4 bytes; files over 3 are"):
        files.read("src/a.txt", 3)
    assert len(files.read("src/a.txt", 4)) == files.size("src/a.txt") == 4


def test_a_missing_file_is_an_os_error_with_the_whole_path(files: Files) -> None:
    for path, error in (("src/none.txt", FileNotFoundError), ("src/a.txt/b/c", NotADirectoryError)):
        with pytest.raises(error) as raised:
            files.read(path)
        assert raised.value.filename == path
        assert not files.exists(path)
        assert files.size(path) is None


def test_a_hard_link_is_not_read_and_a_write_keeps_the_other_name(root: Path, files: Files) -> None:
    os.link(root.parent / "outside/a.txt", root / "linked.txt")
    with pytest.raises(FileRefused, match=r"linked.txt has 2 names \(hard links\), .* use bash"):
        files.read("linked.txt")
    assert files.size("linked.txt") is None
    files.write("linked.txt", b"mine")
    assert (root.parent / "outside/a.txt").read_text() == SECRET
    assert files.read("linked.txt") == b"mine"


def test_entries_of_a_folder_exclude_protected_names(root: Path, files: Files) -> None:
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("src")
    (root / "file").touch()
    (root / "src/.GIT").touch()
    expected = [Entry("file", "file"), Entry("link", "other"), Entry("pipe", "other"), Entry("src", "folder")]
    assert sorted(files.entries("")) == expected
    assert files.entries("src") == [Entry("a.txt", "file")]
    with pytest.raises(NotADirectoryError):
        files.entries("src/a.txt")


def test_existing_files_and_folders_are_recognized(files: Files) -> None:
    paths = ["", "src", "src/a.txt", "src/b.txt"]
    assert [files.exists(path) for path in paths] == [True, True, True, False]
    assert [files.is_folder(path) for path in paths] == [True, True, False, False]


def test_a_write_creates_folders_and_keeps_the_mode(root: Path, files: Files) -> None:
    script = root / "run.sh"
    script.write_text("old")
    script.chmod(0o4750)
    files.write("run.sh", b"new")
    umask = os.umask(0o027)
    try:
        files.write("src/deep/er/new.txt", b"x")
    finally:
        os.umask(umask)
    assert script.read_text() == "new"
    modes = [stat.S_IMODE((root / path).stat().st_mode) for path in ("run.sh", "src/deep", "src/deep/er/new.txt")]
    assert modes == [0o750, 0o750, 0o640]
    assert [path.name for path in (root / "src/deep/er").iterdir()] == ["new.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_written_by_root_get_the_owner_of_the_folder(root: Path, files: Files) -> None:
    for place in (root, root / "src", root / "src/a.txt"):
        os.chown(place, 12_345, 12_346)
    for path in ("src/a.txt", "src/b.txt", "new/folder/c.txt"):
        files.write(path, b"x")
    made = [root / path for path in ("src/a.txt", "src/b.txt", "new", "new/folder", "new/folder/c.txt")]
    assert [(place.stat().st_uid, place.stat().st_gid) for place in made] == 5 * [(12_345, 12_346)]


def test_a_failed_write_changes_nothing(root: Path, files: Files) -> None:
    (root / "taken").mkdir()
    for path in ("taken", "src/a.txt/b"):
        with pytest.raises((FileRefused, OSError)):
            files.write(path, b"x")
    assert sorted(path.name for path in root.rglob("*")) == [".git", "a.txt", "config", "src", "taken"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="handles are counted in /proc")  # noqa: PTH112
def test_every_descriptor_is_closed(root: Path, files: Files) -> None:
    (root / "link").symlink_to("src")
    os.mkfifo(root / "pipe")
    acts: list[Callable[[str], object]] = [files.read, files.exists, files.entries, files.size]
    acts.append(lambda path: files.write(path, b"x"))
    count = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in ("src/b.txt", "src", "link/a.txt", "pipe", "none/such", "src/a.txt/b", "new/folder/c", "../x", ""):
        for act in acts:
            with suppress(FileRefused, OSError):
                act(path)
    assert len(os.listdir("/proc/self/fd")) == count  # noqa: PTH208


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_without_openat2_files_are_opened_by_component(code: int) -> None:
    def refuse(folder: int, path: str, flags: int) -> int:
        raise OSError(code, os.strerror(code), path)

    assert select_open_beneath(refuse) is open_by_component


def test_a_path_with_nul_never_reaches_the_kernel(root: Path) -> None:
    folder = os.open(root, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="null"):
            open_with_openat2(folder, "src/a.txt\0/../../x", os.O_RDONLY)
    finally:
        os.close(folder)


TRAPS = {"link": "../outside", "abs": "{0}", "file": "../outside/a.txt", "loop": "loop", "magic": "/proc/self/root{0}"}
NAMES = st.sampled_from(
    [
        "..",
        ".",
        "",
        "src",
        "a.txt",
        "outside",
        ".git",
        "config",
        "link",
        "abs",
        "file",
        "loop",
        "magic",
        "hard",
        "pipe",
        "new",
    ]
)
PATHS = st.builds("/".join, st.lists(NAMES, min_size=1, max_size=6))


@given(path=st.one_of(PATHS, st.text(max_size=20)), act=st.sampled_from(["read", "write", "entries", "exists", "size"]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_path_reads_or_changes_anything_outside(root: Path, open_beneath: OpenBeneath, path: str, act: str) -> None:
    outside = root.parent / "outside"
    if not (root / "link").is_symlink():
        for name, target in TRAPS.items():
            (root / name).symlink_to(target.format(root.parent))
        os.link(outside / "a.txt", root / "hard")
        os.mkfifo(root / "pipe")
    files = Files(PathPolicy(root), open_beneath)
    arguments = (path, b"x") if act == "write" else (path,)
    with suppress(FileRefused, OSError):
        assert SECRET not in str(getattr(files, act)(*arguments))
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("a.txt", SECRET)]
    assert (root / ".git/config").read_text() == "git's own"
    assert sorted(path.name for path in root.parent.iterdir()) == ["outside", "project"]
    shutil.rmtree(root / "new", ignore_errors=True)
