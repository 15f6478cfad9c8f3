"""Reading files that someone else may have put there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from autoroute.config.layers import read_settings_file
from autoroute.config.task import read_task
from autoroute.errors import AutorouteError
from autoroute.preflight.routing_lock import check_lock
from autoroute.regular_files import read_file
from autoroute.store import RunFolder
from autoroute.workspace.bounded_files import read_start


def listen(path: Path) -> None:
    """Leave a socket at ``path``. Its name is relative: an address may have 107 bytes."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(before)


def make_huge(path: Path) -> None:
    """Make a file of 8 GiB that takes no room on the disk."""
    path.touch()
    os.truncate(path, 8 * 1024**3)


BAITS: dict[str, Callable[[Path], None]] = {
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a pipe without a writer": os.mkfifo,
    "a socket": listen,
    "a folder": Path.mkdir,
    "8 GiB": make_huge,
}


def check_the_lock(path: Path) -> None:
    check_lock(path, [])


def read_the_settings(path: Path) -> None:
    read_settings_file(path, path.name, trusted=False, required=True)


def read_the_task(path: Path) -> None:
    read_task(path.name, None, path.parent, environ={})


def read_an_artifact(path: Path) -> None:
    RunFolder(path.parent).artifact(path.stem)


READERS: dict[str, Callable[[Path], None]] = {
    "autoroute.lock": check_the_lock,
    "autoroute.toml": read_the_settings,
    "task.md": read_the_task,
    "plan.json": read_an_artifact,
}


@pytest.mark.parametrize("bait", BAITS)
@pytest.mark.parametrize("name", READERS)
def test_a_file_that_blocks_or_never_ends_is_an_error_of_its_reader(tmp_path: Path, name: str, bait: str) -> None:
    BAITS[bait](tmp_path / name)
    with pytest.raises(AutorouteError) as caught:
        READERS[name](tmp_path / name)
    assert name in caught.value.message


@pytest.mark.parametrize("bait", BAITS)
def test_the_start_of_such_a_file_is_bounded(tmp_path: Path, bait: str) -> None:
    BAITS[bait](tmp_path / "file")
    assert read_start(tmp_path / "file", 1024).strip("\0") == ""


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"12345")
    link.symlink_to(path)
    assert (read_file(path, 5), read_file(link, 5, follow_links=True)) == (b"12345", b"12345")
    with pytest.raises(OSError, match="it is longer than 0 KiB"):
        read_file(path, 4)
    with pytest.raises(OSError, match="it is a symbolic link"):
        read_file(link)
