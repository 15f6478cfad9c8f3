"""Files of projects and environments are read in part, whatever stands under their name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoroute.workspace.bounded_files import list_names, read_start


def test_the_beginning_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc\xff" + b"d" * 1_000_000)
    assert read_start(tmp_path / "file", 4) == "abc\udcff"
    assert len(read_start(tmp_path / "file")) == 256 * 1024


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo", "loop", "link to a folder"])
def test_what_is_not_a_file_reads_as_nothing_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "link to a folder":
            path.symlink_to(tmp_path)
    handles = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    assert read_start(path) == ""
    if handles:
        assert len(list(Path("/proc/self/fd").iterdir())) == handles


def test_names_are_listed_up_to_a_number(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}").touch()
    assert list_names(tmp_path, 10) == ["0", "1", "2", "3", "4"]
    assert len(list_names(tmp_path, 3)) == 3
    assert list_names(tmp_path / "0", 3) == list_names(tmp_path / "missing", 3) == []
