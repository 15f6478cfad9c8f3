from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.workspace.copying import copy_folder


def test_links_are_copied_as_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to("nowhere")
    copy_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b/link").readlink() == Path("nowhere")


def test_a_file_that_cannot_be_copied_is_told_in_the_words_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a/pipe")
    with pytest.raises(WorkspaceError, match=r"cannot copy .*/a: .*pipe.* is a named pipe") as raised:
        copy_folder(tmp_path / "a", tmp_path / "b")
    assert raised.value.exit_code == 73


def test_a_folder_that_is_gone_or_in_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="No such file or directory"):
        copy_folder(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").mkdir()
    with pytest.raises(WorkspaceError, match="File exists"):
        copy_folder(tmp_path / "a", tmp_path / "a")
