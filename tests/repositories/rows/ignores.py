"""What git ignores, and by whose rules."""

from __future__ import annotations

from tests.commands.conftest import World
from tests.commands.scripts import call
from tests.repositories.odd import commit, edit, odd, put


@odd()
def ignored_files_in_the_checkout(world: World) -> None:
    commit(world, {".gitignore": "*.log\ncache/\n"})
    put(world, {"debug.log": "mine\n", "cache/a": "mine\n"})


@odd()
def ignore_rules_of_the_user(world: World) -> None:
    (world.home / "xdg/git").mkdir(parents=True)
    (world.home / "xdg/git/ignore").write_text("notes/\n*.mine\n", encoding="utf-8")
    put(world, {"notes/a": "mine\n", "b.mine": "mine\n"})


@odd()
def ignore_rules_of_a_file_that_the_user_names(world: World) -> None:
    (world.home / "ignores").write_text("notes/\n", encoding="utf-8")
    world.git("config", "--global", "core.excludesFile", "~/ignores")
    put(world, {"notes/a": "mine\n"})


@odd()
def ignore_rules_of_info_exclude(world: World) -> None:
    (world.repository / ".git/info").mkdir(exist_ok=True)
    (world.repository / ".git/info/exclude").write_text("/local/\n", encoding="utf-8")
    put(world, {"local/a": "mine\n"})


@odd(
    "grep -q new build/keep/new.txt",
    steps=(call("write", path="build/keep/new.txt", content="new\n"),),
    changed=("build/keep/new.txt",),
)
def negated_ignore_rules(world: World) -> None:
    commit(world, {".gitignore": "build/*\n!build/keep/\n"})
    put(world, {"build/object.o": "object\n"})


@odd(
    "grep -q 'int b' vendor/a.c",
    steps=(edit("vendor/a.c", "int a;", "int b;"),),
    changed=("vendor/a.c",),
    layers=("default", "landlock"),
)
def an_ignored_folder_with_tracked_files(world: World) -> None:
    put(world, {"vendor/a.c": "int a;\n", "vendor/b.c": "int b;\n"})
    commit(world)
    commit(world, {".gitignore": "vendor/\n"})
    put(world, {"vendor/untracked.c": "mine\n"})


@odd(
    "grep -q 'b = 2' node_modules/kept/index.js",
    steps=(edit("node_modules/kept/index.js", "b = 1", "b = 2"),),
    changed=("node_modules/kept/index.js",),
)
def node_modules_that_are_tracked(world: World) -> None:
    commit(world, {"node_modules/kept/index.js": "b = 1\n", "node_modules/kept/package.json": "{}\n"})


@odd(
    "grep -q 'hello, world' sub/hello.txt",
    steps=(call("write", path="sub/hello.txt", content="hello, world\n"),),
    changed=("sub/hello.txt",),
)
def ignore_rules_in_folders_with_odd_patterns(world: World) -> None:
    commit(
        world, {".gitignore": "\\#*\n\\!x\n*.a\\ \n[ab]*\n**/deep/**\n", "sub/.gitignore": "*\n!*.txt\n!.gitignore\n"}
    )
    put(world, {"#x": "mine\n", "!x": "mine\n", "sub/ignored": "mine\n", "x/deep/y": "mine\n"})
