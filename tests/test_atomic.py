from __future__ import annotations

import stat
from pathlib import Path

import pytest

from autoroute.atomic import replace_file, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_write_private_makes_a_private_folder_and_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys.toml"
    write_private(path, "key = 'ü'\n")
    assert path.read_text(encoding="utf-8") == "key = 'ü'\n"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_write_private_narrows_the_mode_of_a_file_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


def test_write_private_writes_nothing_that_is_not_unicode(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "keys.toml"
    with pytest.raises(ValueError, match="surrogates"):
        write_private(path, "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_replace_file_replaces_a_link_and_not_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept")
    link.symlink_to(target)
    replace_file(link, b"new", mode=0o644)
    assert (target.read_text(), link.read_text(), link.is_symlink(), mode(link)) == ("kept", "new", False, 0o644)


def test_replace_file_leaves_no_temporary_file_where_it_fails(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
