"""Mount points are made beneath a folder, whatever commands have planted in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoroute.workspace.mount_points import make_folders, make_mount_point


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("the user's")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_missing_folders_and_files_are_created(folder: Path) -> None:
    assert make_mount_point(folder, ".local/share/uv")
    assert make_mount_point(folder, "certs/ca.pem", is_file=True)
    assert (folder / ".local/share/uv").is_dir()
    assert (folder / "certs/ca.pem").read_bytes() == b""
    assert make_mount_point(folder, ".local/share/uv")


@pytest.mark.parametrize("path", ["link", "link/inner", "link/inner/deep"])
def test_a_link_is_not_followed(folder: Path, path: str) -> None:
    (folder / "link").symlink_to(folder.parent / "outside")
    assert not make_mount_point(folder, path)
    assert names_in(folder.parent / "outside") == ["file"]


@pytest.mark.parametrize("planted", ["link", "file", "fifo"])
@pytest.mark.parametrize("path", [".local", ".local/share"])
def test_what_is_in_the_way_is_replaced_on_request(folder: Path, planted: str, path: str) -> None:
    way = folder / ".local"
    match planted:
        case "link":
            way.symlink_to(folder.parent / "outside")
        case "file":
            way.write_text("in the way")
        case _:
            os.mkfifo(way)
    assert make_mount_point(folder, path, replace=True)
    assert (folder / path).is_dir()
    assert names_in(folder.parent / "outside") == ["file"]


@pytest.mark.parametrize("target", ["outside/file", "outside/new", "nowhere/new"])
def test_a_link_in_place_of_a_file_is_not_followed(folder: Path, target: str) -> None:
    (folder / "ca.pem").symlink_to(folder.parent / target)
    assert not make_mount_point(folder, "ca.pem", is_file=True)
    assert make_mount_point(folder, "ca.pem", is_file=True, replace=True)
    assert not (folder / "ca.pem").is_symlink()
    assert names_in(folder.parent / "outside") == ["file"]


def test_a_fifo_in_place_of_a_file_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "ca.pem")
    assert not make_mount_point(folder, "ca.pem", is_file=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root enters every folder")
def test_a_folder_without_permissions_is_opened_up_on_request(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0)
    assert not make_mount_point(folder, "closed/inner")
    assert make_mount_point(folder, "closed/inner", replace=True)


@pytest.mark.parametrize("planted", ["nothing", "folders", "link", "file"])
def test_each_part_of_a_path_is_made_a_folder(folder: Path, planted: str) -> None:
    match planted:
        case "folders":
            (folder / "vendor/lib").mkdir(parents=True)
        case "link":
            (folder / "vendor").symlink_to(folder.parent / "outside")
        case "file":
            (folder / "vendor").write_text("in the way")
    assert make_folders(folder, "vendor/lib") is (planted == "folders")
    assert (folder / "vendor/lib").is_dir()
    assert names_in(folder.parent / "outside") == ["file"]
