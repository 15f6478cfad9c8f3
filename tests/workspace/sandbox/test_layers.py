"""What commands write into a carried folder, or into what the set-up made, is theirs alone and can be dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autoroute.workspace import CommandResult
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.layers import Layers
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.sandbox.confinement import Home

from .conftest import HERE, Ground, ground_of

CHANGES = (
    "echo x >> .venv/lib/module.py",
    "echo x > .venv/lib/new.py",
    "rm .venv/lib/module.py",
    "rm -rf .venv/lib",
    "mv .venv/lib/module.py .venv/lib/other.py",
    "chmod 777 .venv/lib/module.py",
    "touch -d 2001-01-01 .venv/lib/module.py",
    "ln .venv/lib/module.py .venv/lib/hard && echo x >> .venv/lib/hard",
    "ln -s module.py .venv/lib/soft && echo x >> .venv/lib/soft",
    'python3 -c \'import os; f = os.open(".venv/lib/module.py", os.O_RDWR | os.O_TRUNC); os.write(f, b"x")\'',
    "find .venv -mindepth 1 -delete",
)


@dataclass
class Site:
    """A run whose user has the folder ``.venv`` in ``project``, with a file ``lib/module.py``."""

    ground: Ground
    layers: Layers

    @property
    def users(self) -> Path:
        return self.ground.folder / "project/.venv"

    def run(self, command: str) -> CommandResult:
        return self.ground.run(command)

    def state_of_users(self) -> list[tuple[str, int, int, float, str]]:
        found = []
        for path in sorted([self.users, *self.users.rglob("*")]):
            status = path.lstat()
            text = path.read_text() if path.is_file() else ""
            inside = str(path.relative_to(self.users))
            found.append((inside, status.st_mode, status.st_uid, 0 if path.is_dir() else status.st_mtime, text))
        return found


@pytest.fixture(params=[(name, limit) for name in HERE if name != "seatbelt" for limit in (0, 200)], ids=str)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    name, limit = request.param
    return make_site(ground_of(name, tmp_path), limit)


def make_site(ground: Ground, max_copied_entries: int = 0) -> Site:
    folder, sandbox = ground.folder, ground.sandbox
    place, own, user = folder / "project", folder / "own-home", sandbox.confinement.user
    (place / ".venv/lib").mkdir(parents=True)
    (place / ".venv/lib/module.py").write_text("module")
    own.mkdir()
    if user is not None:
        os.chown(own, user, user)
    layers = Layers(folder / "layers", ground.tree, own, mounts=sandbox.backend.mounts, owner=user)
    layers.max_copied_entries = max_copied_entries
    layers.open({".venv": place / ".venv"})
    if user is not None and not sandbox.backend.mounts:
        for path in (ground.tree, *ground.tree.rglob("*")):
            os.chown(path, user, user)
    policy = PathPolicy(ground.tree, place=place)
    confinement = replace(sandbox.confinement, path_policy=policy, home=Home(own, ground.home))
    return Site(Ground(folder, replace(sandbox, confinement=confinement, layers=layers)), layers)


def test_commands_find_the_carried_folder(site: Site) -> None:
    assert site.run("cat .venv/lib/module.py").output == "module"


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_reaches_the_users_folder_and_each_can_be_dropped(site: Site, change: str) -> None:
    before = site.state_of_users()
    result = site.run(change)
    assert result.passed, result.output
    assert site.state_of_users() == before
    site.layers.renew()
    assert site.run("cat .venv/lib/module.py; find .venv | sort").output.split() == [
        *("module.venv", ".venv/lib", ".venv/lib/module.py"),
    ]


def test_what_is_written_lasts_from_command_to_command(site: Site) -> None:
    assert site.run("echo new > .venv/lib/new.py; rm .venv/lib/module.py; echo cache > ~/cache").passed
    assert site.run("ls .venv/lib; cat ~/cache").output == "new.py\ncache\n"


def test_a_reopened_run_finds_its_layers_as_they_were(site: Site) -> None:
    assert site.run("echo new > .venv/lib/new.py").passed
    layers = Layers(site.layers.folder, site.layers.tree, site.layers.home, site.layers.mounts, site.layers.owner)
    layers.open({"other": Path("/usr")})
    again = Ground(site.ground.folder, replace(site.ground.sandbox, layers=layers))
    assert again.run("ls .venv/lib").output == "module.py\nnew.py\n"
    assert layers.paths == (".venv",)


def test_what_the_set_up_made_is_kept_and_what_came_later_is_dropped(site: Site) -> None:
    setup = "echo s > .venv/lib/setup.py; mkdir -p node_modules/a; echo a > node_modules/a/i.js; echo v > version.txt"
    assert site.run(f"{setup}; mkdir ~/.cache; echo c > ~/.cache/c").passed
    site.layers.freeze(["node_modules", "version.txt"])
    show = "cat .venv/lib/setup.py node_modules/a/i.js version.txt ~/.cache/c; ls .venv/lib node_modules ~"
    made = site.run(show).output
    assert made.split()[:4] == ["s", "a", "v", "c"]
    later = "rm .venv/lib/setup.py; echo x > node_modules/a/i.js; echo x > version.txt; rm -r ~/.cache; echo x > ~/x"
    assert site.run(later).passed
    site.layers.renew()
    assert site.run(show).output == made


def test_files_that_may_hold_keys_are_not_carried(site: Site) -> None:
    other = site.ground.folder / "other"
    (other / "etc").mkdir(parents=True)
    for name in ("pip.conf", ".npmrc", "etc/npmrc", "plain"):
        (other / name).write_text(f"content of {name}")
    site.layers.add({"other": other})
    assert site.run("cat other/pip.conf other/.npmrc other/etc/npmrc other/plain").output == "content of plain"


@pytest.mark.parametrize("planted", ["link", "file"])
def test_nothing_is_mounted_through_what_a_command_planted(site: Site, planted: str) -> None:
    outside = site.ground.folder / "outside"
    outside.mkdir()
    (site.ground.tree / "packages").mkdir()
    packages, users = site.ground.tree / "packages", site.users
    site.layers.add({"packages/a/node_modules": users})
    bare = Ground(site.ground.folder, replace(site.ground.sandbox, layers=None))
    for path in sorted(packages.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    packages.rmdir()
    packages.symlink_to(outside) if planted == "link" else packages.write_text("")
    assert bare.run("true").passed
    assert site.run("cat packages/a/node_modules/lib/module.py").exit_code != 0
    site.layers.renew()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("size", [1, 300])
def test_nothing_that_a_planted_link_leads_to_is_taken_for_what_the_set_up_made(tmp_path: Path, size: int) -> None:
    site = make_site(ground_of(HERE[0], tmp_path), max_copied_entries=200)
    other = tmp_path / "other/node_modules"
    other.mkdir(parents=True)
    for number in range(size):
        (other / f"{number}.js").write_text("the user's")
    assert site.run("mkdir packages").passed
    site.layers.add({"packages/a/node_modules": site.users})
    assert site.run(f"mv packages/a packages/away && ln -s {other.parent} packages/a").passed
    assert (site.ground.tree / "packages/a").is_symlink()
    site.layers.freeze(["packages/a/node_modules"])
    site.layers.renew()
    assert len([*other.iterdir()]) == size
    assert "the user's" not in site.run("cat packages/a/node_modules/*.js").output


@pytest.mark.parametrize("name", ["with space", "comma,colon:back\\slash", "ünï", "-dash", "quote'\""])
def test_any_name_of_a_folder_can_be_carried(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    site = make_site(ground_of("bubblewrap", tmp_path / name))
    assert site.run("cat .venv/lib/module.py; echo x > .venv/lib/new.py").output == "module"
    assert [path.name for path in site.users.iterdir()] == ["lib"]


def test_without_a_sandbox_the_layers_are_copies(tmp_path: Path) -> None:
    (tmp_path / "users/lib").mkdir(parents=True)
    (tmp_path / "users/lib/module.py").write_text("module")
    (tmp_path / "tree").mkdir()
    (tmp_path / "home").mkdir()
    layers = Layers(tmp_path / "layers", tmp_path / "tree", tmp_path / "home", mounts=False)
    layers.open({"a/.venv": tmp_path / "users"})
    commands = LocalCommands({"PATH": os.environ["PATH"]})
    run = commands.run(
        "cat a/.venv/lib/module.py; echo x > a/.venv/lib/module.py",
        timeout=30,
        cwd=tmp_path / "tree",
        log=tmp_path / "log",
    )
    assert run.output == "module"
    assert (tmp_path / "users/lib/module.py").read_text() == "module"
    layers.renew()
    assert (tmp_path / "tree/a/.venv/lib/module.py").read_text() == "module"


def test_a_copied_virtual_environment_names_its_own_place(tmp_path: Path) -> None:
    checkout, tree = tmp_path / "checkout", tmp_path / "tree"
    for folder in (checkout, tree, tmp_path / "home"):
        folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    (packages,) = (checkout / ".venv/lib").glob("python3*/site-packages")
    (packages / "_project.pth").write_text(f"{checkout}/src\n")
    script = checkout / ".venv/bin/tool"
    script.write_text(f"#!{checkout}/.venv/bin/python\nimport sys\nprint(sys.prefix, *sys.path)\n")
    script.chmod(0o755)
    (checkout / "src").mkdir()
    (tree / "src").mkdir()
    before = script.read_text()
    layers = Layers(tmp_path / "layers", tree, tmp_path / "home", mounts=False)
    layers.open({".venv": checkout / ".venv"})
    shown = subprocess.run([tree / ".venv/bin/tool"], check=True, capture_output=True, text=True).stdout
    assert shown.startswith(f"{tree}/.venv ")
    assert f"{tree}/src" in shown
    assert f"{checkout}/" not in shown
    assert script.read_text() == before
