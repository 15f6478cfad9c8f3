"""Kinds of clone, and of how git stores a repository."""

from __future__ import annotations

import shutil

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY
from tests.repositories.odd import commit, configure, edit, move, odd, start_over


def _three_commits(world: World) -> None:
    for number in range(3):
        commit(world, {f"{number}.txt": f"{number}\n"}, f"Commit {number}")


@odd(layers=("default", "landlock", "off"))
def an_empty_repository(world: World) -> None:
    start_over(world)


@odd()
def an_unborn_branch_beside_others(world: World) -> None:
    _three_commits(world)
    world.git("switch", "--quiet", "--orphan", "fresh")


@odd(meanwhile=lambda world: _switch_back(world))
def a_detached_head(world: World) -> None:
    _three_commits(world)
    world.git("switch", "--quiet", "--detach", "main")


def _switch_back(world: World) -> None:
    world.git("switch", "--quiet", "main")


@odd()
def a_bare_repository_with_a_worktree(world: World) -> None:
    bare = world.home / "project.git"
    world.git("clone", "--quiet", "--bare", str(world.repository), str(bare))
    shutil.rmtree(world.repository)
    world.repository.mkdir()
    world.git("--git-dir", str(bare), "worktree", "add", "--quiet", "-b", "work", str(world.repository), "main")


@odd(layers=("default", "landlock"))
def a_linked_worktree(world: World) -> None:
    place = world.repository.parent / "linked"
    world.git("worktree", "add", "--quiet", "-b", "work", str(place))
    world.repository = place


@odd()
def a_linked_worktree_inside_its_repository(world: World) -> None:
    commit(world, {".gitignore": "/trees/\n"})
    world.git("worktree", "add", "--quiet", "-b", "work", "trees/linked")
    world.repository /= "trees/linked"


@odd()
def a_git_folder_elsewhere(world: World) -> None:
    start_over(world, f"--separate-git-dir={world.home / 'store.git'}")
    world.git("config", "core.worktree", str(world.repository))
    commit(world, {"a.txt": "a\n"})


@odd("grep -q two kept/a.txt", steps=(edit("kept/a.txt", "one", "two"),), changed=("kept/a.txt",))
def a_sparse_checkout(world: World) -> None:
    commit(world, {"kept/a.txt": "one\n", "left/b.txt": "one\n", "left/deep/c.txt": "one\n"})
    world.git("sparse-checkout", "set", "--cone", "kept")


@odd("grep -q two kept/a.txt", steps=(edit("kept/a.txt", "one", "two"),), changed=("kept/a.txt",))
def a_sparse_checkout_by_patterns_with_a_sparse_index(world: World) -> None:
    commit(world, {"kept/a.txt": "one\n", "left/b.txt": "one\n", "left/c.md": "one\n"})
    world.git("sparse-checkout", "set", "--no-cone", "/*", "!/left/*.txt")


@odd()
def a_shallow_clone(world: World) -> None:
    _three_commits(world)
    place = world.repository.parent / "shallow"
    world.git("clone", "--quiet", "--depth=1", f"file://{world.repository}", str(place))
    world.repository = place


@odd()
def sha_256(world: World) -> None:
    start_over(world, "--object-format=sha256")
    commit(world, {"a.txt": "a\n"})


@odd(layers=("default", "landlock"))
def objects_of_alternates(world: World) -> None:
    _three_commits(world)
    place = world.repository.parent / "borrowing"
    world.git("clone", "--quiet", "--shared", str(world.repository), str(place))
    world.repository = place


@odd()
def packed_refs_and_objects(world: World) -> None:
    _three_commits(world)
    for number in range(20):
        world.git("tag", f"v{number}")
    world.git("gc", "--quiet")
    world.git("commit-graph", "write", "--reachable")
    world.git("multi-pack-index", "write")


@odd()
def replaced_objects(world: World) -> None:
    _three_commits(world)
    world.git("replace", "HEAD~1", "HEAD~2")


@odd()
def a_split_index(world: World) -> None:
    _three_commits(world)
    world.git("update-index", "--split-index")
    commit(world, {"later.txt": "later\n"})


@odd()
def an_index_of_version_4_with_an_untracked_cache(world: World) -> None:
    _three_commits(world)
    configure(world, index__version="4", core__untrackedCache="true", feature__manyFiles="true")
    world.git("update-index", "--index-version=4", "--force-untracked-cache")
    world.git("status")


@odd()
def a_clone_with_remotes_and_a_tracked_branch(world: World) -> None:
    _three_commits(world)
    upstream = world.home / "upstream.git"
    world.git("clone", "--quiet", "--bare", str(world.repository), str(upstream))
    place = world.repository.parent / "cloned"
    world.git("clone", "--quiet", str(upstream), str(place))
    world.repository = place
    configure(world, push__default="upstream", fetch__prune="true", fetch__fsckObjects="true")


@odd()
def a_folder_that_is_a_link_to_the_repository(world: World) -> None:
    real = world.home / "real"
    move(world, real)
    link = world.home.parent / "link"
    link.symlink_to(real)
    world.repository = link


@odd(VERIFY)
def many_branches_and_a_tag_with_the_name_of_the_branch(world: World) -> None:
    _three_commits(world)
    world.git("tag", "main")
    world.git("branch", "feature/autoroute/x", "refs/heads/main")
    world.git("notes", "add", "-m", "a note")
