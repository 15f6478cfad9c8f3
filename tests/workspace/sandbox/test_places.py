"""Where commands see the workspace and their home folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoroute.workspace.sandbox.places import find_home_place, find_place

TREE = Path("/home/ann/project")


@pytest.mark.parametrize("path", ["/home/ann/project", "/usr/src/app", "/tmp/x", "/srv/with space", "/root/r"])
def test_the_workspace_is_seen_at_the_path_of_the_repository(path: str) -> None:
    assert find_place(Path(path)) == Path(path)


@pytest.mark.parametrize("path", ["/", "/usr", "/etc", "/tmp", "/proc/x", "/sys/x", "/dev/shm/x", "/run/autoroute/x"])
def test_a_path_that_the_sandbox_needs_itself_is_not_covered(path: str) -> None:
    assert find_place(Path(path)) is None


@pytest.mark.parametrize("home", ["/home/ann", "/root", "/nonexistent", "/home/ann/"])
def test_the_home_folder_is_seen_at_the_path_of_the_users(home: str) -> None:
    assert find_home_place({"HOME": home}, TREE, []) == Path(home)


@pytest.mark.parametrize(
    ("home", "readable"),
    [
        *[
            (home, ())
            for home in ("", "/", "relative", "/usr", "/home/ann/project", "/home/ann/project/home", "/proc/1")
        ],
        ("/home/ann", ("/home/ann",)),
        ("/home/ann", ("/home",)),
    ],
)
def test_a_home_folder_that_cannot_be_there_is_in_tmp(home: str, readable: tuple[str, ...]) -> None:
    assert find_home_place({"HOME": home}, TREE, [Path(path) for path in readable]) == Path("/tmp/home")
