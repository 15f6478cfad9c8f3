"""With bubblewrap, commands see the tree at the repository's path and a home folder that lasts, whatever they plant."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.sandbox.backends import try_backends
from autoroute.workspace.sandbox.confinement import Confinement, Home

from .conftest import SECRET, Ground


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def placed(bubblewrap: Ground, tmp_path: Path) -> Ground:
    """The sandbox of a run in ``home/project``, a repository of a user who has a toolchain in ``home/.tools/bin``."""
    place, user = bubblewrap.home / "project", bubblewrap.sandbox.confinement.user
    place.mkdir()
    (place / "secret.txt").write_text(SECRET)
    (bubblewrap.home / ".tools/bin").mkdir(parents=True)
    (bubblewrap.home / ".tools/bin/tool").write_text("tool")
    own = tmp_path / "own-home"
    own.mkdir()
    if user is not None:
        os.chown(own, user, user)
    confinement = replace(
        bubblewrap.sandbox.confinement,
        path_policy=PathPolicy(bubblewrap.tree, place=place),
        readable=(*bubblewrap.sandbox.confinement.readable, bubblewrap.home / ".tools/bin"),
        home=Home(own, bubblewrap.home),
    )
    return Ground(bubblewrap.folder, replace(bubblewrap.sandbox, confinement=confinement))


def test_the_tree_is_seen_at_the_path_of_the_repository(placed: Ground) -> None:
    (placed.tree / "file").write_text("the run's")
    result = placed.run("pwd; ls; cat ../project/file")
    assert result.output == f"{placed.home}/project\nfile\nthe run's"
    assert placed.run("cat secret.txt ../.ssh/id").exit_code != 0
    assert SECRET not in placed.run(f"cat -r {placed.home} 2>&1; grep -r canary ~ / 2>/dev/null").output


def test_the_home_folder_lasts_and_is_not_the_users(placed: Ground) -> None:
    assert placed.run("echo $HOME; mkdir -p ~/.cache/go; echo 1 > ~/.cache/go/x").output == f"{placed.home}\n"
    assert placed.run("cat ~/.cache/go/x; ls -A ~").output.split() == ["1", ".cache", ".tools", "project"]
    assert names_in(placed.home) == [".ssh", ".tools", "project"]


def test_a_toolchain_in_the_home_folder_is_there_and_read_only(placed: Ground) -> None:
    assert placed.run("cat ~/.tools/bin/tool").output == "tool"
    assert placed.run("echo x > ~/.tools/bin/tool").exit_code != 0
    assert placed.run("rm -rf ~/.tools").exit_code != 0
    assert (placed.home / ".tools/bin/tool").read_text() == "tool"


@pytest.mark.parametrize("target", ["/oldroot{outside}", "{outside}", "/", "/nowhere", "../../{name}"])
@pytest.mark.parametrize("planted", [".tools", "project"])
def test_a_link_where_something_will_be_mounted_leads_nowhere(placed: Ground, planted: str, target: str) -> None:
    outside = placed.folder / "outside"
    outside.mkdir()
    link = target.format(outside=outside, name=outside.name)
    # A mount point cannot be replaced while it is one, so the link is planted by a command that does not have it.
    bare = replace(placed.sandbox.confinement, readable=(), path_policy=PathPolicy(placed.tree))
    before = Ground(placed.folder, replace(placed.sandbox, confinement=bare))
    assert before.run(f"ln -s {shlex.quote(link)} ~/{planted}").passed
    assert placed.run("pwd; cat ~/.tools/bin/tool").output == f"{placed.home}/project\ntool"
    assert names_in(outside) == []
    assert names_in(placed.home) == [".ssh", ".tools", "project"]


def test_a_readable_folder_in_the_repository_is_shown_in_the_tree(placed: Ground) -> None:
    environment = placed.home / "project/.venv/bin"
    environment.mkdir(parents=True)
    (environment / "python").write_text("python")
    confinement = replace(placed.sandbox.confinement, readable=(environment,))
    shown = Ground(placed.folder, replace(placed.sandbox, confinement=confinement))
    assert shown.run("cat .venv/bin/python").output == "python"
    assert shown.run("echo x > .venv/bin/python").exit_code != 0
    (placed.tree / "elsewhere").mkdir()
    (placed.tree / ".venv/bin").rmdir()
    (placed.tree / ".venv").rmdir()
    (placed.tree / ".venv").symlink_to("elsewhere")
    assert shown.run("cat .venv/bin/python").exit_code != 0
    assert names_in(placed.tree / "elsewhere") == []


def test_git_in_the_tree_reads_the_objects_of_the_user(placed: Ground) -> None:
    objects = placed.home / "project/.git/objects"
    objects.mkdir(parents=True)
    (objects / "pack").write_text("objects")
    confinement = replace(placed.sandbox.confinement, objects=objects)
    seen = Ground(placed.folder, replace(placed.sandbox, confinement=confinement))
    assert seen.run("cat /run/autoroute/objects/pack").output == "objects"
    assert seen.run("echo x > /run/autoroute/objects/pack").exit_code != 0


def test_where_the_path_cannot_be_used_commands_see_the_tree_at_its_own(bubblewrap: Ground, tmp_path: Path) -> None:
    policy = PathPolicy(tmp_path / "workspaces/run/tree", place=Path("/proc/impossible"))
    confinement = Confinement(policy, home=Home(tmp_path / "home", tmp_path / "home"))
    (candidate,) = try_backends("bubblewrap", confinement, bubblewrap.sandbox.variables)
    assert candidate.sandbox is not None
    assert candidate.sandbox.place is None
    assert "commands do not see the workspace at /proc/impossible: " in candidate.sandbox.note
