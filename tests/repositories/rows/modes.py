"""Permissions and links."""

from __future__ import annotations

import os

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY
from tests.repositories.odd import bash, commit, edit, odd


@odd(
    "./run.sh | grep -q world",
    steps=(edit("run.sh", "echo hello", "echo hello, world"),),
    changed=("run.sh",),
    layers=("default", "landlock", "off"),
)
def an_executable_file_that_is_edited(world: World) -> None:
    commit(world, {"run.sh": "#!/bin/sh\necho hello\n", "other.sh": "#!/bin/sh\n"}, mode=0o755)


@odd("./run.sh", steps=(bash("chmod +x run.sh"),), changed=("run.sh",))
def a_file_that_becomes_executable(world: World) -> None:
    commit(world, {"run.sh": "#!/bin/sh\ntrue\n"})


@odd(
    "test -L current && grep -q two current",
    steps=(bash("rm current && ln -s two.txt current"),),
    changed=("current",),
)
def a_file_that_becomes_a_link(world: World) -> None:
    commit(world, {"current": "one\n", "two.txt": "two\n"})


@odd(
    "test -f current && test ! -L current && grep -q two current",
    steps=(bash("rm current && echo two > current"),),
    changed=("current",),
)
def a_link_that_becomes_a_file(world: World) -> None:
    (world.repository / "current").symlink_to("one.txt")
    commit(world, {"one.txt": "one\n"})


@odd(
    "grep -q inner thing/inner.txt",
    steps=(bash("rm thing && mkdir thing && echo inner > thing/inner.txt && git add thing/inner.txt"),),
    changed=("thing", "thing/inner.txt"),
)
def a_file_that_becomes_a_folder(world: World) -> None:
    commit(world, {"thing": "one\n"})


@odd("grep -q two a.txt", steps=(edit("a.txt", "one", "two"),), changed=("a.txt",))
def read_only_files(world: World) -> None:
    commit(world, {"a.txt": "one\n", "b.txt": "one\n"}, mode=0o444)


@odd(f"{VERIFY} && grep -q text link.txt && grep -q text folder-link/a.txt && grep -q text sub/up")
def relative_links(world: World) -> None:
    for name, target in (("link.txt", "folder/a.txt"), ("folder-link", "folder"), ("sub/up", "../folder/a.txt")):
        (world.repository / name).parent.mkdir(exist_ok=True)
        (world.repository / name).symlink_to(target)
    commit(world, {"folder/a.txt": "text\n"})


@odd(f"{VERIFY} && test -L dangling && test -L loop-a && test ! -e loop-b")
def dangling_links_and_loops(world: World) -> None:
    links = {"dangling": "not/there", "loop-a": "loop-b", "loop-b": "loop-a", "self": "self", "here": "."}
    for name, target in links.items():
        (world.repository / name).symlink_to(target)
    commit(world)


@odd(f"{VERIFY} && test -L outside && test -L home")
def links_out_of_the_repository(world: World) -> None:
    (world.home / "secret").write_text("mine\n", encoding="utf-8")
    for name, target in (("outside", "/etc"), ("home", str(world.home / "secret")), ("above", "../..")):
        (world.repository / name).symlink_to(target)
    commit(world)


@odd("grep -q two folder/a.txt", steps=(edit("folder/a.txt", "one", "two"),), changed=("folder/a.txt",))
def hard_links_in_the_checkout(world: World) -> None:
    commit(world, {"folder/a.txt": "one\n"})
    os.link(world.repository / "folder/a.txt", world.home / "the-same")
    world.git("update-index", "--refresh")
